// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketEvents} from "../interfaces/IMarketEvents.sol";
import {Charge, Head, Share} from "./Deals.sol";

/// @notice A deal that is being made, in memory as `abi.encode(order, head, money, legs)`: first these words, and right
/// behind them two for each leg. With `due` in the place of `order` it is the data of `DealOpened`, so that it is
/// encoded once for its id and for its event.
struct Draft {
    bytes32 order;
    Head head;
    Charge money;
    uint256 legsOffset;
    uint256 size;
}

using Drafts for Draft global;

/// @notice Makes, fills and logs drafts.
library Drafts {
    uint256 private constant HEAD_BYTES = 160;
    uint256 private constant LEG_BYTES = 64;

    /// @notice A draft with room for `size` legs.
    function begin(bytes32 order, uint256 size) internal pure returns (Draft memory draft) {
        draft.order = order;
        draft.legsOffset = 128;
        draft.size = size;
        // The legs are given the memory right behind the draft, which was just taken from the end of what is used.
        assembly ("memory-safe") {
            mstore(0x40, add(mload(0x40), mul(size, LEG_BYTES)))
        }
    }

    /// @notice Writes leg `i`, which is below the draft's size.
    function put(Draft memory draft, uint256 i, Share share_, address key) internal pure {
        assembly ("memory-safe") {
            let place := add(add(draft, HEAD_BYTES), mul(i, LEG_BYTES))
            mstore(place, share_)
            mstore(add(place, 32), key)
        }
    }

    /// @notice The share of leg `i`, which was put.
    function share(Draft memory draft, uint256 i) internal pure returns (Share found) {
        assembly ("memory-safe") {
            found := mload(add(add(draft, HEAD_BYTES), mul(i, LEG_BYTES)))
        }
    }

    /// @notice The deal's id; see `Deal`.
    function id(Draft memory draft) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(draft, add(HEAD_BYTES, mul(mload(add(draft, 128)), LEG_BYTES)))
        }
    }

    /// @notice Emits `DealOpened`. The draft is no draft any more.
    function log(Draft memory draft, bytes32 deal, bytes32 bundle, uint256 due) internal {
        bytes32 topic = IMarketEvents.DealOpened.selector;
        assembly ("memory-safe") {
            let order := mload(draft)
            mstore(draft, due)
            log4(draft, add(HEAD_BYTES, mul(mload(add(draft, 128)), LEG_BYTES)), topic, deal, order, bundle)
        }
    }
}
