// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Offer, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice What each call costs as a transaction of its own (21,000 and calldata included), with everything cold and
/// accounts that were used before: written to snapshots/Market.json, so that a diff shows it.
/// forge-config: default.isolate = true
contract GasTest is Fixture {
    bytes32 private constant ROOT = keccak256("root");
    string private constant GROUP = "Market";

    function setUp() public override {
        super.setUp();
        // Steady state: provider and treasury have earned before.
        Purchase memory purchase = _purchase();
        purchase.nonce = 99;
        _settle(_match(purchase, 0, _ask()), keccak256("before"), 1);
    }

    function _gas(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall(GROUP, name);
    }

    /// @dev As `_match`, with the match the last call before it returns.
    function _matched(uint16 tasks) private returns (Opened memory o, uint256 gas) {
        Purchase memory purchase = _purchase();
        purchase.tasks = tasks;
        purchase.lot = tasks;
        Ask memory ask = _ask();
        ask.slots = tasks;
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(ask, WORKER_KEY);
        o.deal = _deal(purchase, 0, tasks, ask, worker);
        o.due = _due(tasks, tasks);
        vm.prank(scheduler);
        o.id = market.matchPurchase(purchase, signature, offer, 0, asks);
        gas = _gas(string.concat("matchPurchase, tasks: ", vm.toString(tasks)));
    }

    function test_gas_of_one_task_from_order_to_paid() public {
        (Opened memory o, uint256 matched) = _matched(1);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.snapshotValue(GROUP, "order to paid, tasks: 1", matched + _gas("settle, tasks: 1"));
    }

    function test_gas_of_a_lot_of_100_tasks_from_order_to_paid() public {
        (Opened memory o, uint256 matched) = _matched(100);
        bytes[] memory signatures = _signResult(o.id, ROOT, 100);
        market.settle(o.deal, o.due, ROOT, 100, signatures);
        vm.snapshotValue(GROUP, "order to paid, tasks: 100", matched + _gas("settle, tasks: 100"));
    }

    function test_gas_of_a_lot_done_in_part() public {
        (Opened memory o,) = _matched(100);
        bytes[] memory signatures = _signResult(o.id, ROOT, 60);
        market.settle(o.deal, o.due, ROOT, 60, signatures);
        _gas("settle, 60 of 100 tasks");
    }

    function test_gas_of_a_refusal() public {
        (Opened memory o,) = _matched(1);
        bytes32 root = _refusal(o);
        bytes[] memory signatures = _signResult(o.id, root, 0);
        market.settle(o.deal, o.due, root, 0, signatures);
        _gas("settle, refused");
    }

    function test_gas_of_a_refund_by_a_stranger() public {
        (Opened memory o,) = _matched(1);
        vm.warp(uint40(o.due) + 1);
        vm.prank(stranger);
        market.expire(o.deal, o.due);
        _gas("expire");
    }

    function test_gas_of_hastening() public {
        (Opened memory o,) = _matched(1);
        vm.prank(scheduler);
        market.hasten(o.deal, o.due);
        _gas("hasten");
    }

    function test_gas_of_accounts() public {
        dollar.mint(customer, 10);
        vm.prank(customer);
        dollar.approve(address(market), 10);
        vm.prank(customer);
        market.deposit(5);
        _gas("deposit");
        vm.prank(customer);
        market.withdraw(customer, 5);
        _gas("withdraw");
        vm.prank(provider);
        market.authorise(stranger, type(uint40).max);
        _gas("authorise");
        vm.prank(customer);
        market.bump(0);
        _gas("bump");
        Purchase memory purchase = _purchase();
        vm.prank(customer);
        market.cancel(purchase, 0);
        _gas("cancel");
    }

    function test_gas_of_bundles() public {
        Offer memory other = _offer();
        other.application = "another";
        bytes32 id = keccak256(abi.encode(other));
        uint40 until = uint40(block.timestamp + 1 days);
        vm.prank(pricing);
        market.publish(other, until, 5e6);
        _gas("publish");
        vm.prank(pricing);
        market.retire(id, until - 1);
        _gas("retire");
        vm.warp(until);
        market.reclaim(id);
        _gas("reclaim");
    }

    function test_size_of_the_code() public {
        uint256 size = address(market).code.length;
        vm.snapshotValue(GROUP, "bytes of code", size);
        vm.assertLe(size, 24_576, "EIP-170");
        size = vm.getDeployedCode("Desk.sol:Desk").length;
        vm.snapshotValue(GROUP, "bytes of code, desk", size);
        vm.assertLe(size, 24_576, "EIP-170");
    }
}
