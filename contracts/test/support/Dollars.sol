// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice What a token of the tests can do.
interface Dollar {
    function approve(address spender, uint256 amount) external returns (bool);
    function balanceOf(address owner) external view returns (uint256);
    function mint(address to, uint256 amount) external;
    function transfer(address to, uint256 amount) external returns (bool);
}

/// @notice What `DevDollar` can do by signature.
interface DollarWithPermit {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function nonces(address owner) external view returns (uint256);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

/// @notice The struct hashes of what a dollar's owner signs.
library DollarTypes {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    function permit(address owner, address spender, uint256 amount, uint256 nonce)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(PERMIT, owner, spender, amount, nonce, type(uint256).max));
    }

    /// @param account Whom the market must credit: the nonce binds it.
    function receive_(address from, address to, uint256 amount, address account, bytes32 salt)
        internal
        pure
        returns (bytes32)
    {
        bytes32 nonce = keccak256(abi.encode(account, salt));
        return keccak256(abi.encode(RECEIVE, from, to, amount, uint256(0), type(uint256).max, nonce));
    }
}
