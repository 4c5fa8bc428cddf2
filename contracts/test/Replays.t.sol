// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Bid, Bump, Cancel, Purchase, Withdraw} from "../src/interfaces/Types.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {Crowd} from "./support/Crowd.sol";
import {MarketWithRoles} from "./support/Fixture.sol";

/// @notice A signature is good for what it was given for: not for another chain, contract, order, lot or deal.
contract ReplaysTest is Crowd {
    function setUp() public override {
        super.setUp();
        _fundProviders(1);
    }

    function test_a_result_for_another_lot_of_the_same_order_is_refused() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 2;
        Opened memory one = _match(purchase, 0, _ask());
        Opened memory two = _match(purchase, 1, _ask());
        bytes[] memory signatures = _signResult(one.id, ROOT, 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(two.deal, two.due, ROOT, 1, signatures);
    }

    function test_a_signature_of_one_purchase_buys_no_other() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        Purchase[5] memory other;
        for (uint256 i = 0; i < 5; ++i) {
            other[i] = abi.decode(abi.encode(purchase), (Purchase));
        }
        other[0].nonce += 1;
        other[1].tasks += 1;
        other[2].job = "other";
        other[3].deliverBy += 1;
        other[4].expiry += 1;
        for (uint256 i = 0; i < 5; ++i) {
            vm.prank(scheduler);
            vm.expectRevert(
                abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, customer, _order(other[i]))
            );
            market.matchPurchase(other[i], signature, offer, 0, _asks(_pays(1, PAY)));
        }
    }

    function test_a_signature_of_one_bid_buys_no_other() public {
        Bid memory bid = _bid();
        bytes memory signature = _signBid(bid);
        Bid[4] memory other;
        for (uint256 i = 0; i < 4; ++i) {
            other[i] = abi.decode(abi.encode(bid), (Bid));
        }
        other[0].nonce += 1;
        other[1].price += 1;
        other[2].job = "other";
        other[3].matcher = address(0);
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(scheduler);
            vm.expectRevert(
                abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, customer, _order(other[i]))
            );
            market.matchBid(other[i], signature, 0, _asks(_pays(1, PAY)));
        }
    }

    /// @dev On another contract and on another chain: the digests differ in the domain only.
    function test_signed_calls_of_another_contract_or_chain_are_refused() public {
        MarketWithRoles other = _deploy(address(dollar));
        Withdraw memory withdraw = Withdraw(customer, stranger, 1e6, 0, 1, type(uint40).max);
        Bump memory bump = Bump(customer, 0);
        bytes32[3] memory hashes = [
            keccak256(abi.encode(TypedData.WITHDRAW, withdraw)),
            keccak256(abi.encode(TypedData.BUMP, bump)),
            keccak256(abi.encode(TypedData.CANCEL, Cancel(_order(_purchase()), 0)))
        ];
        for (uint256 i = 0; i < 2; ++i) {
            address verifier = i == 0 ? address(other) : address(market);
            uint256 chain = i == 0 ? block.chainid : block.chainid + 1;
            bytes[3] memory signatures;
            for (uint256 j = 0; j < 3; ++j) {
                signatures[j] = _sign(CUSTOMER_KEY, _digestFor(hashes[j], verifier, chain));
            }
            vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
            market.withdrawBySig(withdraw, signatures[0]);
            vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
            market.bumpBySig(bump, signatures[1]);
            vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
            market.cancelBySig(_purchase(), 0, signatures[2]);
        }
    }

    function test_a_closed_lots_cancel_closes_no_other_order() public {
        Purchase memory purchase = _purchase();
        bytes memory signature =
            _sign(CUSTOMER_KEY, _digest(keccak256(abi.encode(TypedData.CANCEL, Cancel(_order(purchase), 0)))));
        market.cancelBySig(purchase, 0, signature);
        purchase.nonce = 2;
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.cancelBySig(purchase, 0, signature);
    }

    function test_an_order_is_not_matched_as_the_other_kind() public {
        Purchase memory purchase = _purchase();
        bytes memory bids = _sign(CUSTOMER_KEY, _order(_bid()));
        vm.prank(scheduler);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.matchPurchase(purchase, bids, offer, 0, _asks(_pays(1, PAY)));
        bytes memory purchases = _signPurchase(purchase);
        vm.prank(scheduler);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.matchBid(_bid(), purchases, 0, _asks(_pays(1, PAY)));
    }

    function test_at_the_deadlines_second_settle_is_in_time_and_expire_too_early_and_then_the_reverse() public {
        Opened memory o = _open();
        bytes[] memory signatures = _signResult(o.id, ROOT, 1);
        vm.warp(uint40(o.due) + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooLate.selector, uint40(o.due)));
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.warp(uint40(o.due));
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTooEarly.selector, uint40(o.due)));
        market.expire(o.deal, o.due);
        market.settle(o.deal, o.due, ROOT, 1, signatures);
        vm.warp(uint40(o.due) + 1);
        vm.expectPartialRevert(IMarketErrors.MarketNotOpen.selector);
        market.expire(o.deal, o.due);
    }

    function test_a_bids_provider_is_not_its_own_customer() public {
        Bid memory bid = _bid();
        bid.customer = _provider(0);
        bytes memory signature = _sign(_providerKey(0), _order(bid));
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSelfDeal.selector, _provider(0)));
        market.matchBid(bid, signature, 0, _asks(_pays(1, PAY)));
    }
}
