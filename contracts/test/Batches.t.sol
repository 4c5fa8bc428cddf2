// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDesk} from "../src/interfaces/IDesk.sol";
import {ILots} from "../src/interfaces/ILots.sol";
import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Purchase} from "../src/interfaces/Types.sol";
import {Crowd} from "./support/Crowd.sol";
import {SlowWallet, Wallet} from "./support/Wallets.sol";

/// @notice Many in one call: a failing item undoes only itself and is reported, and no item starves the rest.
contract BatchesTest is Crowd {
    uint96 private constant EACH = 0.5e6;

    function setUp() public override {
        super.setUp();
        _fundProviders(2);
    }

    function _item(uint64 nonce) private view returns (bytes memory) {
        Purchase memory purchase = _purchaseOf(offer, 1, nonce);
        return abi.encodeCall(
            ILots.matchPurchase, (purchase, _signPurchase(purchase), offer, 0, _asks(_pays(1, EACH)))
        );
    }

    function _opened(uint64 nonce) private view returns (Opened memory) {
        return _dealOf(_purchaseOf(offer, 1, nonce), offer, _pays(1, EACH));
    }

    function _settling(Opened memory o) private view returns (bytes memory) {
        return abi.encodeCall(ILots.settle, (o.deal, o.due, ROOT, 1, _signedBy(o, 1, ROOT, 1)));
    }

    function _matchThree() private returns (Opened[] memory opened) {
        bytes[] memory calls = new bytes[](3);
        opened = new Opened[](3);
        for (uint64 i = 0; i < 3; ++i) {
            calls[i] = _item(i);
            opened[i] = _opened(i);
        }
        vm.prank(scheduler);
        market.matchMany(calls);
    }

    function test_a_batch_matches_settles_and_expires() public {
        Opened[] memory o = _matchThree();
        bytes[] memory calls = new bytes[](2);
        calls[0] = _settling(o[0]);
        calls[1] = _settling(o[1]);
        market.settleMany(calls);
        vm.assertEq(_cur(_provider(0)), 2 * EACH);
        vm.warp(uint40(o[2].due) + 1);
        calls[0] = abi.encodeCall(ILots.expire, (o[1].deal, o[1].due));
        calls[1] = abi.encodeCall(ILots.expire, (o[2].deal, o[2].due));
        vm.expectEmit();
        emit IMarketEvents.Skipped(0, IMarketErrors.MarketNotOpen.selector);
        vm.prank(stranger);
        market.expireMany(calls);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 2 * PRICE);
    }

    function test_the_same_lot_twice_in_one_batch_is_matched_once_and_reported() public {
        bytes[] memory calls = new bytes[](3);
        calls[0] = calls[1] = _item(1);
        calls[2] = _item(2);
        vm.expectEmit();
        emit IMarketEvents.Skipped(1, IMarketErrors.MarketLotTaken.selector);
        vm.prank(scheduler);
        market.matchMany(calls);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 2 * PRICE);
    }

    function test_the_same_result_twice_in_one_batch_is_paid_once() public {
        Opened[] memory o = _matchThree();
        bytes[] memory calls = new bytes[](2);
        calls[0] = calls[1] = _settling(o[0]);
        market.settleMany(calls);
        vm.assertEq(_cur(_provider(0)), EACH);
    }

    function test_a_batch_calls_nothing_but_what_it_is_for() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(IDesk.withdraw, (stranger, 1));
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketBatchCall.selector, 0, IDesk.withdraw.selector)
        );
        market.settleMany(calls);
        calls[0] = hex"01";
        vm.expectPartialRevert(IMarketErrors.MarketBatchCall.selector);
        market.matchMany(calls);
    }

    function test_in_a_batch_strangers_are_still_not_the_scheduler() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = _item(1);
        vm.expectEmit();
        emit IMarketEvents.Skipped(0, IMarketErrors.MarketNotScheduler.selector);
        vm.prank(stranger);
        market.matchMany(calls);
    }

    function test_a_pause_in_the_middle_stops_matches_and_nothing_else() public {
        Opened[] memory o = _matchThree();
        vm.prank(pauser);
        market.pause();
        bytes[] memory calls = new bytes[](1);
        calls[0] = _item(9);
        vm.expectEmit();
        emit IMarketEvents.Skipped(0, IMarketErrors.MarketPaused.selector);
        vm.prank(scheduler);
        market.matchMany(calls);
        calls[0] = _settling(o[0]);
        market.settleMany(calls);
        vm.assertEq(_cur(_provider(0)), EACH);
    }

    function _walletItem(Wallet wallet) private view returns (bytes memory) {
        Purchase memory purchase = _purchaseOf(offer, 1, 1);
        purchase.customer = address(wallet);
        return abi.encodeCall(ILots.matchPurchase, (purchase, "yes", offer, 0, _asks(_pays(1, EACH))));
    }

    function _wallet() private returns (Wallet wallet) {
        wallet = new Wallet();
        _fund(address(wallet), 100e6);
    }

    function test_wallets_that_burn_gas_or_flood_starve_no_other_item() public {
        Wallet wallet = _wallet();
        bytes[] memory calls = new bytes[](3);
        calls[0] = calls[1] = _walletItem(wallet);
        for (uint64 i = 0; i < 2; ++i) {
            wallet.set(i == 0 ? Wallet.Mood.Burning : Wallet.Mood.Megabyte);
            calls[2] = _item(i);
            vm.expectEmit();
            emit IMarketEvents.Skipped(0, IMarketErrors.MarketSignature.selector);
            vm.expectEmit();
            emit IMarketEvents.Skipped(1, IMarketErrors.MarketSignature.selector);
            vm.prank(scheduler);
            market.matchMany(calls);
            vm.assertEq(_free(customer), CUSTOMER_FUNDS - PRICE * (i + 1));
        }
    }

    /// @dev A wallet that had too little gas to answer has not said no.
    /// forge-config: default.fuzz.runs = 100
    function testFuzz_a_wallet_is_never_skipped_for_want_of_gas(uint256 gas_) public {
        Wallet wallet = Wallet(address(new SlowWallet()));
        _fund(address(wallet), 100e6);
        bytes[] memory calls = new bytes[](1);
        calls[0] = _walletItem(wallet);
        gas_ = 20_000 + gas_ % 600_000;
        vm.prank(scheduler);
        try market.matchMany{gas: gas_}(calls) {
            vm.assertEq(_free(address(wallet)), 100e6 - PRICE);
        } catch (bytes memory why) {
            // Out of gas altogether, or said to be.
            if (why.length != 0) vm.assertEq(bytes32(why), bytes32(IMarketErrors.MarketGas.selector));
            vm.assertEq(_free(address(wallet)), 100e6);
        }
    }

    /// @dev With any gas, the call does all or reverts whole: no item is skipped for want of gas.
    function testFuzz_too_little_gas_for_an_item_reverts_and_skips_nothing(uint256 gas_) public {
        Opened[] memory o = _matchThree();
        bytes[] memory calls = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            calls[i] = _settling(o[i]);
        }
        gas_ = 20_000 + gas_ % 200_000;
        try market.settleMany{gas: gas_}(calls) {
            vm.assertEq(_cur(_provider(0)), 3 * EACH);
        } catch {
            vm.assertEq(_all(_provider(0)), SURETY);
        }
    }
}
