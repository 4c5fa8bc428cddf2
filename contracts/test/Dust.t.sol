// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Bid, Offer, Purchase} from "../src/interfaces/Types.sol";
import {Crowd} from "./support/Crowd.sol";

/// @notice Amounts of one unit and of none: nothing is lost to rounding, and nothing comes from it.
contract DustTest is Crowd {
    function setUp() public override {
        super.setUp();
        _fundProviders(3);
        vm.prank(admin);
        market.setFee(500);
    }

    function test_a_fee_of_less_than_a_unit_is_none() public {
        Bid memory bid = _bid();
        bid.price = 19; // the fee of 19 is 0.95
        Opened memory o = _openBid(bid, _pays(1, 19));
        vm.assertEq(o.deal.money.fee(), 0);
        market.settle(o.deal, o.due, ROOT, 1, _signedBy(o, 1, ROOT, 1));
        vm.assertEq(_free(_provider(0)), SURETY + 19);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 19);

        bid.nonce = 2;
        bid.price = 20; // and that of 20 is 1, which the bid does not allow
        bytes memory signature = _signBid(bid);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketCost.selector, 21, 20));
        market.matchBid(bid, signature, 0, _asks(_pays(1, 20)));
    }

    function test_a_bundle_at_one_unit_pays_one_unit() public {
        Offer memory dust = _offer();
        dust.price = dust.maxCost = 1;
        _publish(dust, _now() + 1 days, 0);
        Opened memory o = _openWith(dust, 3, _pays(1, 1));
        vm.assertEq(o.deal.money.fee(), 0);
        market.settle(o.deal, o.due, ROOT, 2, _signedBy(o, 1, ROOT, 2));
        vm.assertEq(_cur(_provider(0)), 2);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 2);
        vm.assertEq(_cur(address(market)), 0);
    }

    function test_a_bundle_at_price_zero_is_paid_by_its_float_alone() public {
        Offer memory free = _offer();
        free.price = 0;
        free.maxCost = 3;
        bytes32 id = _publish(free, _now() + 1 days, 10);
        Opened memory o = _openWith(free, 3, _pays(1, 2));
        vm.assertEq(_floatOf(id), 4);
        uint256 treasury = _free(address(market));
        market.settle(o.deal, o.due, ROOT, 2, _signedBy(o, 1, ROOT, 2));
        vm.assertEq(_cur(_provider(0)), 4);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_free(address(market)), treasury + 2); // what was not earned of the float
    }

    function test_a_price_of_zero_moves_nothing_whether_paid_refused_or_expired() public {
        Offer memory free = _offer();
        free.price = free.maxCost = 0;
        free.disputable = false;
        _publish(free, _now() + 1 days, 0);
        uint256 before = _everybody(3);
        Opened memory o = _openWith(free, 3, _pays(1, 0));
        market.settle(o.deal, o.due, _refusal(o), 0, _signedBy(o, 1, _refusal(o), 0));
        Purchase memory purchase = _purchaseOf(free, 3, 1);
        purchase.nonce = 2;
        o = _dealOf(purchase, free, _pays(1, 0));
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, free, 0, _asks(_pays(1, 0)));
        market.settle(o.deal, o.due, ROOT, 3, _signedBy(o, 1, ROOT, 3));
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_all(_provider(0)), SURETY);
        vm.assertEq(_everybody(3), before);
    }

    function test_nothing_can_be_deposited_and_withdrawn_without_a_trace_in_any_balance() public {
        uint256 before = dollar.balanceOf(address(market));
        vm.startPrank(stranger);
        market.deposit(0);
        market.withdraw(stranger, 0);
        vm.stopPrank();
        vm.assertEq(dollar.balanceOf(address(market)), before);
        vm.assertEq(_all(stranger), 0);
    }
}
