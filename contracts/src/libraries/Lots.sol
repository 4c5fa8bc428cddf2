// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {Deal, Leg, Offer} from "../interfaces/Types.sol";

/// @notice The words whose hash is a lot's state, and the ids that they are made of.
/// @dev Open hashes 64 bytes and settled 96, so one can never be read as the other.
library Lots {
    bytes32 internal constant FREE = 0;
    bytes32 internal constant CANCELLED = bytes32(uint256(1));
    /// @dev Bit of a `due`, above its 40 bits of deadline: `hasten` brought it forward.
    uint256 internal constant HASTENED = 1 << 40;

    function key(bytes32 order, uint32 lot) internal pure returns (bytes32) {
        return Hashes.efficientKeccak256(order, bytes32(uint256(lot)));
    }

    /// @dev For a deal that is being made.
    function dealId(Deal memory deal) internal pure returns (bytes32) {
        return keccak256(abi.encode(deal));
    }

    /// @dev For a deal that is passed back: `keccak256(abi.encode(deal))` straight from calldata. Words with bits
    /// above their type's are hashed as they are and so belong to no deal.
    function givenDealId(Deal calldata deal) internal pure returns (bytes32 id) {
        Leg[] calldata legs = deal.legs;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, 32) // offset of the deal
            calldatacopy(add(start, 32), deal, 288) // its nine static fields
            mstore(add(start, 320), 320) // offset of the legs in the deal
            mstore(add(start, 352), legs.length)
            let size := mul(legs.length, 96)
            calldatacopy(add(start, 384), legs.offset, size)
            id := keccak256(start, add(size, 384))
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

    function settled(bytes32 deal, bytes32 root, uint96 fact_) internal pure returns (bytes32) {
        return keccak256(abi.encode(deal, root, fact_));
    }

    /// @notice What a settled word says beside the root: done 16 | agreed 16 | time 40 | past cases 8, lowest first.
    /// @param agreed Bit i is set when leg i signed.
    function fact(uint16 done, uint16 agreed, uint256 time) internal pure returns (uint96) {
        return uint96(done | (uint256(agreed) << 16) | (uint256(uint40(time)) << 32));
    }
}
