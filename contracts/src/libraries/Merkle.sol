// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The tree over a lot's results. Leaves and inner nodes carry different first bytes; a node without a
/// sibling is promoted unchanged; index and number of leaves fix the shape of a proof.
library Merkle {
    function leaf(uint32 index, uint8 status, bytes32 digest) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0), index, status, digest));
    }

    function inner(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }

    /// @notice The root over `nodes`, which is overwritten. No nodes: zero.
    function root(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 size = nodes.length;
        if (size == 0) return 0;
        while (size > 1) {
            uint256 half = size / 2;
            for (uint256 i = 0; i < half; ++i) {
                nodes[i] = inner(nodes[2 * i], nodes[2 * i + 1]);
            }
            if (size % 2 == 1) nodes[half++] = nodes[size - 1];
            size = half;
        }
        return nodes[0];
    }

    /// @notice Whether `node` is leaf `index` of the tree of `size` leaves with this root.
    function verify(bytes32[] memory proof, bytes32 expected, bytes32 node, uint256 index, uint256 size)
        internal
        pure
        returns (bool)
    {
        if (index >= size) return false;
        uint256 used = 0;
        while (size > 1) {
            bool promoted = index + 1 == size && size % 2 == 1;
            if (!promoted) {
                if (used == proof.length) return false;
                bytes32 sibling = proof[used++];
                node = index % 2 == 0 ? inner(node, sibling) : inner(sibling, node);
            }
            index /= 2;
            size = (size + 1) / 2;
        }
        return used == proof.length && node == expected;
    }
}
