// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Merkle} from "../src/libraries/Merkle.sol";
import {Trees} from "./support/Trees.sol";
import {Vm, within} from "./support/Vm.sol";

/// @notice The tree over a lot's results.
contract MerkleTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    string private constant VECTORS = "../tests/vectors/merkle.json";

    function _leaves(uint256 size) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = Merkle.leaf(uint32(i), uint8(i % 3), keccak256(abi.encode(i)));
        }
    }

    function test_leaves_and_nodes_are_told_apart() public pure {
        bytes32 digest = keccak256("digest");
        vm.assertEq(
            Merkle.leaf(7, 2, digest), keccak256(abi.encodePacked(hex"00", hex"00000007", hex"02", digest))
        );
        vm.assertEq(Merkle.inner("a", "b"), keccak256(abi.encodePacked(hex"01", bytes32("a"), bytes32("b"))));
    }

    function test_small_trees_by_hand() public pure {
        bytes32[] memory l = _leaves(3);
        vm.assertEq(Merkle.root(_leaves(0)), 0);
        vm.assertEq(Merkle.root(_leaves(1)), l[0]);
        vm.assertEq(Merkle.root(_leaves(2)), Merkle.inner(l[0], l[1]));
        vm.assertEq(Merkle.root(_leaves(3)), Merkle.inner(Merkle.inner(l[0], l[1]), l[2]));
    }

    function testFuzz_every_leaf_is_proven_at_its_index_and_nowhere_else(uint8 size_, uint8 index_, uint8 other)
        public
        pure
    {
        uint256 size = within(size_, 1, 70);
        uint256 index = within(index_, 0, size - 1);
        bytes32[] memory leaves = _leaves(size);
        bytes32[] memory proof = Trees.proof(_leaves(size), index);
        bytes32 root = Merkle.root(_leaves(size));
        vm.assertTrue(Merkle.verify(proof, root, leaves[index], index, size));
        uint256 elsewhere = within(other, 0, 80);
        if (elsewhere != index) {
            vm.assertFalse(Merkle.verify(proof, root, leaves[index], elsewhere, size));
            if (elsewhere < size) vm.assertFalse(Merkle.verify(proof, root, leaves[elsewhere], index, size));
        }
    }

    function testFuzz_an_inner_node_is_no_leaf(uint8 size_) public pure {
        uint256 size = within(size_, 3, 70);
        bytes32[] memory leaves = _leaves(size);
        bytes32[] memory proof = Trees.proof(_leaves(size), 0);
        bytes32[] memory shorter = new bytes32[](proof.length - 1);
        for (uint256 i = 0; i < shorter.length; ++i) {
            shorter[i] = proof[i + 1];
        }
        bytes32 node = Merkle.inner(leaves[0], leaves[1]);
        vm.assertFalse(Merkle.verify(shorter, Merkle.root(_leaves(size)), node, 0, size));
    }

    function test_proofs_with_too_much_or_too_little_are_refused() public pure {
        bytes32[] memory leaves = _leaves(4);
        bytes32 root = Merkle.root(_leaves(4));
        vm.assertFalse(Merkle.verify(new bytes32[](1), root, leaves[0], 0, 4));
        bytes32[] memory proof = Trees.proof(_leaves(4), 0);
        bytes32[] memory longer = new bytes32[](3);
        (longer[0], longer[1]) = (proof[0], proof[1]);
        vm.assertFalse(Merkle.verify(longer, root, leaves[0], 0, 4));
        vm.assertFalse(Merkle.verify(proof, root, leaves[0], 4, 4));
    }

    /// @dev A list of {statuses, digests, root}, written by the Python tests.
    function test_shared_vectors_agree() public view {
        string memory json = vm.readFile(VECTORS);
        uint256 i = 0;
        for (; vm.keyExistsJson(json, string.concat("$[", vm.toString(i), "]")); ++i) {
            string memory path = string.concat("$[", vm.toString(i), "]");
            uint256[] memory statuses = vm.parseJsonUintArray(json, string.concat(path, ".statuses"));
            bytes32[] memory nodes = vm.parseJsonBytes32Array(json, string.concat(path, ".digests"));
            for (uint256 j = 0; j < nodes.length; ++j) {
                nodes[j] = Merkle.leaf(uint32(j), uint8(statuses[j]), nodes[j]);
            }
            vm.assertEq(Merkle.root(nodes), vm.parseJsonBytes32(json, string.concat(path, ".root")));
        }
        vm.assertGe(i, 1, "a tree");
    }
}
