// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deal, Leg} from "../../src/interfaces/Types.sol";
import {Charge, Head, Share} from "../../src/libraries/Deals.sol";

// The packed words of a deal and its id, made in the plainest way, and so a check of the contract's.

function packHead(address customer, uint32 lot, uint16 count, uint8 quorum, bool disputable) pure returns (Head) {
    return Head.wrap(
        uint256(uint160(customer)) + uint256(lot) * 2 ** 160 + uint256(count) * 2 ** 192
            + uint256(quorum) * 2 ** 208 + (disputable ? 2 ** 216 : 0)
    );
}

function packCharge(uint96 price, uint96 fee) pure returns (Charge) {
    return Charge.wrap(price + uint256(fee) * 2 ** 96);
}

function packLeg(address provider, address key, uint96 pay) pure returns (Leg memory) {
    return Leg(Share.wrap(uint256(uint160(provider)) + uint256(pay) * 2 ** 160), key);
}

function dealId(Deal memory deal) pure returns (bytes32) {
    return keccak256(abi.encode(deal.order, deal.head, deal.money, deal.legs));
}
