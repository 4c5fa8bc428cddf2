// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Offer, Purchase} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice Offers: how they go up, end, and give their float back.
contract BundlesTest is Fixture {
    function _other() private pure returns (Offer memory other) {
        other = _offer();
        other.application = keccak256("another");
    }

    function test_an_id_is_the_hash_of_the_offer() public view {
        vm.assertEq(bundle, keccak256(abi.encode(offer)));
    }

    function test_publish_moves_the_float_from_the_treasury() public {
        Offer memory other = _other();
        uint256 before = _free(address(market));
        uint40 until = uint40(_now() + 1 days);
        vm.prank(pricing);
        vm.expectEmit();
        emit IMarketEvents.Published(keccak256(abi.encode(other)), other, until, 7);
        bytes32 id = market.publish(other, until, 7);
        (uint40 end, uint96 float_) = market.bundles(id);
        vm.assertEq(end, until);
        vm.assertEq(float_, 7);
        vm.assertEq(_free(address(market)), before - 7);
    }

    function test_publishing_a_live_offer_again_extends_and_tops_up() public {
        (uint40 until, uint96 float_) = market.bundles(bundle);
        _publish(offer, until + 5, 3);
        (uint40 later, uint96 more) = market.bundles(bundle);
        vm.assertEq(later, until + 5);
        vm.assertEq(more, float_ + 3);
    }

    function test_publishing_a_live_offer_again_cannot_shorten_it() public {
        (uint40 until,) = market.bundles(bundle);
        vm.prank(pricing);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketUntilTooEarly.selector, until - 1, uint256(until))
        );
        market.publish(offer, until - 1, 0);
    }

    function test_an_offer_cannot_be_published_into_the_past() public {
        vm.prank(pricing);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketUntilTooEarly.selector, uint40(block.timestamp), block.timestamp + 1
            )
        );
        market.publish(_other(), uint40(block.timestamp), 0);
    }

    function test_a_float_larger_than_the_treasury_is_refused() public {
        uint256 free = _free(address(market));
        vm.prank(pricing);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector, address(market), free, type(uint96).max
            )
        );
        market.publish(_other(), uint40(block.timestamp + 1 days), type(uint96).max);
    }

    function test_a_quorum_is_of_1_to_16() public {
        Offer memory other = _other();
        for (uint8 quorum = 0; quorum < 19; ++quorum) {
            other.quorum = quorum;
            vm.prank(pricing);
            if (quorum == 0 || quorum > 16) {
                vm.expectRevert(
                    abi.encodeWithSelector(IMarketErrors.MarketQuorumUnsupported.selector, quorum)
                );
            }
            market.publish(other, uint40(block.timestamp + 1 days), 0);
        }
    }

    function test_a_product_code_out_of_range_is_refused() public {
        Offer memory other = _other();
        other.product = bytes32(uint256(other.product) | (1 << 32)); // a reserved bit
        vm.prank(pricing);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketProduct.selector, other.product));
        market.publish(other, uint40(block.timestamp + 1 days), 0);
    }

    function test_only_pricing_publishes_and_retires() public {
        vm.prank(admin);
        vm.expectRevert();
        market.publish(offer, uint40(block.timestamp + 60 days), 0);
        vm.prank(admin);
        vm.expectRevert();
        market.retire(bundle, uint40(block.timestamp + 1 days));
    }

    function test_retire_brings_the_end_forward_but_never_sooner_than_the_notice() public {
        uint40 soonest = uint40(_now() + NOTICE);
        vm.prank(pricing);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketUntilTooEarly.selector, soonest - 1, uint256(soonest))
        );
        market.retire(bundle, soonest - 1);

        vm.prank(pricing);
        vm.expectEmit();
        emit IMarketEvents.Retired(bundle, soonest);
        market.retire(bundle, soonest);
        (uint40 until,) = market.bundles(bundle);
        vm.assertEq(until, soonest);
    }

    function test_retire_never_extends() public {
        (uint40 until,) = market.bundles(bundle);
        vm.prank(pricing);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketUntilTooLate.selector, until, until));
        market.retire(bundle, until);
    }

    function test_retire_of_what_has_ended_or_never_was_is_refused() public {
        vm.prank(pricing);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketBundleNotLive.selector, bytes32("never"), uint40(0))
        );
        market.retire("never", uint40(block.timestamp + 1 days));
        (uint40 until,) = market.bundles(bundle);
        vm.warp(until + 1);
        vm.prank(pricing);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketBundleNotLive.selector, bundle, until));
        market.retire(bundle, until + 1 days);
    }

    function test_a_float_can_be_reclaimed_by_anyone_once_the_offer_has_ended() public {
        (uint40 until,) = market.bundles(bundle);
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketBundleLive.selector, bundle, until));
        market.reclaim(bundle);

        vm.warp(until + 1);
        uint256 before = _free(address(market));
        vm.prank(stranger);
        vm.expectEmit();
        emit IMarketEvents.Reclaimed(bundle, FLOAT);
        market.reclaim(bundle);
        vm.assertEq(_free(address(market)), before + FLOAT);
        vm.assertEq(_floatOf(bundle), 0);

        market.reclaim(bundle); // nothing is left
        vm.assertEq(_free(address(market)), before + FLOAT);
    }

    function test_an_ended_offer_can_be_published_again_with_what_its_float_still_holds() public {
        (uint40 until,) = market.bundles(bundle);
        vm.warp(until + 1);
        _publish(offer, _now() + 1 days, 1);
        vm.assertEq(_floatOf(bundle), FLOAT + 1);
    }

    function test_a_purchase_is_honoured_through_the_notice_and_not_after() public {
        uint40 end = uint40(_now() + NOTICE);
        vm.prank(pricing);
        market.retire(bundle, end);
        vm.warp(end);
        _open();

        vm.warp(end + 1);
        Purchase memory purchase = _purchase();
        purchase.nonce = 2;
        bytes memory signature = _signPurchase(purchase);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketBundleNotLive.selector, bundle, end));
        market.matchPurchase(purchase, signature, offer, 0, _signAsk(_ask(), WORKER_KEY));
    }

    function test_a_deal_ends_well_after_its_bundle_is_gone() public {
        Ask memory ask = _ask();
        ask.price = 2.5e6; // half a dollar from the float
        (uint40 until,) = market.bundles(bundle);
        vm.warp(until);
        ask.expiry = until;
        Opened memory o = _match(_purchase(), 0, ask);
        vm.warp(until + 1);
        market.reclaim(bundle);
        uint256 before = _free(address(market));
        _settle(o, _refusal(o), 0);
        vm.assertEq(_free(address(market)), before + 0.5e6); // into the treasury, not a bundle that is over
    }
}
