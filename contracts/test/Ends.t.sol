// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Purchase} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice The ends of a deal that nobody is paid for, and of a lot that was never matched.
contract EndsTest is Fixture {
    uint48 private constant HASTENED = 1 << 40;

    function test_a_refusal_gives_everything_back_at_once_and_frees_the_lot() public {
        Purchase memory purchase = _purchase();
        Ask memory ask = _ask();
        ask.price = 2.5e6;
        Opened memory o = _match(purchase, 0, ask);
        uint256 treasury = _free(address(market));
        bytes[] memory signatures = _signResult(o.id, _refusal(o), 0);
        bytes32 root = _refusal(o);
        vm.expectEmit();
        emit IMarketEvents.Refused(o.id, uint64(PRICE));
        market.settle(o.deal, o.due, root, 0, signatures);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_free(address(market)), treasury + 0.5e6);
        vm.assertEq(_all(provider), SURETY);
        vm.assertEq(market.lot(o.deal.order, 0), bytes32(0));
        _match(purchase, 0, _ask());
    }

    function test_a_refusal_needs_no_surety() public {
        Opened memory o = _open();
        vm.prank(provider);
        market.withdraw(provider, SURETY);
        _settle(o, _refusal(o), 0);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_a_refusal_must_carry_its_due() public {
        Opened memory o = _open();
        bytes[] memory signatures = _signResult(o.id, "root", 0);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketRefusalRoot.selector, bytes32("root"), o.due)
        );
        market.settle(o.deal, o.due, "root", 0, signatures);
    }

    function test_a_refusal_is_not_replayed_on_a_rematch() public {
        Purchase memory purchase = _purchase();
        Ask memory ask = _ask();
        Opened memory o = _match(purchase, 0, ask);
        bytes32 root = _refusal(o);
        bytes[] memory signatures = _signResult(o.id, root, 0);
        market.settle(o.deal, o.due, root, 0, signatures);

        vm.warp(_now() + 1);
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        bytes32 id = market.matchPurchase(purchase, signature, offer, 0, _signAsk(ask, WORKER_KEY));
        vm.assertEq(id, o.id); // the same deal, due a second later
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due, root, 0, signatures);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketRefusalRoot.selector, root, o.due + 1));
        market.settle(o.deal, o.due + 1, root, 0, signatures);
    }

    function test_a_refusal_is_not_replayed_after_the_deal_was_hastened() public {
        Opened memory o = _open();
        bytes[] memory signatures = _signResult(o.id, _refusal(o), 0);
        vm.prank(scheduler);
        market.hasten(o.deal, o.due);
        uint48 sooner = uint48(block.timestamp + GRACE) | HASTENED;
        bytes32 root = _refusal(o);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketRefusalRoot.selector, root, sooner));
        market.settle(o.deal, sooner, root, 0, signatures);
        root = bytes32(uint256(sooner));
        signatures = _signResult(o.id, root, 0);
        market.settle(o.deal, sooner, root, 0, signatures);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_anyone_expires_a_deal_after_its_deadline() public {
        Purchase memory purchase = _purchase();
        purchase.expiry = type(uint40).max;
        purchase.deliverBy = type(uint40).max;
        Ask memory ask = _ask();
        ask.price = 2.5e6;
        ask.expiry = type(uint40).max;
        Opened memory o = _match(purchase, 0, ask);
        uint256 treasury = _free(address(market));
        vm.warp(uint40(o.due) + 1);
        vm.prank(stranger);
        vm.expectEmit();
        emit IMarketEvents.Expired(o.id, uint64(PRICE));
        market.expire(o.deal, o.due);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_free(address(market)), treasury + 0.5e6);
        vm.assertEq(market.lot(o.deal.order, 0), bytes32(0));

        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.expire(o.deal, o.due);
        _match(purchase, 0, ask); // free again until its order ends
    }

    function test_hasten_leaves_the_grace_and_marks_the_due() public {
        Opened memory o = _open();
        uint48 sooner = uint48(block.timestamp + GRACE) | HASTENED;
        vm.prank(scheduler);
        vm.expectEmit();
        emit IMarketEvents.Hastened(o.id, sooner);
        market.hasten(o.deal, o.due);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, sooner)));
    }

    function test_a_worker_that_has_finished_settles_a_hastened_deal_in_time() public {
        Opened memory o = _open();
        bytes[] memory signatures = _signResult(o.id, "root", 1); // signed before
        vm.prank(scheduler);
        market.hasten(o.deal, o.due);
        uint48 sooner = uint48(block.timestamp + GRACE) | HASTENED;
        vm.warp(uint40(sooner));
        market.settle(o.deal, sooner, "root", 1, signatures);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_hastened_deal_expires_after_its_new_deadline() public {
        Opened memory o = _open();
        vm.prank(scheduler);
        market.hasten(o.deal, o.due);
        uint48 sooner = uint48(block.timestamp + GRACE) | HASTENED;
        vm.warp(uint40(sooner) + 1);
        bytes[] memory signatures = _signResult(o.id, "root", 1);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, uint40(sooner)));
        market.settle(o.deal, sooner, "root", 1, signatures);
        market.expire(o.deal, sooner);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_hasten_never_moves_a_deadline_back_and_happens_once() public {
        Opened memory o = _open();
        vm.warp(uint40(o.due) - GRACE);
        vm.prank(scheduler);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketNotSooner.selector, uint40(o.due), uint256(o.due))
        );
        market.hasten(o.deal, o.due);

        vm.warp(_now() - 10);
        vm.prank(scheduler);
        market.hasten(o.deal, o.due);
        uint48 sooner = uint48(_now() + GRACE) | HASTENED;
        vm.prank(scheduler);
        vm.expectPartialRevert(IMarketErrors.MarketNotSooner.selector);
        market.hasten(o.deal, sooner);
    }

    function test_only_the_scheduler_hastens() public {
        Opened memory o = _open();
        vm.prank(customer);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotScheduler.selector, customer));
        market.hasten(o.deal, o.due);
    }

    function test_a_deal_that_is_over_cannot_be_hastened() public {
        Opened memory o = _open();
        _settle(o, "root", 1);
        vm.prank(scheduler);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.hasten(o.deal, o.due);
    }

    function test_a_customer_closes_a_free_lot() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 2;
        vm.prank(customer);
        vm.expectEmit();
        emit IMarketEvents.Cancelled(_order(purchase), 1);
        market.cancel(purchase, 1);
        vm.assertEq(market.lot(_order(purchase), 1), bytes32(uint256(1)));
        _match(purchase, 0, _ask());

        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketLotTaken.selector, _order(purchase), 1, bytes32(uint256(1))
            )
        );
        market.matchPurchase(purchase, signature, offer, 1, _signAsk(_ask(), WORKER_KEY));
    }

    function test_an_open_or_settled_lot_is_not_closed() public {
        Opened memory o = _open();
        Purchase memory purchase = _purchase();
        vm.prank(customer);
        vm.expectPartialRevert(IMarketErrors.MarketLotTaken.selector);
        market.cancel(purchase, 0);
        _settle(o, "root", 1);
        vm.prank(customer);
        vm.expectPartialRevert(IMarketErrors.MarketLotTaken.selector);
        market.cancel(purchase, 0);
    }

    function test_nobody_closes_another_customers_lot() public {
        Purchase memory purchase = _purchase();
        vm.prank(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketNotCustomer.selector, stranger, customer)
        );
        market.cancel(purchase, 0);
    }

    function test_a_lot_that_the_order_does_not_have_is_not_closed() public {
        Purchase memory purchase = _purchase();
        vm.prank(customer);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketLotRange.selector, 1, 1));
        market.cancel(purchase, 1);
    }
}
