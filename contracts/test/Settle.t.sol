// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Deal, Leg, Purchase, Result} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {dealId, packCharge, packHead, packLeg} from "./support/Packed.sol";
import {within} from "./support/Vm.sol";

/// @notice Who is paid for a signed result, how much, and once.
contract SettleTest is Fixture {
    bytes32 private constant ROOT = keccak256("root");

    function _notOpen(Opened memory o) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IMarketErrors.MarketNotOpen.selector, o.id, o.due, market.lot(o.deal.order, o.deal.head.lot())
        );
    }

    function test_a_result_pays_the_provider_and_the_margin() public {
        Opened memory o = _open();
        uint256 treasury = _free(address(market));
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.prank(stranger); // anyone may send it
        vm.expectEmit();
        emit IMarketEvents.Settled(
            o.id, ROOT, uint64(PAY), 0, uint96(1 | (1 << 16) | (block.timestamp << 32))
        );
        market.settle(o.deal, o.due, ROOT, 1, signatures);

        vm.assertEq(_cur(provider), PAY);
        vm.assertEq(_free(provider), SURETY);
        vm.assertEq(_cur(address(market)), PRICE - PAY);
        vm.assertEq(_free(address(market)), treasury);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE);
        vm.assertEq(market.lot(o.deal.order, 0), _settledWord(o, ROOT, 1, block.timestamp));
    }

    function test_pay_that_nobody_can_dispute_is_free_at_once() public {
        offer.disputable = false;
        bundle = _publish(offer, _now() + 1 days, 0);
        Opened memory o = _open();
        uint256 treasury = _free(address(market));
        _settle(o, ROOT, 1);
        vm.assertEq(_free(provider), SURETY + PAY);
        vm.assertEq(_free(address(market)), treasury + PRICE - PAY);
        vm.assertEq(_cur(provider) + _cur(address(market)), 0);
    }

    function test_what_is_not_done_goes_back_to_the_customer() public {
        Opened memory o = _open(10);
        bytes[] memory signatures = _signResult(o.id, ROOT, 7);
        vm.expectEmit();
        emit IMarketEvents.Settled(
            o.id,
            ROOT,
            uint64(7 * PAY),
            uint64(3 * PRICE),
            uint96(7 | (1 << 16) | (block.timestamp << 32))
        );
        market.settle(o.deal, o.due, ROOT, 7, signatures);
        vm.assertEq(_cur(provider), 7 * PAY);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 7 * PRICE);
        vm.assertEq(_cur(address(market)), 7 * (PRICE - PAY));
    }

    function test_what_the_float_gave_and_nobody_earned_goes_to_the_treasury() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = purchase.lot = 10;
        Ask memory ask = _ask();
        ask.slots = 10;
        ask.price = 3e6; // one dollar a task above the price
        Opened memory o = _match(purchase, 0, ask);
        uint256 treasury = _free(address(market));
        _settle(o, ROOT, 4);
        vm.assertEq(_cur(provider), 4 * 3e6);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 4 * PRICE);
        vm.assertEq(_free(address(market)), treasury + 6e6);
        vm.assertEq(_cur(address(market)), 0);
        vm.assertEq(_floatOf(bundle), FLOAT - 10e6);
    }

    function test_a_deal_is_paid_once() public {
        Opened memory o = _open();
        _settle(o, ROOT, 1);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectRevert(_notOpen(o));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.warp(uint40(o.due) + 1);
        vm.expectRevert(_notOpen(o));
        market.expire(o.deal, o.due);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_result_by_a_stranger_is_refused() public {
        Opened memory o = _open();
        bytes32 digest = _digest(_hash(Result(o.id, ROOT, 1)));
        uint256[3] memory keys = [STRANGER_KEY, CUSTOMER_KEY, PROVIDER_KEY]; // the worker's key signed the ask
        for (uint256 i = 0; i < keys.length; ++i) {
            bytes[] memory signatures = _signResultBy(keys[i], o.id, ROOT, 1);
            vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, worker, digest));
            market.settle(o.deal, o.due, ROOT, 1, signatures);
        }
    }

    function test_a_result_for_another_deal_is_refused() public {
        Opened memory one = _open();
        Purchase memory purchase = _purchase();
        purchase.nonce = 2;
        Opened memory two = _match(purchase, 0, _ask());
        bytes[] memory signatures = _signResult(one.id, ROOT, 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(two.deal, two.due, ROOT, 1, signatures);
    }

    function test_a_result_for_another_root_or_count_is_refused() public {
        Opened memory o = _open(2);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(o.deal, o.due, "other", 1, signatures);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(o.deal, o.due, ROOT, 2, signatures);
    }

    function test_a_deal_that_was_never_matched_is_refused() public {
        Opened memory o;
        o.deal = _deal(_purchase(), 0, 1, _ask(), worker);
        o.id = dealId(o.deal);
        o.due = _due(1, 1);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectRevert(_notOpen(o));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
    }

    function test_a_deal_passed_back_with_any_field_changed_is_refused() public {
        Opened memory o = _open(2);
        bytes[] memory signatures = _signResult(o.id, ROOT, 2);
        Deal[] memory changed = new Deal[](9);
        for (uint256 i = 0; i < 9; ++i) {
            changed[i] = abi.decode(abi.encode(o.deal), (Deal));
        }
        changed[0].head = packHead(stranger, 0, 2, 1, true);
        changed[1].head = packHead(customer, 1, 2, 1, true);
        changed[2].head = packHead(customer, 0, 3, 1, true);
        changed[3].head = packHead(customer, 0, 2, 0, true);
        changed[4].head = packHead(customer, 0, 2, 1, false);
        changed[5].money = packCharge(PRICE + 1, 0);
        changed[6].money = packCharge(PRICE, 1);
        changed[7].legs[0] = packLeg(provider, worker, PAY + 1);
        changed[8].legs[0] = packLeg(stranger, worker, PAY);
        for (uint256 i = 0; i < 9; ++i) {
            vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
            market.settle(changed[i], o.due, ROOT, 2, signatures);
            vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
            market.expire(changed[i], o.due);
        }
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due + 1, ROOT, 2, signatures);
    }

    function test_legs_cannot_be_added_or_left_out() public {
        Opened memory o = _open();
        Leg[] memory two = new Leg[](2);
        two[0] = o.deal.legs[0];
        two[1] = packLeg(stranger, stranger, 1);
        o.deal.legs = two;
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        o.deal.legs = new Leg[](0);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
    }

    function test_every_leg_must_sign_and_nobody_else() public {
        Opened memory o = _open();
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegCount.selector, 0, 1));
        market.settle(o.deal, o.due, ROOT, 1, new bytes[](0));
        bytes[] memory two = new bytes[](2);
        two[0] = two[1] = _signResult(o.id, ROOT, 1)[0];
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegCount.selector, 2, 1));
        market.settle(o.deal, o.due, ROOT, 1, two);
    }

    function test_more_done_than_the_lot_has_is_refused() public {
        Opened memory o = _open(3);
        bytes[] memory signatures = _signResult(o.id, ROOT, 4);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketDone.selector, 4, 3));
        market.settle(o.deal, o.due, ROOT, 4, signatures);
    }

    function test_the_deadlines_second_is_still_in_time() public {
        Opened memory o = _open();
        vm.warp(uint40(o.due));
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooEarly.selector, uint40(o.due)));
        market.expire(o.deal, o.due);
        _settle(o, ROOT, 1);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_second_later_is_too_late() public {
        Opened memory o = _open();
        vm.warp(uint40(o.due) + 1);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, uint40(o.due)));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        market.expire(o.deal, o.due);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_a_surety_taken_out_in_the_middle_stops_the_pay_until_it_is_back() public {
        Opened memory o = _open();
        vm.prank(provider);
        market.withdraw(provider, 1);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketSuretyMissing.selector, provider, SURETY - 1, SURETY)
        );
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        _fund(provider, 1);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_pay_that_nobody_can_dispute_needs_no_surety_at_the_end() public {
        offer.disputable = false;
        bundle = _publish(offer, _now() + 1 days, 0);
        Opened memory o = _open();
        vm.prank(provider);
        market.withdraw(provider, SURETY);
        _settle(o, ROOT, 1);
        vm.assertEq(_free(provider), PAY);
    }

    function test_a_result_survives_a_rematch_with_the_same_provider() public {
        Purchase memory purchase = _purchase();
        purchase.expiry = purchase.deliverBy = type(uint40).max;
        Ask memory ask = _ask();
        ask.expiry = type(uint40).max;
        Opened memory o = _match(purchase, 0, ask);
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.warp(uint40(o.due) + 1);
        market.expire(o.deal, o.due);
        bytes memory purchaseSignature = _signPurchase(purchase);
        vm.prank(scheduler);
        bytes32 id = market.matchPurchase(purchase, purchaseSignature, offer, 0, _signAsk(ask, WORKER_KEY));
        vm.assertEq(id, o.id);
        market.settle(o.deal, _due(1, 1), ROOT, 1, signatures);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_fee_set_later_does_not_touch_an_open_deal() public {
        Opened memory o = _open();
        vm.prank(admin);
        market.setFee(500);
        _settle(o, ROOT, 1);
        vm.assertEq(_cur(provider), PAY);
        vm.assertEq(_cur(address(market)), PRICE - PAY);
    }

    function testFuzz_every_unit_of_a_deal_reaches_somebody(uint16 count, uint16 done, uint96 pay) public {
        count = uint16(within(count, 1, 90));
        done = uint16(within(done, 0, count));
        pay = uint96(within(pay, 1, 3e6));
        Purchase memory purchase = _purchase();
        purchase.tasks = purchase.lot = count;
        Ask memory ask = _ask();
        ask.slots = count;
        ask.price = pay;
        uint256 before = _all(customer) + _all(provider) + _all(address(market)) + _floatOf(bundle);
        Opened memory o = _match(purchase, 0, ask);
        _settle(o, done == 0 ? _refusal(o) : ROOT, done);
        vm.assertEq(
            _all(customer) + _all(provider) + _all(address(market)) + _floatOf(bundle), before
        );
        vm.assertEq(_all(customer), CUSTOMER_FUNDS - PRICE * done);
        vm.assertEq(_all(provider), SURETY + uint256(pay) * done);
    }
}
