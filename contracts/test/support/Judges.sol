// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IArbiter} from "../../src/interfaces/IArbiter.sol";

/// @notice An arbiter that is a contract: it keeps what it was asked, or refuses when its judges are away.
contract Judges is IArbiter {
    bytes32 public deal;
    bytes32 public claim;
    uint40 public until;
    uint256 public asked;
    bool public away;

    error JudgesAway();

    function setAway(bool away_) external {
        away = away_;
    }

    function open(bytes32 deal_, bytes32 claim_, uint40 until_) external {
        if (away) revert JudgesAway();
        (deal, claim, until) = (deal_, claim_, until_);
        ++asked;
    }
}
