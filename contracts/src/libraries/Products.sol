// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../interfaces/IMarketErrors.sol";

/// @notice The self-describing product code, big-endian from the top: version u8 (1) | milli_vcpu u32 |
/// memory_mib u32 | disk_mib u32 | gpu_count u8 | gpu_model 12 bytes of ASCII, zero-padded | reserved u16 (0) |
/// max_seconds u32.
library Products {
    uint256 internal constant MAX_SECONDS = 30 days;

    /// @notice Reverts unless the code is of version 1 and its fields are in range.
    function check(bytes32 product) internal pure {
        uint256 word = uint256(product);
        bool headed = uint8(word >> 248) == 1 && uint16(word >> 32) == 0;
        bool sized = uint32(word >> 216) != 0 && uint32(word >> 184) != 0;
        bool gpu = (uint8(word >> 144) == 0) == (uint96(word >> 48) == 0);
        uint256 time = maxSeconds(product);
        if (!headed || !sized || !gpu || time == 0 || time > MAX_SECONDS) revert IMarketErrors.MarketProduct(product);
    }

    /// @notice The most seconds that one task may run.
    function maxSeconds(bytes32 product) internal pure returns (uint256) {
        return uint32(uint256(product));
    }
}
