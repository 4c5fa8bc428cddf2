// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Bid, Bump, Cancel, Purchase, Result, Withdraw} from "../interfaces/Types.sol";

/// @notice EIP-712 type hashes and struct hashes of everything that can be signed.
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

    function hash(Ask memory ask) internal pure returns (bytes32) {
        return keccak256(abi.encode(ASK, ask));
    }

    function hash(Bid memory bid) internal pure returns (bytes32) {
        return keccak256(abi.encode(BID, bid));
    }

    function hash(Purchase memory purchase) internal pure returns (bytes32) {
        return keccak256(abi.encode(PURCHASE, purchase));
    }

    function hash(Result memory result) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESULT, result));
    }

    function hash(Withdraw memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAW, order));
    }

    function hash(Cancel memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(CANCEL, order));
    }

    function hash(Bump memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(BUMP, order));
    }
}
