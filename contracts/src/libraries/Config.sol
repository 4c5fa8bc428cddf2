// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice One slot, lowest bits first: scheduler 160 | fee in hundredths of a percent 16 | paused 1.
type Config is uint256;

using Configs for Config global;

/// @notice What every match reads, and roles change.
library Configs {
    uint256 private constant FEE = uint256(type(uint16).max) << 160;
    uint256 private constant PAUSED = 1 << 176;

    function scheduler(Config c) internal pure returns (address) {
        return address(uint160(Config.unwrap(c)));
    }

    function feeBps(Config c) internal pure returns (uint16) {
        return uint16(Config.unwrap(c) >> 160);
    }

    function paused(Config c) internal pure returns (bool) {
        return Config.unwrap(c) & PAUSED != 0;
    }

    function withScheduler(Config c, address scheduler_) internal pure returns (Config) {
        return Config.wrap((Config.unwrap(c) >> 160 << 160) | uint160(scheduler_));
    }

    function withFee(Config c, uint16 feeBps_) internal pure returns (Config) {
        return Config.wrap((Config.unwrap(c) & ~FEE) | uint256(feeBps_) << 160);
    }

    function withPaused(Config c, bool paused_) internal pure returns (Config) {
        return Config.wrap((Config.unwrap(c) & ~PAUSED) | (paused_ ? PAUSED : 0));
    }
}
