// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Case, Claim, SignedAsk, Purchase} from "../src/interfaces/Types.sol";
import {Crowd} from "./support/Crowd.sol";

/// @notice As `GasTest`, for replicas and disputes; accounts were used before.
/// forge-config: default.isolate = true
contract GasCrowdTest is Crowd {
    string private constant GROUP = "Market";

    function setUp() public override {
        super.setUp();
        _fundProviders(3);
        _fund(stranger, 100e6);
        _fund(arbiter, 1e6);
        offer = _offerOf(3, true, 3e6);
        bundle = keccak256(abi.encode(offer));
        Opened memory o = _openWith(offer, 2, _pays(3, 0.5e6));
        market.settle(o.deal, o.due, ROOT, 2, _signedBy(o, 7, ROOT, 2));
    }

    function test_gas_of_three_replicas() public {
        Purchase memory purchase = _purchaseOf(offer, 1, 1);
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _asks(_pays(3, 0.5e6));
        Opened memory o = _dealOf(purchase, offer, _pays(3, 0.5e6));
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, offer, 0, asks);
        uint256 matched = vm.snapshotGasLastCall(GROUP, "matchPurchase, replicas: 3");
        bytes[] memory signatures = _signedBy(o, 7, ROOT, 1);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        uint256 settled = vm.snapshotGasLastCall(GROUP, "settle, replicas: 3");
        vm.snapshotValue(GROUP, "order to paid, replicas: 3", matched + settled);
    }

    function test_gas_of_a_case() public {
        Case memory c = _challenged();
        vm.prank(arbiter);
        market.judge(c, true);
        vm.snapshotGasLastCall(GROUP, "judge");
    }

    function test_gas_of_a_case_without_guilt() public {
        Case memory c = _challenged();
        vm.prank(arbiter);
        market.judge(c, false);
        vm.snapshotGasLastCall(GROUP, "judge, not guilty");
    }

    function test_gas_of_a_case_that_nobody_judged() public {
        Case memory c = _challenged();
        vm.warp(c.until + 1);
        market.lapse(c);
        vm.snapshotGasLastCall(GROUP, "lapse");
    }

    function _challenged() private returns (Case memory c) {
        offer = _offerOf(1, true, 3e6);
        Opened memory o = _openWith(offer, 1, _pays(1, 1e6));
        market.settle(o.deal, o.due, ROOT, 1, _signedBy(o, 1, ROOT, 1));
        uint96 fact = uint96(1 | (1 << 16) | (_now() << 32));
        Claim memory claim = Claim(2, 0, 0, 0, "secret");
        vm.prank(stranger);
        market.challenge(o.deal, ROOT, fact, claim, new bytes32[](0));
        vm.snapshotGasLastCall(GROUP, "challenge");
        uint64[] memory fees = new uint64[](1);
        fees[0] = 2e6;
        bytes32 claimed = keccak256(abi.encode(uint8(2), uint32(0), bytes32(0), bytes32("secret")));
        c = Case(o.deal, ROOT, fact, stranger, uint40(_now() + WINDOW), claimed, fees);
    }
}
