// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice What each call costs as a transaction of its own, with everything cold and accounts that were used
/// before: written to snapshots/Market.json, so that a diff shows it.
/// forge-config: default.isolate = true
contract GasTest is Fixture {
    function setUp() public override {
        super.setUp();
        // Steady state: provider and treasury have earned before.
        Purchase memory purchase = _purchase();
        purchase.nonce = 99;
        _settle(_match(purchase, 0, _ask()), keccak256("before"), 1);
    }

    function test_gas_of_match_and_settle_for_one_task() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        Opened memory o;
        o.deal = _deal(purchase, 0, 1, _ask(), worker);
        o.due = _due(1, 1);
        vm.prank(scheduler);
        o.id = market.matchPurchase(purchase, signature, offer, 0, asks);
        uint256 matched = vm.snapshotGasLastCall("Market", "matchPurchase, one task");
        bytes[] memory signatures = _signResult(o.id, keccak256("root"), 1);
        market.settle(o.deal, o.due, keccak256("root"), 1, signatures);
        uint256 settled = vm.snapshotGasLastCall("Market", "settle, one task");
        vm.snapshotValue("Market", "one task, order to paid", matched + settled);
    }
}
