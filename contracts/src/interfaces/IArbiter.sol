// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Arbiter
/// @notice What an arbiter that is a contract is asked when a deal is challenged.
/// @dev It is deployed before the market that names it; code that comes to its address later is never called.
interface IArbiter {
    /// @notice A case was opened, to be judged up to `until`; reverts when nobody can judge it.
    /// @param deal Id of the deal.
    /// @param claim As in `Case`.
    function open(bytes32 deal, bytes32 claim, uint40 until) external;
}
