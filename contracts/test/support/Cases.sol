// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Case, Claim} from "../../src/interfaces/Types.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Crowd} from "./Crowd.sol";

/// @notice A disputable bundle of two replicas, its settled lots of three tasks, and cases about them.
abstract contract Cases is Crowd {
    uint96 internal constant EACH = 0.75e6;
    uint64 internal constant BOND = 5e6;
    uint64 internal constant FEE = 2e6;

    bytes32[] internal _nodes;
    bytes32 internal _root;

    function setUp() public virtual override {
        super.setUp();
        _fundProviders(3);
        _fund(stranger, 100e6);
        offer = _offerOf(2, true, 3e6);
        bundle = keccak256(abi.encode(offer));
        for (uint32 i = 0; i < 3; ++i) {
            _nodes.push(Merkle.leaf(i, 0, bytes32(uint256(i) + 1)));
        }
        _root = Merkle.inner(Merkle.inner(_nodes[0], _nodes[1]), _nodes[2]);
    }

    function _claimOf(uint32 index) internal pure returns (Claim memory) {
        return Claim(0, index, 0, bytes32(uint256(index) + 1), "");
    }

    function _proofOf(uint32 index) internal view returns (bytes32[] memory proof) {
        if (index == 2) {
            proof = new bytes32[](1);
            proof[0] = Merkle.inner(_nodes[0], _nodes[1]);
        } else {
            proof = new bytes32[](2);
            proof[0] = _nodes[1 - index];
            proof[1] = _nodes[2];
        }
    }

    function _factOf(uint256 done, uint256 agreed, uint256 time, uint256 cases) internal pure returns (uint96) {
        return uint96(done | (agreed << 16) | (time << 32) | (cases << 72));
    }

    /// @dev A lot of 3, all done, settled by both legs now.
    function _settled() internal returns (Opened memory o, uint96 fact) {
        o = _openWith(offer, 3, _pays(2, EACH));
        market.settle(o.deal, o.due, _root, 3, _signedBy(o, 3, _root, 3));
        fact = _factOf(3, 3, _now(), 0);
    }

    function _challenge(Opened memory o, uint96 fact, address by) internal returns (Case memory c) {
        uint64[] memory fees = new uint64[](2);
        fees[0] = fees[1] = FEE / 2;
        vm.prank(by);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        c = _caseOf(o, fact, by, fees);
        vm.assertEq(market.lot(o.deal.order, 0), _wordOf(o, c));
    }

    function _caseOf(Opened memory o, uint96 fact, address by, uint64[] memory fees)
        internal
        view
        returns (Case memory)
    {
        bytes32 claim = keccak256(abi.encode(uint8(0), uint32(1), _nodes[1], bytes32(0)));
        return Case(o.deal, _root, fact, by, uint40(_now() + WINDOW), claim, fees);
    }

    function _wordOf(Opened memory o, Case memory c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                o.id, c.root, c.fact, c.challenger, c.until, c.claim, keccak256(abi.encodePacked(c.fees))
            )
        );
    }

    function _judge(Case memory c, bool guilty) internal {
        vm.prank(arbiter);
        market.judge(c, guilty);
    }
}
