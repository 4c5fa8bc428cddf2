// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";

/// @notice ECDSA first, then EIP-1271, so that an account with code that signs with its key (EIP-7702) still can.
library Signatures {
    /// @dev What a wallet contract may burn; enough for a multi-signature wallet of many owners.
    uint256 private constant WALLET_GAS = 300_000;

    /// @notice Who signed, by 65 bytes (r, s, v) or 64 (EIP-2098), low s only; zero when nobody did.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length == 65) {
            bytes32 r = bytes32(signature[0:32]);
            bytes32 s = bytes32(signature[32:64]);
            (signer,,) = ECDSA.tryRecover(digest, uint8(signature[64]), r, s);
        } else if (signature.length == 64) {
            (signer,,) = ECDSA.tryRecover(digest, bytes32(signature[0:32]), bytes32(signature[32:64]));
        }
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
