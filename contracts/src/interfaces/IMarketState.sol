// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Market State
/// @notice What the market stores, word by word.
interface IMarketState {
    /// @notice The one token that the market holds.
    function token() external view returns (IERC20);

    /// @notice Last second at which `key` may sign for `provider`; 0: never.
    function workers(address provider, address key) external view returns (uint40 until);

    /// @notice When an offer ends, and its float.
    function bundles(bytes32 id) external view returns (uint40 until, uint96 float_);

    /// @notice The word at a key; a lot's is `keccak256(abi.encode(order, lot))`, a signed withdrawal's its digest (1: used).
    function lots(bytes32 key) external view returns (bytes32 word);
}
