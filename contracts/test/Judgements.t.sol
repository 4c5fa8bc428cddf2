// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Case, Claim, Purchase} from "../src/interfaces/Types.sol";
import {Cases} from "./support/Cases.sol";

/// @notice Cases that somebody tries to end twice, to stop, or to pay with money that is not free.
contract JudgementsTest is Cases {
    function _noCase(Case memory c, bool guilty) private {
        vm.prank(arbiter);
        vm.expectPartialRevert(IMarketErrors.MarketNoCase.selector);
        market.judge(c, guilty);
    }

    function test_a_lot_is_judged_once_whatever_the_judgement() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        _judge(c, false);
        _noCase(c, true);
        _noCase(c, false);
        vm.warp(c.until + 1);
        vm.expectPartialRevert(IMarketErrors.MarketNoCase.selector);
        market.lapse(c);
    }

    function test_a_case_that_lapsed_is_not_judged_and_lapses_once() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        vm.warp(c.until + 1);
        market.lapse(c);
        vm.expectPartialRevert(IMarketErrors.MarketNoCase.selector);
        market.lapse(c);
        vm.warp(c.until); // were the clock to go back
        _noCase(c, true);
        vm.assertEq(_free(stranger), 100e6);
    }

    function test_a_lot_that_was_judged_guilty_is_over() public {
        (Opened memory o, uint96 fact) = _settled();
        _judge(_challenge(o, fact, stranger), true);
        vm.prank(stranger);
        vm.expectPartialRevert(IMarketErrors.MarketNotSettled.selector);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        bytes[] memory signatures = _signedBy(o, 3, _root, 3);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due, _root, 3, signatures);
        vm.warp(uint40(o.due) + 1);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.expire(o.deal, o.due);
        Purchase memory purchase = _purchaseAt(o);
        vm.prank(customer);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketLotTaken.selector, o.deal.order, 0, bytes32(uint256(2)))
        );
        market.cancel(purchase, 0);
    }

    /// @dev The purchase of the deal, which `_purchaseOf` would date anew.
    function _purchaseAt(Opened memory o) private view returns (Purchase memory purchase) {
        purchase = _purchaseOf(offer, 3, 1);
        uint40 opened = uint40(o.due) - GRACE - MAX_SECONDS;
        purchase.expiry = opened + 600;
        purchase.deliverBy = opened + 10_000;
    }

    function test_the_last_second_of_a_case_and_the_next() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        vm.warp(c.until + 1);
        vm.prank(arbiter);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, c.until));
        market.judge(c, false);
        vm.warp(c.until);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooEarly.selector, c.until));
        market.lapse(c);
        _judge(c, true);
    }

    function test_a_surety_is_not_spent_as_a_bond_while_earnings_wait() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.assertEq(_free(_provider(0)), SURETY); // as much as a bond, while what it earned waits
        vm.prank(_provider(0));
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketSuretyLocked.selector, _provider(0), SURETY - BOND, SURETY)
        );
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        _fund(_provider(0), BOND);
        _challenge(o, fact, _provider(0));
    }

    function test_done_above_the_successes_in_the_leaves_is_repaid() public {
        (Opened memory o, uint96 fact) = _settled();
        Claim memory claim = Claim(2, 0, 0, 0, "secret");
        uint64[] memory fees = new uint64[](2);
        fees[0] = fees[1] = FEE / 2;
        uint40 until = uint40(_now() + WINDOW);
        vm.prank(stranger);
        vm.expectEmit();
        emit IMarketEvents.Challenged(o.id, stranger, claim, until, BOND, fees);
        market.challenge(o.deal, _root, fact, claim, new bytes32[](0));
        Case memory c = _caseOf(o, fact, stranger, fees);
        c.claim = keccak256(abi.encode(uint8(2), uint32(0), bytes32(0), bytes32("secret")));
        vm.prank(arbiter);
        vm.expectEmit();
        emit IMarketEvents.Judged(o.id, true, FEE, 0);
        market.judge(c, true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_all(_provider(0)), SURETY - FEE / 2);
    }

    function test_a_pause_stops_no_case() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.prank(pauser);
        market.pause();
        _judge(_challenge(o, fact, stranger), false);
        Case memory c = _challenge(o, _factOf(3, 3, _now(), 1), stranger);
        vm.warp(c.until + 1);
        market.lapse(c);
        vm.assertEq(_free(arbiter), BOND);
    }

    function test_the_arbiters_fee_that_three_signers_cannot_share_evenly_is_filled_up_by_the_treasury() public {
        offer = _offerOf(3, true, 3e6);
        Opened memory o = _openWith(offer, 3, _pays(3, 0.5e6));
        market.settle(o.deal, o.due, _root, 3, _signedBy(o, 7, _root, 3));
        uint96 fact = _factOf(3, 7, _now(), 0);
        uint256 treasury = _free(address(market));
        vm.prank(stranger);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        uint64[] memory fees = new uint64[](3);
        fees[0] = fees[1] = fees[2] = FEE / 3;
        _judge(_caseOf(o, fact, stranger, fees), true);
        vm.assertEq(_free(arbiter), FEE);
        vm.assertEq(_free(address(market)), treasury - FEE % 3);
        vm.assertEq(_free(_provider(2)), SURETY - FEE / 3);
    }

    function test_a_bond_that_no_account_can_pay_is_refused_and_does_not_wrap() public {
        (Opened memory o, uint96 fact) = _settled();
        _fund(stranger, 400_000e6);
        for (uint256 cases = 0; cases < 16; ++cases) {
            _judge(_challenge(o, fact, stranger), false);
            fact = _factOf(3, 3, _now(), cases + 1);
        }
        uint256 left = _free(stranger);
        vm.prank(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector, stranger, left, uint256(BOND) << 16
            )
        );
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
    }

    function test_a_purchase_cannot_spend_the_surety_between_settle_and_challenge() public {
        (Opened memory o, uint96 fact) = _settled();
        Purchase memory purchase = _purchase();
        purchase.bundle = keccak256(abi.encode(_offer()));
        purchase.customer = _provider(0);
        bytes memory signature = _sign(_providerKey(0), _order(purchase));
        vm.prank(scheduler);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketSuretyLocked.selector, _provider(0), SURETY - PRICE, SURETY
            )
        );
        market.matchPurchase(purchase, signature, _offer(), 0, _signAsk(_ask(), WORKER_KEY));
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(arbiter), FEE);
    }
}
