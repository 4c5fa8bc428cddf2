// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Deal, Offer, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {dealId, packCharge} from "./support/Packed.sol";
import {within} from "./support/Vm.sol";

/// @notice What a match takes, opens and refuses.
contract MatchTest is Fixture {
    /// @dev Both signed as they are, then refused with exactly `error_`.
    function _refused(Purchase memory purchase, uint32 lot, Ask memory ask, bytes memory error_) private {
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(ask, WORKER_KEY);
        bytes32 before = market.lot(_order(purchase), lot);
        vm.prank(scheduler);
        vm.expectRevert(error_);
        market.matchPurchase(purchase, signature, offer, lot, asks);
        vm.assertEq(market.lot(_order(purchase), lot), before);
    }

    function test_a_match_takes_the_price_and_opens_the_deal() public {
        Purchase memory purchase = _purchase();
        Deal memory deal = _deal(purchase, 0, 1, _ask(), worker);
        uint48 due = uint48(block.timestamp + GRACE + MAX_SECONDS);
        bytes32 id = dealId(deal);
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(scheduler);
        vm.expectEmit();
        emit IMarketEvents.DealOpened(id, deal.order, bundle, due, deal.head, deal.money, deal.legs);
        vm.assertEq(market.matchPurchase(purchase, signature, offer, 0, asks), id);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE);
        vm.assertEq(_free(provider), SURETY);
        vm.assertEq(_floatOf(bundle), FLOAT);
        vm.assertEq(market.lot(deal.order, 0), keccak256(abi.encode(id, due)));
        vm.assertEq(market.lots(keccak256(abi.encode(deal.order, uint32(0)))), market.lot(deal.order, 0));
    }

    function test_only_the_scheduler_matches_a_purchase() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotScheduler.selector, stranger));
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    function test_a_lot_is_matched_once() public {
        Opened memory o = _open();
        _refused(
            _purchase(),
            0,
            _ask(),
            abi.encodeWithSelector(
                IMarketErrors.MarketLotTaken.selector, o.deal.order, 0, keccak256(abi.encode(o.id, o.due))
            )
        );
    }

    function test_a_settled_lot_is_not_matched_again() public {
        Opened memory o = _open();
        _settle(o, "root", 1);
        bytes32 word = _settledWord(o, "root", 1, block.timestamp);
        _refused(
            _purchase(),
            0,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketLotTaken.selector, o.deal.order, 0, word)
        );
    }

    function test_lots_of_an_order_are_matched_apart_and_the_last_is_short() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 7;
        purchase.lot = 3;
        for (uint32 lot = 0; lot < 3; ++lot) {
            Opened memory o = _match(purchase, lot, _ask());
            vm.assertEq(o.deal.head.count(), lot == 2 ? 1 : 3);
        }
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 7 * PRICE);
        _refused(purchase, 3, _ask(), abi.encodeWithSelector(IMarketErrors.MarketLotRange.selector, 3, 3));
    }

    function test_an_order_of_nothing_has_no_lot() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 0;
        _refused(purchase, 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketLotRange.selector, 0, 0));
        purchase.tasks = 1;
        purchase.lot = 0;
        _refused(purchase, 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketLotRange.selector, 0, 0));
        purchase.lot = 1;
        _refused(
            purchase,
            type(uint32).max,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketLotRange.selector, type(uint32).max, 1)
        );
    }

    function test_a_lot_of_65535_tasks_fits() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = type(uint32).max;
        purchase.lot = type(uint16).max;
        purchase.deliverBy = type(uint40).max;
        _fund(customer, type(uint16).max * uint64(PRICE));
        Opened memory o = _match(purchase, 0, _ask());
        vm.assertEq(o.deal.head.count(), type(uint16).max);
        vm.assertEq(uint40(o.due), block.timestamp + GRACE + uint256(MAX_SECONDS) * 65_535);
    }

    function test_the_deadline_follows_the_slots() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 10;
        purchase.lot = 10;
        Ask memory ask = _ask();
        ask.slots = 4;
        vm.assertEq(uint40(_match(purchase, 0, ask).due), block.timestamp + GRACE + MAX_SECONDS * 3);
    }

    function test_a_deadline_later_than_deliverBy_is_refused() public {
        Purchase memory purchase = _purchase();
        uint256 deadline = block.timestamp + GRACE + MAX_SECONDS;
        purchase.deliverBy = uint40(deadline - 1);
        _refused(
            purchase,
            0,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketDeliverBy.selector, deadline, purchase.deliverBy)
        );
        purchase.deliverBy = uint40(deadline);
        _match(purchase, 0, _ask());
    }

    function test_a_purchase_matches_up_to_its_expiry() public {
        Purchase memory purchase = _purchase();
        Ask memory ask = _ask();
        ask.expiry = type(uint40).max;
        vm.warp(purchase.expiry + 1);
        _refused(
            purchase, 0, ask, abi.encodeWithSelector(IMarketErrors.MarketExpired.selector, purchase.expiry)
        );
        vm.warp(purchase.expiry);
        _match(purchase, 0, ask);
    }

    function test_an_ask_matches_up_to_its_expiry() public {
        Purchase memory purchase = _purchase();
        Ask memory ask = _ask();
        vm.warp(ask.expiry + 1);
        _refused(purchase, 0, ask, abi.encodeWithSelector(IMarketErrors.MarketExpired.selector, ask.expiry));
        vm.warp(ask.expiry);
        _match(purchase, 0, ask);
    }

    function test_bump_kills_the_customers_purchases() public {
        vm.prank(customer);
        market.bump(0);
        _refused(
            _purchase(), 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketEra.selector, customer, 0, 1)
        );
    }

    function test_bump_kills_the_providers_asks_by_any_key() public {
        vm.prank(provider);
        market.bump(0);
        _refused(
            _purchase(), 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketEra.selector, provider, 0, 1)
        );
        Ask memory ask = _ask();
        ask.era = 1;
        _match(_purchase(), 0, ask);
    }

    function test_an_era_that_has_not_begun_does_not_match() public {
        Purchase memory purchase = _purchase();
        purchase.era = 1;
        _refused(
            purchase, 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketEra.selector, customer, 1, 0)
        );
    }

    function test_the_price_must_be_the_bundles() public {
        Purchase memory purchase = _purchase();
        purchase.price = PRICE + 1;
        _refused(
            purchase, 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketPrice.selector, PRICE + 1, PRICE)
        );
        purchase.price = PRICE - 1;
        _refused(
            purchase, 0, _ask(), abi.encodeWithSelector(IMarketErrors.MarketPrice.selector, PRICE - 1, PRICE)
        );
    }

    function test_the_offer_must_be_the_one_that_was_signed_for() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        offer.maxCost += 1; // a better one for the scheduler
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(scheduler);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketBundleMismatch.selector, bundle, keccak256(abi.encode(offer))
            )
        );
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    function test_an_offer_that_was_never_published_does_not_match() public {
        offer.application = "never";
        Purchase memory purchase = _purchase();
        purchase.bundle = keccak256(abi.encode(offer));
        _refused(
            purchase,
            0,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketBundleNotLive.selector, purchase.bundle, uint40(0))
        );
    }

    function test_a_deal_has_at_least_a_quorum_of_legs_of_different_providers() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegCount.selector, 0, 1));
        market.matchPurchase(purchase, signature, offer, 0, new SignedAsk[](0));

        SignedAsk[] memory two = new SignedAsk[](2);
        two[0] = two[1] = _signAsk(_ask(), WORKER_KEY)[0];
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegTwice.selector, provider));
        market.matchPurchase(purchase, signature, offer, 0, two);
    }

    function test_an_ask_must_opt_in_to_bundles() public {
        Ask memory ask = _ask();
        ask.kinds = 1;
        _refused(_purchase(), 0, ask, abi.encodeWithSelector(IMarketErrors.MarketAskKinds.selector, 1));
        ask.kinds = 3;
        _match(_purchase(), 0, ask);
    }

    function test_an_ask_for_another_product_does_not_match() public {
        Ask memory ask = _ask();
        ask.product = bytes32(uint256(_product()) + 1);
        _refused(
            _purchase(),
            0,
            ask,
            abi.encodeWithSelector(IMarketErrors.MarketAskProduct.selector, ask.product, _product())
        );
    }

    function test_an_ask_for_another_customer_does_not_match() public {
        Ask memory ask = _ask();
        ask.customer = stranger;
        _refused(
            _purchase(),
            0,
            ask,
            abi.encodeWithSelector(IMarketErrors.MarketAskCustomer.selector, stranger, customer)
        );
        ask.customer = customer;
        _match(_purchase(), 0, ask);
    }

    function test_an_ask_names_its_matcher_or_nobody() public {
        Ask memory ask = _ask();
        ask.matcher = stranger;
        _refused(
            _purchase(),
            0,
            ask,
            abi.encodeWithSelector(IMarketErrors.MarketAskMatcher.selector, stranger, scheduler)
        );
        Purchase memory purchase = _purchase();
        address[3] memory fine = [address(0), scheduler, address(market)];
        for (uint256 i = 0; i < fine.length; ++i) {
            ask.matcher = fine[i];
            purchase.nonce = uint64(10 + i);
            _match(purchase, 0, ask);
        }
    }

    function test_a_provider_is_not_its_own_customer() public {
        Purchase memory purchase = _purchase();
        purchase.customer = provider;
        _fund(provider, uint64(PRICE));
        bytes memory signature = _sign(PROVIDER_KEY, _order(purchase));
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSelfDeal.selector, provider));
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    function test_an_ask_at_zero_serves_only_a_bundle_that_nobody_disputes() public {
        Ask memory ask = _ask();
        ask.price = 0;
        _refused(_purchase(), 0, ask, abi.encodeWithSelector(IMarketErrors.MarketAskFree.selector, provider));

        offer.disputable = false;
        bundle = _publish(offer, _now() + 1 days, 0);
        Opened memory o = _match(_purchase(), 0, ask);
        uint256 before = _free(address(market));
        _settle(o, "root", 1);
        vm.assertEq(_free(provider), SURETY);
        vm.assertEq(_free(address(market)), before + PRICE);
    }

    function test_an_ask_without_slots_is_refused() public {
        Ask memory ask = _ask();
        ask.slots = 0;
        _refused(_purchase(), 0, ask, abi.encodeWithSelector(IMarketErrors.MarketAskSlots.selector, provider));
    }

    function test_a_provider_without_its_surety_is_not_matched() public {
        vm.prank(provider);
        market.withdraw(provider, 1);
        _refused(
            _purchase(),
            0,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketSuretyMissing.selector, provider, SURETY - 1, SURETY)
        );
    }

    function test_a_customer_without_the_price_is_not_matched() public {
        vm.prank(customer);
        market.withdraw(customer, CUSTOMER_FUNDS - uint64(PRICE) + 1);
        _refused(
            _purchase(),
            0,
            _ask(),
            abi.encodeWithSelector(IMarketErrors.MarketFundsShort.selector, customer, PRICE - 1, PRICE)
        );
    }

    function test_a_leg_costs_at_most_maxCost() public {
        Ask memory ask = _ask();
        ask.price = 3e6 + 1;
        _refused(
            _purchase(), 0, ask, abi.encodeWithSelector(IMarketErrors.MarketCost.selector, 3e6 + 1, 3e6)
        );
    }

    function test_what_a_leg_costs_above_the_price_comes_from_the_float() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 3;
        purchase.lot = 3;
        Ask memory ask = _ask();
        ask.price = 3e6;
        _match(purchase, 0, ask);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 3 * PRICE);
        vm.assertEq(_floatOf(bundle), FLOAT - 3e6);
    }

    function test_a_float_that_is_too_small_refuses() public {
        offer.application = "thin";
        bundle = _publish(offer, _now() + 1 days, 1e6 - 1);
        Ask memory ask = _ask();
        ask.price = 3e6;
        _refused(
            _purchase(),
            0,
            ask,
            abi.encodeWithSelector(IMarketErrors.MarketFloatShort.selector, bundle, 1e6 - 1, 1e6)
        );
        _publish(offer, _now() + 1 days, 1);
        _match(_purchase(), 0, ask);
        vm.assertEq(_floatOf(bundle), 0);
    }

    function test_prices_of_96_bits_are_refused_and_move_nothing() public {
        offer.price = type(uint96).max;
        offer.maxCost = type(uint96).max;
        bundle = _publish(offer, _now() + 1 days, 0);
        Purchase memory purchase = _purchase();
        purchase.price = type(uint96).max;
        purchase.tasks = purchase.lot = type(uint16).max;
        purchase.deliverBy = type(uint40).max;
        _refused(
            purchase,
            0,
            _ask(),
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector,
                customer,
                CUSTOMER_FUNDS,
                uint256(type(uint96).max) * type(uint16).max
            )
        );
        // A price whose product with the count is small only when cut to 64 bits.
        offer.price = 1 << 63;
        bundle = _publish(offer, _now() + 1 days, 0);
        purchase.bundle = bundle;
        purchase.price = 1 << 63;
        purchase.tasks = purchase.lot = 2;
        _refused(
            purchase,
            0,
            _ask(),
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector, customer, CUSTOMER_FUNDS, uint256(1) << 64
            )
        );
    }

    function test_asks_of_96_bits_are_refused_by_the_float() public {
        offer.maxCost = type(uint96).max;
        bundle = _publish(offer, _now() + 1 days, 5);
        Ask memory ask = _ask();
        ask.price = type(uint96).max;
        _refused(
            _purchase(),
            0,
            ask,
            abi.encodeWithSelector(
                IMarketErrors.MarketFloatShort.selector, bundle, 5, uint256(type(uint96).max) - PRICE
            )
        );
    }

    function test_the_fee_is_a_part_of_the_margin_fixed_at_the_match() public {
        vm.prank(admin);
        market.setFee(100); // 1 % of 2 dollars
        Purchase memory purchase = _purchase();
        Deal memory deal = _deal(purchase, 0, 1, _ask(), worker);
        deal.money = packCharge(PRICE, 20_000);
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        bytes32 id = market.matchPurchase(purchase, signature, offer, 0, _signAsk(_ask(), WORKER_KEY));
        vm.assertEq(id, dealId(deal));

        // Where the legs take all but a little of the price, the fee is that little; where they take all, nothing.
        Ask memory ask = _ask();
        ask.price = PRICE - 7;
        purchase.nonce = 2;
        deal = _deal(purchase, 0, 1, ask, worker);
        deal.money = packCharge(PRICE, 7);
        signature = _signPurchase(purchase);
        vm.prank(scheduler);
        id = market.matchPurchase(purchase, signature, offer, 0, _signAsk(ask, WORKER_KEY));
        vm.assertEq(id, dealId(deal));
        ask.price = PRICE + 1;
        purchase.nonce = 3;
        _match(purchase, 0, ask); // expects a fee of 0
    }

    function testFuzz_a_match_takes_the_price_and_the_excess(
        uint16 tasks,
        uint16 size,
        uint32 lot,
        uint96 pay
    ) public {
        tasks = uint16(within(tasks, 1, 300));
        size = uint16(within(size, 1, 40));
        lot = uint32(within(lot, 0, (uint256(tasks) + size - 1) / size - 1));
        pay = uint96(within(pay, 1, 3e6));
        Purchase memory purchase = _purchase();
        purchase.tasks = tasks;
        purchase.lot = size;
        purchase.deliverBy = type(uint40).max;
        Ask memory ask = _ask();
        ask.price = pay;
        Opened memory o = _match(purchase, lot, ask);
        uint256 excess = pay > PRICE ? (pay - PRICE) * o.deal.head.count() : 0;
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE * o.deal.head.count());
        vm.assertEq(_floatOf(bundle), FLOAT - excess);
    }
}
