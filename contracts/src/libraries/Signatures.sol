// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";

/// @notice ECDSA first, then EIP-1271, so that an account with code that signs with its key (EIP-7702) still can.
library Signatures {
    /// @dev Half of secp256k1's order: with a larger `s` each signature would have a twin (EIP-2).
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    /// @dev What a wallet contract may burn; enough for a multi-signature wallet of many owners.
    uint256 private constant WALLET_GAS = 300_000;

    /// @notice Who signed, by 65 bytes (r, s, v) or 64 (EIP-2098), low s only; zero when nobody did.
    function recover(bytes32 digest, bytes calldata signature) internal view returns (address signer) {
        bool ran = true;
        assembly ("memory-safe") {
            let s := calldataload(add(signature.offset, 32))
            let v := 0
            switch signature.length
            case 65 { v := byte(0, calldataload(add(signature.offset, 64))) }
            case 64 {
                v := add(shr(255, s), 27)
                s := and(s, shr(1, not(0)))
            }
            // The precompile answers nothing for a `v` that is neither 27 nor 28 and for an `r` that is no point.
            if and(iszero(gt(s, HALF_ORDER)), gt(v, 0)) {
                let start := mload(0x40)
                mstore(start, digest)
                mstore(add(start, 32), v)
                mstore(add(start, 64), calldataload(signature.offset))
                mstore(add(start, 96), s)
                mstore(0, 0)
                ran := staticcall(gas(), 1, start, 128, 0, 32)
                signer := mload(0)
            }
        }
        // The precompile fails only for want of gas, which says nothing about the signature.
        if (!ran) revert IMarketErrors.MarketGas();
    }

    /// @notice Whether `signer` signed, with its key or as a wallet contract.
    function isBy(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signer == address(0)) return false;
        return recover(digest, signature) == signer || isByWallet(signer, digest, signature);
    }

    /// @notice Whether the wallet contract at `signer` says yes, within bounded gas. Its answer is never copied
    /// beyond one word.
    function isByWallet(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signer.code.length == 0) return false;
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bytes32 magic = bytes32(IERC1271.isValidSignature.selector);
        bool yes;
        // A wallet that had too little gas to say yes has not said no: whoever sends the call must bring enough.
        if (gasleft() < WALLET_GAS + WALLET_GAS / 32) revert IMarketErrors.MarketGas();
        assembly ("memory-safe") {
            let answered := staticcall(WALLET_GAS, signer, add(question, 32), mload(question), 0, 32)
            yes := and(answered, and(gt(returndatasize(), 31), eq(mload(0), magic)))
        }
        return yes;
    }
}
