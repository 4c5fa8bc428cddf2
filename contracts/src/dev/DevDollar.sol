// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Dev Dollar
/// @notice A stand-in for a dollar stablecoin on local chains: permit (EIP-2612), transfers by authorisation
/// (EIP-3009) and a faucet. It refuses to be deployed anywhere else, because anyone can make it.
contract DevDollar is ERC20Permit, ERC3009 {
    /// @notice The chain is not a local one.
    error DevDollarLocalOnly(uint256 chainId);

    constructor() ERC20("Dev Dollar", "dUSD") ERC20Permit("Dev Dollar") {
        if (block.chainid != 31337 && block.chainid != 1337) revert DevDollarLocalOnly(block.chainid);
    }

    /// @notice Faucet: makes `amount` for `to`, for whoever asks.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice As of a dollar stablecoin: 1,000,000 units are one dollar.
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
