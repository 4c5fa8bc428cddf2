// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Merkle} from "../../src/libraries/Merkle.sol";

/// @notice A tree as a worker builds it, level by level.
library Trees {
    /// @dev Siblings from the leaf up; where a node has none it is promoted.
    function proof(bytes32[] memory nodes, uint256 index) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory found = new bytes32[](32);
        uint256 used = 0;
        while (nodes.length > 1) {
            if (index ^ 1 < nodes.length) found[used++] = nodes[index ^ 1];
            bytes32[] memory up = new bytes32[]((nodes.length + 1) / 2);
            for (uint256 i = 0; i < up.length; ++i) {
                up[i] = 2 * i + 1 < nodes.length ? Merkle.inner(nodes[2 * i], nodes[2 * i + 1]) : nodes[2 * i];
            }
            nodes = up;
            index /= 2;
        }
        siblings = new bytes32[](used);
        for (uint256 i = 0; i < used; ++i) {
            siblings[i] = found[i];
        }
    }

    /// @dev The leaves of `count` tasks that all succeeded, each with its index as digest.
    function successes(uint256 count) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = Merkle.leaf(uint32(i), 0, bytes32(i));
        }
    }
}
