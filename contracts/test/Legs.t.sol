// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Offer, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Crowd} from "./support/Crowd.sol";
import {within} from "./support/Vm.sol";

/// @notice Deals of several providers: who must sign, and where the money of those who did not goes.
contract LegsTest is Crowd {
    uint96 private constant EACH = 0.5e6;

    function setUp() public override {
        super.setUp();
        _fundProviders(17);
        offer = _offerOf(2, false, 3e6);
        bundle = keccak256(abi.encode(offer));
    }

    function test_all_legs_that_sign_are_paid_and_anyone_sends_it() public {
        Opened memory o = _openWith(offer, 4, _pays(3, EACH));
        bytes[] memory signatures = _signedBy(o, 7, ROOT, 4);
        uint256 treasury = _free(address(market));
        vm.prank(stranger);
        market.settle(o.deal, o.due, ROOT, 4, signatures);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(_free(_provider(i)), SURETY + EACH * 4);
        }
        vm.assertEq(_free(address(market)), treasury + (PRICE - 3 * EACH) * 4);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE * 4);
        uint256 fact = 4 | (7 << 16) | (block.timestamp << 32);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, ROOT, fact)));
    }

    function test_a_spare_leg_that_never_signs_is_not_paid_and_its_pay_goes_to_the_customer() public {
        Opened memory o = _openWith(offer, 4, _pays(3, EACH));
        uint256 treasury = _free(address(market));
        bytes[] memory signatures = _signedBy(o, 5, ROOT, 3);
        vm.prank(scheduler);
        market.settle(o.deal, o.due, ROOT, 3, signatures);
        vm.assertEq(_free(_provider(0)), SURETY + EACH * 3);
        vm.assertEq(_free(_provider(1)), SURETY);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - (PRICE - EACH) * 3);
        vm.assertEq(_free(address(market)), treasury + (PRICE - 3 * EACH) * 3);
        uint256 fact = 3 | (5 << 16) | (block.timestamp << 32);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, ROOT, fact)));
    }

    function test_fewer_than_a_quorum_pay_nobody() public {
        Opened memory o = _openWith(offer, 1, _pays(3, EACH));
        bytes[] memory signatures = _signedBy(o, 2, ROOT, 1);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketQuorum.selector, 1, 2));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
    }

    function test_a_quorum_is_for_the_scheduler_until_the_last_grace() public {
        Opened memory o = _openWith(offer, 1, _pays(3, EACH));
        bytes[] memory signatures = _signedBy(o, 3, ROOT, 1);
        vm.warp(uint40(o.due) - GRACE - 1);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotScheduler.selector, stranger));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.warp(uint40(o.due) - GRACE);
        vm.prank(stranger);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.assertEq(_free(_provider(1)), SURETY + EACH);
    }

    function test_a_leg_that_signed_something_else_makes_the_call_fail() public {
        Opened memory o = _openWith(offer, 1, _pays(3, EACH));
        bytes[] memory signatures = _signedBy(o, 7, ROOT, 1);
        signatures[2] = _signedBy(o, 7, "lie", 1)[2];
        vm.prank(scheduler);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
    }

    function test_two_legs_by_one_provider_under_different_keys_are_refused() public {
        Purchase memory purchase = _purchaseOf(offer, 1, 1);
        SignedAsk[] memory asks = _asks(_pays(3, EACH));
        vm.prank(_provider(0));
        market.authorise(worker, type(uint40).max);
        asks[2].ask.provider = _provider(0);
        asks[2].signature = _sign(WORKER_KEY, _digest(_hash(asks[2].ask)));
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegTwice.selector, _provider(0)));
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    function test_fewer_legs_than_the_quorum_or_more_than_16_are_refused() public {
        Purchase memory purchase = _purchaseOf(offer, 1, 1);
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory one = _asks(_pays(1, EACH));
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegCount.selector, 1, 2));
        market.matchPurchase(purchase, signature, offer, 0, one);
        SignedAsk[] memory many = _asks(_pays(17, 1));
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLegCount.selector, 17, 2));
        market.matchPurchase(purchase, signature, offer, 0, many);
    }

    function test_sixteen_legs_can_be_matched_and_paid() public {
        Opened memory o = _openWith(offer, 2, _pays(16, 0.1e6));
        market.settle(o.deal, o.due, ROOT, 2, _signedBy(o, 0xffff, ROOT, 2));
        vm.assertEq(_free(_provider(15)), SURETY + 0.2e6);
    }

    function test_the_pay_of_missing_legs_above_the_price_goes_to_the_treasury() public {
        // Three legs at 1 each cost 3; the price is 2 and the float gives 1. Two sign. One leg's pay goes back.
        offer = _offerOf(1, false, 3e6);
        Opened memory o = _openWith(offer, 1, _pays(3, 1e6));
        uint256 treasury = _free(address(market));
        bytes[] memory signatures = _signedBy(o, 1, ROOT, 1);
        vm.prank(scheduler);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS); // 2 of the 2 unsigned: the whole price
        vm.assertEq(_free(address(market)), treasury);
        vm.assertEq(_free(_provider(0)), SURETY + 1e6);

        Offer memory wide = _offerOf(1, false, 4e6);
        Opened memory p = _openWith(wide, 1, _pays(4, 1e6));
        treasury = _free(address(market));
        signatures = _signedBy(p, 1, ROOT, 1);
        vm.prank(scheduler);
        market.settle(p.deal, p.due, ROOT, 1, signatures);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_free(address(market)), treasury + 1e6); // 3 unsigned, 2 of them the price
    }

    function test_every_signing_leg_of_a_disputable_deal_keeps_its_surety() public {
        offer = _offerOf(2, true, 3e6);
        Opened memory o = _openWith(offer, 1, _pays(3, EACH));
        vm.prank(_provider(2));
        market.withdraw(_provider(2), 1);
        bytes[] memory all = _signedBy(o, 7, ROOT, 1);
        vm.expectPartialRevert(IMarketErrors.MarketSuretyMissing.selector);
        market.settle(o.deal, o.due, ROOT, 1, all);
        // The other two are paid without it.
        bytes[] memory two = _signedBy(o, 3, ROOT, 1);
        vm.prank(scheduler);
        market.settle(o.deal, o.due, ROOT, 1, two);
        vm.assertEq(_cur(_provider(0)), EACH);
        vm.assertEq(_cur(_provider(2)), 0);
    }

    function test_the_deadline_is_that_of_the_slowest_leg() public {
        Purchase memory purchase = _purchaseOf(offer, 10, 1);
        SignedAsk[] memory asks = _asks(_pays(2, EACH));
        asks[1].ask.slots = 3;
        asks[1].signature = _sign(_providerKey(1), _digest(_hash(asks[1].ask)));
        Opened memory o = _dealOf(purchase, offer, _pays(2, EACH));
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, offer, 0, asks);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, _due(10, 3))));
    }

    function testFuzz_every_unit_of_a_deal_of_many_legs_reaches_somebody(
        uint8 n,
        uint16 mask,
        uint16 count,
        uint16 done,
        uint96 seed,
        bool disputable
    ) public {
        n = uint8(within(n, 1, 5));
        count = uint16(within(count, 1, 90));
        done = uint16(within(done, 1, count));
        mask = uint16(within(mask, 1, (1 << n) - 1));
        offer = _offerOf(1, disputable, 3e6);
        uint96[] memory pays = new uint96[](n);
        for (uint256 i = 0; i < n; ++i) {
            pays[i] = uint96(within(uint256(keccak256(abi.encode(seed, i))), 1, 3e6 / n));
        }
        uint256 before = _everybody(5) + _floatOf(keccak256(abi.encode(offer)));
        Opened memory o = _openWith(offer, count, pays);
        bytes[] memory signatures = _signedBy(o, mask, ROOT, done);
        vm.prank(scheduler);
        market.settle(o.deal, o.due, ROOT, done, signatures);
        vm.assertEq(_everybody(5) + _floatOf(keccak256(abi.encode(offer))), before);
        uint256 unsigned = 0;
        for (uint256 i = 0; i < n; ++i) {
            bool signed = mask >> i & 1 == 1;
            vm.assertEq(_all(_provider(i)), SURETY + (signed ? uint256(pays[i]) * done : 0));
            if (!signed) unsigned += pays[i];
        }
        if (unsigned > PRICE) unsigned = PRICE;
        vm.assertEq(_all(customer), CUSTOMER_FUNDS - (PRICE - unsigned) * done);
    }
}
