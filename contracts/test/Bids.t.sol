// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../src/interfaces/ILots.sol";
import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Bid, Cancel, SignedAsk} from "../src/interfaces/Types.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {Crowd} from "./support/Crowd.sol";

/// @notice Bids: matched at their asks, or cleared at one price; never above what the customer signed.
contract BidsTest is Crowd {
    uint96 private constant EACH = 0.5e6;
    bytes32 private constant BATCH = keccak256("batch");

    function setUp() public override {
        super.setUp();
        _fundProviders(3);
    }

    function _call(Bid memory bid, SignedAsk[] memory asks) private view returns (bytes memory) {
        return abi.encodeCall(ILots.matchBid, (bid, _signBid(bid), 0, asks));
    }

    function _try(Bid memory bid, uint96[] memory pays, bytes memory why) private {
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _asks(pays);
        vm.prank(scheduler);
        vm.expectRevert(why);
        market.matchBid(bid, signature, 0, asks);
    }

    function test_a_bid_pays_its_asks_and_the_fee_and_no_more() public {
        vm.prank(admin);
        market.setFee(500);
        Bid memory bid = _bid();
        bid.quorum = 2;
        bid.tasks = bid.lot = 10;
        Opened memory o = _openBid(bid, _pays(2, EACH));
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 1.05e6 * 10);
        uint256 treasury = _free(address(market));
        market.settle(o.deal, o.due, ROOT, 9, _signedBy(o, 3, ROOT, 9));
        vm.assertEq(_free(_provider(0)), SURETY + EACH * 9);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 1.05e6 * 9);
        vm.assertEq(_free(address(market)), treasury + 0.05e6 * 9);
    }

    function test_replicas_and_fee_together_never_cost_more_than_the_bid() public {
        vm.prank(admin);
        market.setFee(500);
        Bid memory bid = _bid();
        bid.quorum = 2;
        bid.price = 1.05e6 - 1;
        _try(bid, _pays(2, EACH), abi.encodeWithSelector(IMarketErrors.MarketCost.selector, 1.05e6, bid.price));
    }

    function test_a_bid_sniped_by_its_provider_at_its_limit_is_refused() public {
        Bid memory bid = _bid();
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _asks(_pays(1, PRICE));
        asks[0].ask.matcher = address(0);
        asks[0].signature = _sign(_providerKey(0), _digest(_hash(asks[0].ask)));
        vm.prank(_provider(0));
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketBidMatcher.selector, address(market), _provider(0))
        );
        market.matchBid(bid, signature, 0, asks);
    }

    function test_a_bid_for_anyone_is_matched_without_the_operator_and_refunded_and_matched_again() public {
        Bid memory bid = _bid();
        bid.matcher = address(0);
        bid.expiry = bid.deliverBy = type(uint40).max;
        SignedAsk[] memory asks = _asks(_pays(1, EACH));
        asks[0].ask.matcher = stranger;
        asks[0].signature = _sign(_providerKey(0), _digest(_hash(asks[0].ask)));
        Opened memory o = _dealOf(bid, _pays(1, EACH));
        bytes memory signature = _signBid(bid);
        vm.expectPartialRevert(IMarketErrors.MarketAskMatcher.selector);
        market.matchBid(bid, signature, 0, asks);
        vm.prank(stranger);
        market.matchBid(bid, signature, 0, asks);
        vm.warp(uint40(o.due) + 1);
        market.expire(o.deal, o.due);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        _openBid(bid, _pays(1, EACH));
    }

    function test_bids_after_expiry_after_bump_of_another_product_or_quorum_0_are_refused() public {
        Bid memory bid = _bid();
        bid.expiry = uint40(block.timestamp - 1);
        _try(bid, _pays(1, EACH), abi.encodeWithSelector(IMarketErrors.MarketExpired.selector, bid.expiry));
        bid = _bid();
        bid.quorum = 0;
        _try(bid, _pays(1, EACH), abi.encodeWithSelector(IMarketErrors.MarketQuorumUnsupported.selector, 0));
        bid = _bid();
        bid.product = bytes32(uint256(7));
        _try(bid, _pays(1, EACH), abi.encodeWithSelector(IMarketErrors.MarketProduct.selector, bid.product));
        bid = _bid();
        bid.deliverBy = uint40(block.timestamp);
        _try(
            bid,
            _pays(1, EACH),
            abi.encodeWithSelector(IMarketErrors.MarketDeliverBy.selector, _due(1, 1), bid.deliverBy)
        );
        bid = _bid();
        vm.prank(customer);
        market.bump(0);
        _try(bid, _pays(1, EACH), abi.encodeWithSelector(IMarketErrors.MarketEra.selector, customer, 0, 1));
    }

    function test_an_ask_for_bundles_only_serves_no_bid() public {
        Bid memory bid = _bid();
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _asks(_pays(1, EACH));
        asks[0].ask.kinds = 2;
        asks[0].signature = _sign(_providerKey(0), _digest(_hash(asks[0].ask)));
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketAskKinds.selector, 2));
        market.matchBid(bid, signature, 0, asks);
    }

    function test_prices_of_2_to_the_96_less_1_are_refused_and_not_wrapped() public {
        Bid memory bid = _bid();
        bid.price = type(uint96).max;
        bid.tasks = bid.lot = type(uint16).max;
        bid.deliverBy = type(uint40).max;
        _try(
            bid,
            _pays(1, type(uint96).max),
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector,
                customer,
                CUSTOMER_FUNDS,
                uint256(type(uint96).max) * type(uint16).max
            )
        );
        bid.quorum = 2;
        _try(
            bid,
            _pays(2, type(uint96).max),
            abi.encodeWithSelector(
                IMarketErrors.MarketCost.selector, 2 * uint256(type(uint96).max), type(uint96).max
            )
        );
    }

    // ---- cleared

    function test_every_leg_of_a_batch_gets_the_one_price() public {
        Bid memory one = _bid();
        one.quorum = 2;
        Bid memory other = _bid();
        other.nonce = 2;
        uint96[] memory asked = _pays(2, 0.3e6);
        asked[1] = 0.7e6;
        bytes[] memory calls = new bytes[](2);
        calls[0] = _call(one, _asks(asked));
        calls[1] = _call(other, _asks(_pays(1, 0.1e6)));
        Opened memory o = _dealOf(one, _pays(2, 0.7e6));
        Opened memory p = _dealOf(other, _pays(1, 0.7e6));
        vm.expectEmit();
        emit IMarketEvents.Cleared(BATCH, 0.7e6);
        vm.prank(scheduler);
        market.clear(0.7e6, BATCH, calls);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, o.due)));
        vm.assertEq(market.lot(p.deal.order, 0), keccak256(abi.encode(p.id, p.due)));
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 3 * 0.7e6);
        // The price does not stay for the next match.
        Bid memory third = _bid();
        third.nonce = 3;
        _openBid(third, _pays(1, 0.1e6));
    }

    function test_a_bid_below_the_price_or_an_ask_above_it_is_skipped_and_reported() public {
        Bid memory low = _bid();
        low.price = 0.7e6 - 1;
        Bid memory high = _bid();
        high.nonce = 2;
        Bid memory good = _bid();
        good.nonce = 3;
        bytes[] memory calls = new bytes[](3);
        calls[0] = _call(low, _asks(_pays(1, 0.1e6)));
        calls[1] = _call(high, _asks(_pays(1, 0.7e6 + 1)));
        calls[2] = _call(good, _asks(_pays(1, 0.7e6)));
        vm.expectEmit();
        emit IMarketEvents.Skipped(0, IMarketErrors.MarketCost.selector);
        vm.expectEmit();
        emit IMarketEvents.Skipped(1, IMarketErrors.MarketBelowAsk.selector);
        vm.prank(scheduler);
        market.clear(0.7e6, BATCH, calls);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 0.7e6);
    }

    function test_a_batch_at_zero_pays_zero_and_only_to_asks_at_zero() public {
        Bid memory bid = _bid();
        bytes[] memory calls = new bytes[](1);
        calls[0] = _call(bid, _asks(_pays(1, 1)));
        vm.expectEmit();
        emit IMarketEvents.Skipped(0, IMarketErrors.MarketBelowAsk.selector);
        vm.prank(scheduler);
        market.clear(0, BATCH, calls);
        calls[0] = _call(bid, _asks(_pays(1, 0)));
        vm.prank(scheduler);
        market.clear(0, BATCH, calls);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS);
        Opened memory o = _dealOf(bid, _pays(1, 0));
        market.settle(o.deal, o.due, ROOT, 1, _signedBy(o, 1, ROOT, 1));
    }

    function test_only_the_scheduler_clears() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotScheduler.selector, stranger));
        market.clear(1, BATCH, new bytes[](0));
    }

    // ---- closed

    function test_a_customer_closes_a_lot_of_its_bid_itself_or_by_one_signature() public {
        Bid memory bid = _bid();
        bid.tasks = 2;
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotCustomer.selector, stranger, customer));
        market.cancelBid(bid, 0);
        vm.prank(customer);
        market.cancelBid(bid, 0);
        bytes memory signature =
            _sign(CUSTOMER_KEY, _digest(keccak256(abi.encode(TypedData.CANCEL, Cancel(_order(bid), 1)))));
        vm.expectPartialRevert(IMarketErrors.MarketLotTaken.selector);
        market.cancelBidBySig(bid, 0, _sign(CUSTOMER_KEY, _cancelDigest(_order(bid), 0)));
        market.cancelBidBySig(bid, 1, signature);
        vm.assertEq(market.lot(_order(bid), 1), bytes32(uint256(1)));
        vm.expectPartialRevert(IMarketErrors.MarketLotTaken.selector);
        market.cancelBidBySig(bid, 1, signature);
    }

    function _cancelDigest(bytes32 order, uint32 lot) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(TypedData.CANCEL, Cancel(order, lot))));
    }
}
