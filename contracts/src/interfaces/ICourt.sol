// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Case, Claim, Deal} from "./Types.sol";

/// @title Court
/// @notice Challenges of settled deals, and their ends.
interface ICourt {
    /// @notice Disputes a settled deal in its window, for a bond that doubles with each past case of the lot.
    /// @param proof Of the leaf under `root`; empty for ground 2.
    function challenge(
        Deal calldata deal,
        bytes32 root,
        uint96 fact,
        Claim calldata claim,
        bytes32[] calldata proof
    ) external;

    /// @notice Ends a case up to its `until`. By the arbiter.
    function judge(Case calldata case_, bool guilty) external;

    /// @notice Ends a case that the arbiter let pass. By anyone.
    function lapse(Case calldata case_) external;
}
