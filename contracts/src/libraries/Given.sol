// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Bid, Claim, Deal, Purchase, SignedAsk} from "../interfaces/Types.sol";
import {Share} from "./Deals.sol";

// The structs of `Types`, word by word as they lie in calldata. The compiler checks a field of fewer than 32 bytes each
// time that it is read; `Given` checks all fields of a struct once, and after that each is read as its word.

struct AskWords {
    uint256 provider;
    bytes32 product;
    uint256 price;
    uint256 slots;
    uint256 kinds;
    uint256 customer;
    uint256 matcher;
    uint256 expiry;
    uint256 era;
}

struct BidWords {
    uint256 customer;
    bytes32 product;
    uint256 price;
    uint256 tasks;
    uint256 lot;
    uint256 quorum;
    bytes32 job;
    uint256 matcher;
    uint256 expiry;
    uint256 deliverBy;
    uint256 era;
    uint256 nonce;
}

struct PurchaseWords {
    uint256 customer;
    bytes32 bundle;
    uint256 price;
    uint256 tasks;
    uint256 lot;
    bytes32 job;
    uint256 expiry;
    uint256 deliverBy;
    uint256 era;
    uint256 nonce;
}

struct ClaimWords {
    uint256 ground;
    uint256 index;
    uint256 status;
    bytes32 digest;
    bytes32 commitment;
}

struct OfferWords {
    bytes32 product;
    bytes32 application;
    uint256 price;
    uint256 maxCost;
    uint256 quorum;
    uint256 disputable;
}

struct LegWords {
    Share share;
    uint256 key;
}

/// @notice Reads what was passed in calldata without reading it twice.
/// @dev An offset that points outside of calldata finds zeros there, as the compiler's own would after a longer way to a
/// refusal: what is read is always a signed or hashed struct, and zeros are neither.
library Given {
    function words(Ask calldata given) internal pure returns (AskWords calldata w) {
        assembly ("memory-safe") {
            w := given
        }
        uint256 dirty = (w.provider | w.customer | w.matcher) >> 160 | w.price >> 96 | w.slots >> 16 | w.kinds >> 8
            | w.expiry >> 40 | w.era >> 32;
        _clean(dirty);
    }

    function words(Bid calldata bid) internal pure returns (BidWords calldata w) {
        assembly ("memory-safe") {
            w := bid
        }
        uint256 dirty = (w.customer | w.matcher) >> 160 | w.price >> 96 | (w.tasks | w.era) >> 32 | w.lot >> 16
            | w.quorum >> 8 | (w.expiry | w.deliverBy) >> 40 | w.nonce >> 64;
        _clean(dirty);
    }

    function words(Purchase calldata purchase) internal pure returns (PurchaseWords calldata w) {
        assembly ("memory-safe") {
            w := purchase
        }
        uint256 dirty = w.customer >> 160 | w.price >> 96 | (w.tasks | w.era) >> 32 | w.lot >> 16
            | (w.expiry | w.deliverBy) >> 40 | w.nonce >> 64;
        _clean(dirty);
    }

    function words(Claim calldata claim) internal pure returns (ClaimWords calldata w) {
        assembly ("memory-safe") {
            w := claim
        }
        _clean((w.ground | w.status) >> 8 | w.index >> 32);
    }

    // A slice's offset and length are two words, not one that is written twice.
    // slither-disable-start write-after-write
    /// @notice Ask `i` with its signature; `i` is below the length.
    function ask(SignedAsk[] calldata asks, uint256 i)
        internal
        pure
        returns (Ask calldata found, bytes calldata signature)
    {
        assembly ("memory-safe") {
            found := add(asks.offset, calldataload(add(asks.offset, shl(5, i))))
            let start := add(found, calldataload(add(found, 288))) // behind the ask's nine words
            signature.offset := add(start, 32)
            signature.length := calldataload(start)
            if gt(signature.length, calldatasize()) { revert(0, 0) }
        }
    }

    /// @notice Item `i`, which is below the length.
    function item(bytes[] calldata items, uint256 i) internal pure returns (bytes calldata found) {
        assembly ("memory-safe") {
            let start := add(items.offset, calldataload(add(items.offset, shl(5, i))))
            found.offset := add(start, 32)
            found.length := calldataload(start)
            if gt(found.length, calldatasize()) { revert(0, 0) }
        }
    }
    // slither-disable-end write-after-write

    /// @notice The legs of a deal that is passed back. Its id proves them.
    function legs(Deal calldata deal) internal pure returns (LegWords[] calldata found) {
        assembly ("memory-safe") {
            let start := add(deal, calldataload(add(deal, 96)))
            found.offset := add(start, 32)
            found.length := calldataload(start)
            if gt(found.length, calldatasize()) { revert(0, 0) }
        }
    }

    /// @dev As the compiler refuses a field with bits above its type's.
    function _clean(uint256 dirty) private pure {
        assembly ("memory-safe") {
            if dirty { revert(0, 0) }
        }
    }
}
