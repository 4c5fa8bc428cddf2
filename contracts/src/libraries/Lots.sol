// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {Case, Deal, Offer} from "../interfaces/Types.sol";
import {LegWords} from "./Given.sol";

/// @notice The words whose hash is a lot's state, and the ids that they are made of.
/// @dev Open hashes 64 bytes, settled 96 and disputed 224, so one can never be read as the other.
library Lots {
    bytes32 internal constant FREE = 0;
    bytes32 internal constant CANCELLED = bytes32(uint256(1));
    bytes32 internal constant GUILTY = bytes32(uint256(2));
    /// @dev Bit of a `due`, above its 40 bits of deadline: `hasten` brought it forward.
    uint256 internal constant HASTENED = 1 << 40;

    function key(bytes32 order, uint32 lot) internal pure returns (bytes32) {
        return Hashes.efficientKeccak256(order, bytes32(uint256(lot)));
    }

    /// @dev For a deal that is passed back: its id straight from calldata; see `Deal`. Words with bits that none of
    /// ours has are hashed as they are and so belong to no deal.
    function givenDealId(Deal calldata deal, LegWords[] calldata legs) internal pure returns (bytes32 id) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            calldatacopy(start, deal, 96) // order, head and money
            mstore(add(start, 96), 128) // offset of the legs
            mstore(add(start, 128), legs.length)
            let size := mul(legs.length, 64)
            calldatacopy(add(start, 160), legs.offset, size)
            id := keccak256(start, add(size, 160))
        }
    }

    /// @dev `keccak256(abi.encode(offer))` straight from calldata.
    function offerId(Offer calldata offer) internal pure returns (bytes32 id) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            calldatacopy(start, offer, 192)
            id := keccak256(start, 192)
        }
    }

    function open(bytes32 deal, uint48 due) internal pure returns (bytes32) {
        return Hashes.efficientKeccak256(deal, bytes32(uint256(due)));
    }

    function settled(bytes32 deal, bytes32 root, uint96 fact_) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, deal)
            mstore(add(start, 32), root)
            mstore(add(start, 64), fact_)
            word := keccak256(start, 96)
        }
    }

    function disputed(bytes32 deal, Case calldata c) internal pure returns (bytes32) {
        return disputed(deal, c.root, c.fact, c.challenger, c.until, c.claim, keccak256(abi.encodePacked(c.fees)));
    }

    function disputed(
        bytes32 deal,
        bytes32 root,
        uint96 fact_,
        address challenger,
        uint40 until,
        bytes32 claim,
        bytes32 fees
    ) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, deal)
            mstore(add(start, 32), root)
            mstore(add(start, 64), fact_)
            mstore(add(start, 96), challenger)
            mstore(add(start, 128), until)
            mstore(add(start, 160), claim)
            mstore(add(start, 192), fees)
            word := keccak256(start, 224)
        }
    }

    /// @dev `keccak256(abi.encodePacked(fees))`: an array's items are packed to whole words.
    function feesHash(uint64[] memory fees) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(add(fees, 32), shl(5, mload(fees)))
        }
    }

    /// @notice What of one task's `cost` and `price`, the larger of which is held, is not the signers': it goes to the
    /// treasury, and `back` to the customer for the legs that did not sign, up to its price.
    function rest(uint256 price, uint256 cost, uint256 signers)
        internal
        pure
        returns (uint256 treasury, uint256 back)
    {
        unchecked {
            // `signers` is part of `cost`, and `back` of both cost and price.
            back = cost - signers;
            if (back > price) back = price;
            treasury = (cost > price ? cost : price) - signers - back;
        }
    }

    /// @notice What a settled word says beside the root: done 16 | agreed 16 | time 40 | past cases 8, lowest first.
    /// @param agreed_ Bit i is set when leg i signed.
    function fact(uint16 done_, uint256 agreed_, uint256 time_) internal pure returns (uint96) {
        return uint96(done_ | (agreed_ << 16) | (uint256(uint40(time_)) << 32));
    }

    function done(uint96 fact_) internal pure returns (uint256) {
        return uint16(fact_);
    }

    function agreed(uint96 fact_) internal pure returns (uint256) {
        return uint16(fact_ >> 16);
    }

    function time(uint96 fact_) internal pure returns (uint256) {
        return uint40(fact_ >> 32);
    }

    function pastCases(uint96 fact_) internal pure returns (uint256) {
        return uint8(fact_ >> 72);
    }

    /// @notice The fact after a case that lasted `length` seconds: its window stood still for as long.
    function afterCase(uint96 fact_, uint256 length) internal pure returns (uint96) {
        return uint96(fact_ + (length << 32) + (1 << 72));
    }
}
