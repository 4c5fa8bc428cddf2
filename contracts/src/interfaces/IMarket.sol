// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "./ICourt.sol";
import {IDesk} from "./IDesk.sol";
import {ILots} from "./ILots.sol";
import {IMarketErrors} from "./IMarketErrors.sol";
import {IMarketEvents} from "./IMarketEvents.sol";

/// @title Market
/// @notice Holds the money of customers and providers, opens a deal when a signed purchase meets a signed ask, and
/// pays only for signed results; what is not delivered by its deadline anyone can send back to the customer.
/// @dev EIP-712 domain: name "Prixfixe", version "1", chain id, this contract. Signatures are ECDSA of 64 (EIP-2098)
/// or 65 bytes with low s, else EIP-1271. `due` is a deadline in the low 40 bits; bit 40: it was hastened.
interface IMarket is IMarketEvents, IMarketErrors, ILots, ICourt, IDesk {}
