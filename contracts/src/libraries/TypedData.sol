// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Bid, Bump, Cancel, Purchase, Withdraw} from "../interfaces/Types.sol";

/// @notice EIP-712 type hashes and struct hashes of everything that can be signed.
/// @dev All fields are static, so a struct's words in calldata are what EIP-712 hashes after the type hash. A word
/// with bits above its type's is hashed as it is: nobody signed that, so its signature fails.
library TypedData {
    bytes32 internal constant ASK = keccak256(
        "Ask(address provider,bytes32 product,uint96 price,uint16 slots,uint8 kinds,address customer,address matcher,uint40 expiry,uint32 era)"
    );
    bytes32 internal constant BID = keccak256(
        "Bid(address customer,bytes32 product,uint96 price,uint32 tasks,uint16 lot,uint8 quorum,bytes32 job,address matcher,uint40 expiry,uint40 deliverBy,uint32 era,uint64 nonce)"
    );
    bytes32 internal constant PURCHASE = keccak256(
        "Purchase(address customer,bytes32 bundle,uint96 price,uint32 tasks,uint16 lot,bytes32 job,uint40 expiry,uint40 deliverBy,uint32 era,uint64 nonce)"
    );
    bytes32 internal constant RESULT = keccak256("Result(bytes32 deal,bytes32 root,uint16 done)");
    bytes32 internal constant WITHDRAW = keccak256(
        "Withdraw(address account,address to,uint96 amount,uint96 fee,uint64 nonce,uint40 deadline)"
    );
    bytes32 internal constant CANCEL = keccak256("Cancel(bytes32 order,uint32 lot)");
    bytes32 internal constant BUMP = keccak256("Bump(address account,uint32 era)");

    function hash(Ask calldata ask) internal pure returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := ask
        }
        return _hash(ASK, start, 9);
    }

    function hash(Bid calldata bid) internal pure returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := bid
        }
        return _hash(BID, start, 12);
    }

    function hash(Purchase calldata purchase) internal pure returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := purchase
        }
        return _hash(PURCHASE, start, 10);
    }

    function hash(Withdraw calldata order) internal pure returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := order
        }
        return _hash(WITHDRAW, start, 6);
    }

    function hash(Cancel memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(CANCEL, order.order, order.lot));
    }

    function hash(Bump calldata order) internal pure returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := order
        }
        return _hash(BUMP, start, 2);
    }

    /// @dev Of a `Result`.
    function result(bytes32 deal, bytes32 root, uint256 done) internal pure returns (bytes32 structHash) {
        bytes32 typeHash = RESULT;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typeHash)
            mstore(add(start, 32), deal)
            mstore(add(start, 64), root)
            mstore(add(start, 96), done)
            structHash := keccak256(start, 128)
        }
    }

    /// @dev Hashes the type and `words` words of calldata from `at`, in memory that stays free.
    function _hash(bytes32 typeHash, uint256 from, uint256 words) private pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typeHash)
            calldatacopy(add(start, 32), from, mul(words, 32))
            digest := keccak256(start, mul(add(words, 1), 32))
        }
    }
}
