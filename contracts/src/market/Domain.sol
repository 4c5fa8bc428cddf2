// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice What every signature is bound to (EIP-712): this chain and this contract.
/// @dev As OpenZeppelin's EIP712, without its strings in storage: the separator is made once, and anew where it would
/// not hold: after a fork of the chain, and for code that the market runs on its own storage.
abstract contract Domain {
    string internal constant NAME = "Prixfixe";
    string internal constant VERSION = "1";
    bytes32 private constant TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    bytes32 private immutable _separator;
    uint256 private immutable _chain;
    address private immutable _self;

    constructor() {
        _separator = _made();
        _chain = block.chainid;
        _self = address(this);
    }

    /// @dev What is signed for a struct with this hash: `keccak256(0x1901 | separator | struct hash)`.
    function _digest(bytes32 structHash) internal view returns (bytes32 digest) {
        bytes32 separator = address(this) == _self && block.chainid == _chain ? _separator : _made();
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, shl(240, 0x1901))
            mstore(add(start, 2), separator)
            mstore(add(start, 34), structHash)
            digest := keccak256(start, 66)
        }
    }

    function _made() private view returns (bytes32) {
        bytes32 name = keccak256(bytes(NAME));
        bytes32 version = keccak256(bytes(VERSION));
        return keccak256(abi.encode(TYPE, name, version, block.chainid, address(this)));
    }
}
