// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDesk} from "../src/interfaces/IDesk.sol";
import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Deal, Purchase, Result, SignedAsk} from "../src/interfaces/Types.sol";
import {Fixture, MarketWithRoles} from "./support/Fixture.sol";
import {dealId} from "./support/Packed.sol";
import {within} from "./support/Vm.sol";
import {Wallet} from "./support/Wallets.sol";

/// @notice Whose signature counts: worker keys, lengths, malleability, replays, wallet contracts.
contract KeysTest is Fixture {
    uint256 private constant N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function _compact(bytes memory signature) private pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = _split(signature);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function _split(bytes memory signature) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }

    function _cut(bytes memory signature, uint256 length) private pure returns (bytes memory cut) {
        cut = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            cut[i] = signature[i];
        }
    }

    /// @dev Signatures of the same digest that must all be refused.
    function _bad(bytes memory good) private pure returns (bytes[] memory bad) {
        (bytes32 r, bytes32 s, uint8 v) = _split(good);
        bad = new bytes[](8);
        bad[0] = abi.encodePacked(r, bytes32(N - uint256(s)), v == 27 ? uint8(28) : uint8(27)); // malleable
        bad[1] = _cut(good, 63);
        bad[2] = _cut(good, 64); // 65 bytes without the last are no compact signature, if v is 28
        if (v == 27) bad[2] = abi.encodePacked(r, bytes32(uint256(s) | (1 << 255)));
        bad[3] = abi.encodePacked(good, uint8(0));
        bad[4] = "";
        bad[5] = abi.encodePacked(r, s, v - 27);
        bad[6] = abi.encodePacked(r, s, uint8(29));
        bad[7] = new bytes(65); // recovers to nobody
    }

    function _tryMatch(Purchase memory purchase, bytes memory signature, SignedAsk[] memory asks) private {
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    // ---- shapes of signatures

    function test_compact_signatures_count_everywhere() public {
        Purchase memory purchase = _purchase();
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        asks[0].signature = _compact(asks[0].signature);
        Opened memory o;
        o.deal = _deal(purchase, 0, 1, _ask(), worker);
        o.due = _due(1, 1);
        o.id = dealId(o.deal);
        _tryMatch(purchase, _compact(_signPurchase(purchase)), asks);
        bytes[] memory signatures = _signResult(o.id, "root", 1);
        signatures[0] = _compact(signatures[0]);
        market.settle(o.deal, o.due, "root", 1, signatures);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_malleable_short_and_long_signatures_of_a_purchase_are_refused() public {
        Purchase memory purchase = _purchase();
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        bytes[] memory bad = _bad(_signPurchase(purchase));
        bytes32 order = _order(purchase);
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, customer, order));
            this.tryMatch(purchase, bad[i], asks);
        }
    }

    function test_malleable_short_and_long_signatures_of_an_ask_are_refused() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        bytes[] memory bad = _bad(asks[0].signature);
        bytes32 digest = _digest(_hash(_ask()));
        for (uint256 i = 0; i < bad.length; ++i) {
            asks[0].signature = bad[i];
            vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, provider, digest));
            this.tryMatch(purchase, signature, asks);
        }
    }

    function test_malleable_short_and_long_signatures_of_a_result_are_refused() public {
        Opened memory o = _open();
        bytes[] memory signatures = _signResult(o.id, "root", 1);
        bytes[] memory bad = _bad(signatures[0]);
        for (uint256 i = 0; i < bad.length; ++i) {
            signatures[0] = bad[i];
            vm.expectPartialRevert(_unsigned(bad[i]));
            market.settle(o.deal, o.due, "root", 1, signatures);
        }
    }

    /// @dev Nothing at all is a leg that did not sign; anything else must be its signature.
    function _unsigned(bytes memory signature) private pure returns (bytes4) {
        return signature.length == 0
            ? IMarketErrors.MarketQuorum.selector
            : IMarketErrors.MarketSignature.selector;
    }

    function tryMatch(Purchase memory purchase, bytes memory signature, SignedAsk[] memory asks) external {
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, offer, 0, asks);
    }

    function test_a_purchase_signed_by_somebody_else_is_refused() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _sign(STRANGER_KEY, _order(purchase));
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketSignature.selector, customer, _order(purchase))
        );
        this.tryMatch(purchase, signature, asks);
    }

    function test_an_order_for_nobody_is_refused() public {
        // A signature that recovers to nobody must not be nobody's signature.
        _fund(stranger, 1);
        Purchase memory purchase = _purchase();
        purchase.customer = address(0);
        purchase.price = 0;
        offer.price = 0;
        bundle = _publish(offer, _now() + 1 days, 100e6);
        purchase.bundle = bundle;
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, new bytes(65), asks);
    }

    function testFuzz_no_other_bytes_sign_a_result(bytes memory noise, uint8 length) public {
        Opened memory o = _open();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _cut(
            abi.encodePacked(noise, keccak256(noise), keccak256("r"), keccak256("s")), within(length, 0, 66)
        );
        vm.expectPartialRevert(_unsigned(signatures[0]));
        market.settle(o.deal, o.due, "root", 1, signatures);
    }

    // ---- replays

    function test_orders_of_another_contract_are_refused() public {
        Purchase memory purchase = _purchase();
        MarketWithRoles other = _deploy(address(dollar));
        bytes memory foreign =
            _sign(CUSTOMER_KEY, _digestFor(_hash(purchase), address(other), block.chainid));
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, foreign, asks);

        bytes memory own = _signPurchase(purchase);
        asks[0].signature = _sign(WORKER_KEY, _digestFor(_hash(_ask()), address(other), block.chainid));
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, own, asks);
    }

    function test_everything_signed_dies_on_a_fork_of_the_chain() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        Opened memory o = _match(purchase, 0, _ask());
        bytes[] memory signatures = _signResult(o.id, "root", 1);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, signature, asks);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(o.deal, o.due, "root", 1, signatures);
    }

    // ---- worker keys

    function test_a_provider_may_sign_for_itself() public {
        Purchase memory purchase = _purchase();
        Opened memory o;
        o.deal = _deal(purchase, 0, 1, _ask(), provider);
        o.due = _due(1, 1);
        o.id = dealId(o.deal);
        bytes memory signature = _signPurchase(purchase);
        _tryMatch(purchase, signature, _signAsk(_ask(), PROVIDER_KEY));
        bytes[] memory byWorker = _signResult(o.id, "root", 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.settle(o.deal, o.due, "root", 1, byWorker); // another key did not sign the ask
        market.settle(o.deal, o.due, "root", 1, _signResultBy(PROVIDER_KEY, o.id, "root", 1));
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_key_that_was_never_authorised_cannot_quote() public {
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), STRANGER_KEY);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, signature, asks);
    }

    function test_a_key_is_good_up_to_its_last_second() public {
        uint40 until = uint40(_now() + 10);
        vm.prank(provider);
        vm.expectEmit();
        emit IMarketEvents.Authorised(provider, worker, until);
        market.authorise(worker, until);
        vm.assertEq(market.workers(provider, worker), until);

        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.warp(until + 1);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, signature, asks);
        vm.warp(until);
        this.tryMatch(purchase, signature, asks);
    }

    function test_a_revoked_key_cannot_quote_but_settles_what_it_was_matched_for() public {
        Opened memory o = _open();
        vm.prank(provider);
        market.authorise(worker, 0);
        Purchase memory purchase = _purchase();
        purchase.nonce = 2;
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, signature, asks);

        _settle(o, "root", 1);
        vm.assertEq(_cur(provider), PAY);
    }

    function test_a_key_registered_by_somebody_else_too_signs_for_each_apart() public {
        vm.prank(stranger);
        market.authorise(worker, type(uint40).max); // claims the key: nothing is taken from the provider
        Opened memory o = _open();
        _settle(o, "root", 1);
        vm.assertEq(_cur(provider), PAY);
        vm.assertEq(_all(stranger), 0);
    }

    // ---- wallet contracts

    function _wallet() private returns (Wallet wallet) {
        wallet = new Wallet();
        _fund(address(wallet), 100e6);
    }

    function test_a_wallet_contract_buys() public {
        Wallet wallet = _wallet();
        Purchase memory purchase = _purchase();
        purchase.customer = address(wallet);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        this.tryMatch(purchase, "anything", asks);
        vm.assertEq(_free(address(wallet)), 100e6 - PRICE);
    }

    function test_a_wallet_contract_sells_and_signs_results() public {
        Wallet wallet = _wallet();
        Ask memory ask = _ask();
        ask.provider = address(wallet);
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        Opened memory o;
        o.deal = _deal(purchase, 0, 1, ask, address(wallet));
        o.due = _due(1, 1);
        SignedAsk[] memory asks = new SignedAsk[](1);
        asks[0] = SignedAsk(ask, "anything");
        this.tryMatch(purchase, signature, asks);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = "anything";
        market.settle(o.deal, o.due, "root", 1, signatures);
        vm.assertEq(_cur(address(wallet)), PAY);
    }

    function test_a_wallet_contract_authorises_a_key() public {
        Wallet wallet = _wallet();
        wallet.set(Wallet.Mood.No);
        wallet.run(address(market), abi.encodeCall(IDesk.authorise, (worker, type(uint40).max)));
        Ask memory ask = _ask();
        ask.provider = address(wallet);
        _settle(_match(_purchase(), 0, ask), "root", 1);
        vm.assertEq(_cur(address(wallet)), PAY);
    }

    function test_a_wallet_that_refuses_lies_burns_or_floods_is_a_bad_signature() public {
        Wallet wallet = _wallet();
        Purchase memory purchase = _purchase();
        purchase.customer = address(wallet);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        for (uint8 mood = 1; mood <= uint8(type(Wallet.Mood).max); ++mood) {
            wallet.set(Wallet.Mood(mood));
            uint256 gas = gasleft();
            vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
            this.tryMatch(purchase, "anything", asks);
            vm.assertLe(gas - gasleft(), 600_000, "bounded gas");
        }
    }

    /// @dev 65 bytes with which the precompile answers nothing, so that nothing of it is left where answers are read.
    function test_a_wallets_answer_of_31_bytes_is_none_whatever_lies_behind_it() public {
        Wallet wallet = _wallet();
        wallet.set(Wallet.Mood.Short);
        Purchase memory purchase = _purchase();
        purchase.customer = address(wallet);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        bytes memory nothing = abi.encodePacked(bytes32(0), bytes32(uint256(1)), uint8(27));
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        this.tryMatch(purchase, nothing, asks);
    }

    function test_an_account_with_code_still_signs_with_its_key() public {
        vm.etch(customer, vm.getDeployedCode("Wallets.sol:Wallet")); // as EIP-7702 does
        Wallet(customer).set(Wallet.Mood.No);
        _open();
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE);
    }
}
