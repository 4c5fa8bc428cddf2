// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Case, Claim, Offer, Purchase} from "../src/interfaces/Types.sol";
import {Cases} from "./support/Cases.sol";

/// @notice Challenges and their ends: what was earned waits, and a wrong result costs it, and no more than that.
contract DisputesTest is Cases {
    function test_a_challenge_takes_what_was_paid_and_guilt_gives_it_to_the_customer() public {
        (Opened memory o, uint96 fact) = _settled();
        uint256 free = _free(address(market));
        Case memory c = _challenge(o, fact, stranger);
        vm.assertEq(_all(_provider(0)), SURETY - FEE / 2);
        vm.assertEq(_cur(address(market)), 0);
        vm.assertEq(_free(stranger), 100e6 - BOND);
        _judge(c, true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_free(stranger), 100e6);
        vm.assertEq(_free(arbiter), FEE);
        vm.assertEq(_all(address(market)), free);
        vm.assertEq(market.lot(o.deal.order, 0), bytes32(uint256(2)));
        vm.prank(arbiter);
        vm.expectPartialRevert(IMarketErrors.MarketNoCase.selector);
        market.judge(c, true);
    }

    function test_innocence_gives_the_bond_to_the_arbiter_and_everything_else_back() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        vm.warp(_now() + 1 hours);
        _judge(c, false);
        vm.assertEq(_free(_provider(0)), SURETY);
        vm.assertEq(_cur(_provider(0)), EACH * 3);
        vm.assertEq(_cur(address(market)), (PRICE - 2 * EACH) * 3);
        vm.assertEq(_free(arbiter), BOND);
        vm.assertEq(_free(stranger), 100e6 - BOND);
        bytes32 word =
            keccak256(abi.encode(o.id, _root, _factOf(3, 3, _now(), 1)));
        vm.assertEq(market.lot(o.deal.order, 0), word); // settled as it was, an hour later
    }

    function test_the_bond_doubles_with_each_case() public {
        (Opened memory o, uint96 fact) = _settled();
        _judge(_challenge(o, fact, stranger), false);
        _judge(_challenge(o, _factOf(3, 3, _now(), 1), stranger), false);
        vm.assertEq(_free(stranger), 100e6 - 3 * BOND);
        _challenge(o, _factOf(3, 3, _now(), 2), stranger);
        vm.assertEq(_free(stranger), 100e6 - 7 * BOND);
    }

    function test_silence_gives_everything_back_and_the_window_stood_still() public {
        (Opened memory o, uint96 fact) = _settled();
        uint256 settled = _now();
        vm.warp(settled + WINDOW - 10);
        Case memory c = _challenge(o, fact, stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooEarly.selector, c.until));
        market.lapse(c);
        vm.warp(_now() + 3 * WINDOW + 5);
        vm.prank(arbiter);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, c.until));
        market.judge(c, true);
        market.lapse(c);
        vm.assertEq(_free(stranger), 100e6);
        vm.assertEq(_all(_provider(0)), SURETY + EACH * 3);
        vm.assertEq(_free(_provider(0)), SURETY); // its pay still waits
        // Ten seconds of the window are left, and the pay is there to be taken.
        vm.warp(_now() + 10);
        fact = _factOf(3, 3, settled + 3 * WINDOW + 5, 1);
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_a_lot_shielded_by_its_signers_own_challenge_is_open_to_others_as_long_as_before() public {
        (Opened memory o, uint96 fact) = _settled();
        _fund(_provider(0), 100e6);
        uint256 settled = _now();
        Case memory c = _challenge(o, fact, _provider(0));
        vm.warp(c.until + 1);
        market.lapse(c);
        vm.warp(_now() + WINDOW);
        _judge(_challenge(o, _factOf(3, 3, settled + WINDOW + 1, 1), stranger), true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_a_challenge_in_the_last_second_of_an_epoch_and_in_the_first_of_the_next() public {
        uint256 end = (_now() / WINDOW + 1) * WINDOW - 1;
        vm.warp(end);
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        vm.warp(end + 1); // another epoch: what was `cur` belongs into `prev`, but the deal's time moved with it
        _judge(c, false);
        vm.assertEq(_cur(_provider(0)), EACH * 3);
        fact = _factOf(3, 3, end + 1, 1);
        vm.warp(end + 1 + WINDOW);
        vm.assertEq(_prev(_provider(0)), EACH * 3);
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_prev(_provider(0)), 0);
    }

    function test_the_last_second_of_the_window_and_the_next() public {
        (Opened memory o, uint96 fact) = _settled();
        uint256 last = _now() + WINDOW;
        vm.warp(last + 1);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, last));
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        vm.warp(last);
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
    }

    function test_surety_stays_between_settle_and_challenge_and_may_be_gone_at_judge() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.prank(_provider(0));
        vm.expectPartialRevert(IMarketErrors.MarketSuretyLocked.selector);
        market.withdraw(_provider(0), 1);
        Case memory c = _challenge(o, fact, stranger);
        uint64 left = uint64(_free(_provider(0)));
        vm.prank(_provider(0));
        market.withdraw(_provider(0), left); // nothing else waits
        _judge(c, true);
        vm.assertEq(_free(arbiter), FEE);
    }

    function test_an_arbiters_fee_larger_than_what_is_there_touches_no_other_deals_cover() public {
        (Opened memory o, uint96 fact) = _settled();
        // Provider 0 has a second deal's earnings; its surety was used up by other cases.
        Opened memory p = _openSecond();
        market.settle(p.deal, p.due, _root, 3, _signedBy(p, 3, _root, 3));
        uint256 cover = _cur(_provider(0));
        _useUpSurety();
        uint64 treasury = uint64(_free(address(market)));
        vm.prank(admin);
        market.withdrawTreasury(admin, treasury);
        uint256 paid = CUSTOMER_FUNDS - _free(customer);
        uint64[] memory fees = new uint64[](2);
        fees[1] = FEE / 2; // provider 0 has nothing free
        vm.prank(stranger);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        Case memory c = _caseOf(o, fact, stranger, fees);
        vm.assertEq(market.lot(o.deal.order, 0), _wordOf(o, c));
        _judge(c, true);
        vm.assertEq(_free(arbiter), FEE / 2); // what there was
        vm.assertEq(_cur(_provider(0)), cover - EACH * 3);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - paid + PRICE * 3);
    }

    function _openSecond() private returns (Opened memory o) {
        Offer memory other = offer;
        (o) = _dealOf(_purchaseOf(other, 3, 2), other, _pays(2, EACH));
        bytes memory signature = _signPurchase(_purchaseOf(other, 3, 2));
        vm.prank(scheduler);
        market.matchPurchase(_purchaseOf(other, 3, 2), signature, other, 0, _asks(_pays(2, EACH)));
    }

    /// @dev Three cases about deals of provider 0 alone take 2, 2 and the last 1 of its 5.
    function _useUpSurety() private {
        Offer memory alone = _offerOf(1, true, 3e6);
        Opened[3] memory opened;
        for (uint64 i = 0; i < 3; ++i) {
            Purchase memory purchase = _purchaseOf(alone, 3, 10 + i);
            Opened memory o = opened[i] = _dealOf(purchase, alone, _pays(1, EACH));
            bytes memory signature = _signPurchase(purchase);
            vm.prank(scheduler);
            market.matchPurchase(purchase, signature, alone, 0, _asks(_pays(1, EACH)));
            market.settle(o.deal, o.due, _root, 3, _signedBy(o, 1, _root, 3));
        }
        uint96 fact = _factOf(3, 1, _now(), 0);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(stranger);
            market.challenge(opened[i].deal, _root, fact, _claimOf(1), _proofOf(1));
        }
        vm.assertEq(_free(_provider(0)), 0);
    }

    function test_only_the_arbiter_judges() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        vm.prank(admin);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotArbiter.selector, admin));
        market.judge(c, true);
    }

    function test_a_case_with_any_field_changed_is_refused() public {
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        Case[] memory changed = new Case[](6);
        for (uint256 i = 0; i < 6; ++i) {
            changed[i] = abi.decode(abi.encode(c), (Case));
        }
        changed[0].challenger = customer;
        changed[1].until += 1;
        changed[2].fees[0] += 1;
        changed[3].fact += 1;
        changed[4].root = "other";
        changed[5].claim = "other";
        for (uint256 i = 0; i < 6; ++i) {
            vm.prank(arbiter);
            vm.expectPartialRevert(IMarketErrors.MarketNoCase.selector);
            market.judge(changed[i], true);
        }
    }

    function test_a_deal_that_was_never_matched_or_settled_or_is_in_a_case_is_not_challenged() public {
        Opened memory o = _dealOf(_purchaseOf(offer, 3, 1), offer, _pays(2, EACH));
        uint96 fact = _factOf(3, 3, _now(), 0);
        vm.prank(stranger);
        vm.expectPartialRevert(IMarketErrors.MarketNotSettled.selector);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        (o, fact) = _settled();
        _challenge(o, fact, stranger);
        vm.prank(stranger);
        vm.expectPartialRevert(IMarketErrors.MarketNotSettled.selector);
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        bytes[] memory signatures = _signedBy(o, 3, _root, 3);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.settle(o.deal, o.due, _root, 3, signatures);
    }

    function test_a_deal_of_no_disputable_bundle_is_not_challenged() public {
        offer = _offerOf(2, false, 3e6);
        (Opened memory o, uint96 fact) = _settled();
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotDisputable.selector, o.id));
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
    }

    function _refused(Opened memory o, uint96 fact, Claim memory claim, bytes32[] memory proof) private {
        vm.prank(stranger);
        vm.expectPartialRevert(IMarketErrors.MarketProof.selector);
        market.challenge(o.deal, _root, fact, claim, proof);
    }

    function test_a_leaf_with_another_index_an_inner_node_or_a_tree_of_the_wrong_size_proves_nothing() public {
        (Opened memory o, uint96 fact) = _settled();
        Claim memory claim = _claimOf(1);
        claim.index = 0;
        _refused(o, fact, claim, _proofOf(1));
        claim = _claimOf(1);
        claim.digest = "other";
        _refused(o, fact, claim, _proofOf(1));
        claim = _claimOf(1);
        claim.status = 1;
        _refused(o, fact, claim, _proofOf(1));
        claim = _claimOf(1);
        claim.index = 3;
        _refused(o, fact, claim, _proofOf(1));
        bytes32[] memory short = new bytes32[](1);
        short[0] = _nodes[2];
        _refused(o, fact, _claimOf(1), short);
        _refused(o, fact, _claimOf(1), new bytes32[](0));
    }

    function test_the_ground_of_fewer_successes_needs_no_leaf_and_there_is_no_fourth() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketGround.selector, 3));
        market.challenge(o.deal, _root, fact, Claim(3, 0, 0, 0, 0), new bytes32[](0));
        vm.prank(stranger);
        market.challenge(o.deal, _root, fact, Claim(2, 0, 0, 0, 0), new bytes32[](0));
    }

    function test_a_bond_needs_money() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.prank(worker);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketFundsShort.selector, worker, 0, BOND));
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
    }

    function test_a_part_done_lot_with_one_leg_unsigned_is_repaid_to_the_unit() public {
        offer = _offerOf(1, true, 3e6);
        uint256 before = _everybody(3) + _floatOf(keccak256(abi.encode(offer)));
        Opened memory o = _openWith(offer, 3, _pays(3, 1e6));
        bytes[] memory signatures = _signedBy(o, 5, _root, 2);
        vm.prank(scheduler);
        market.settle(o.deal, o.due, _root, 2, signatures);
        _judge(_challenge(o, _factOf(2, 5, _now(), 0), stranger), true);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        vm.assertEq(_all(stranger), 100e6);
        vm.assertEq(_everybody(3) + _floatOf(keccak256(abi.encode(offer))), before);
    }
}
