// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Bump, Cancel, Purchase, Withdraw} from "../src/interfaces/Types.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {DollarTypes, DollarWithPermit} from "./support/Dollars.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice What the owner of an account does by signature, sent by anybody; and deposits by permit and authorisation.
contract SignedTest is Fixture {
    function _withdraw() private view returns (Withdraw memory) {
        return Withdraw(customer, address(0xBEEF), 10e6, 1e6, 7, uint40(_now() + 60));
    }

    function _digestOf(Withdraw memory order) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(TypedData.WITHDRAW, order)));
    }

    function _by(uint256 key, Withdraw memory order) private view returns (bytes memory) {
        return _sign(key, _digestOf(order));
    }

    function test_a_signed_withdrawal_pays_its_receiver_and_its_sender_once() public {
        Withdraw memory order = _withdraw();
        bytes memory signature = _by(CUSTOMER_KEY, order);
        vm.expectEmit();
        emit IMarketEvents.Spent(_digestOf(order));
        vm.prank(stranger);
        market.withdrawBySig(order, signature);
        vm.assertEq(dollar.balanceOf(address(0xBEEF)), 10e6);
        vm.assertEq(dollar.balanceOf(stranger), 1e6);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 11e6);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketSpent.selector, _digestOf(order)));
        market.withdrawBySig(order, signature);
    }

    function test_a_standing_withdrawal_survives_a_bump() public {
        Withdraw memory order = _withdraw();
        bytes memory signature = _by(CUSTOMER_KEY, order);
        vm.prank(customer);
        market.bump(0);
        market.withdrawBySig(order, signature);
        vm.assertEq(dollar.balanceOf(address(0xBEEF)), 10e6);
    }

    function test_a_withdrawal_signed_by_another_changed_or_late_is_refused() public {
        Withdraw memory order = _withdraw();
        bytes memory signature = _by(STRANGER_KEY, order);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.withdrawBySig(order, signature);
        signature = _by(CUSTOMER_KEY, order);
        order.to = stranger;
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.withdrawBySig(order, signature);
        order = _withdraw();
        vm.warp(order.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketExpired.selector, order.deadline));
        market.withdrawBySig(order, signature);
    }

    function test_a_signed_withdrawal_keeps_the_surety_of_waiting_earnings_and_no_amount_wraps() public {
        _settle(_open(), "root", 1);
        Withdraw memory order = _withdraw();
        order.account = provider;
        order.amount = 1;
        bytes memory signature = _by(PROVIDER_KEY, order);
        vm.expectPartialRevert(IMarketErrors.MarketSuretyLocked.selector);
        market.withdrawBySig(order, signature);
        order.amount = type(uint96).max;
        order.fee = type(uint96).max;
        signature = _by(PROVIDER_KEY, order);
        vm.expectPartialRevert(IMarketErrors.MarketFundsShort.selector);
        market.withdrawBySig(order, signature);
    }

    function test_a_signed_bump_works_once() public {
        Bump memory order = Bump(customer, 0);
        bytes32 digest = _digest(keccak256(abi.encode(TypedData.BUMP, order)));
        bytes memory signature = _sign(CUSTOMER_KEY, digest);
        bytes memory strangers = _sign(STRANGER_KEY, digest);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.bumpBySig(order, strangers);
        market.bumpBySig(order, signature);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketEra.selector, customer, 0, 1));
        market.bumpBySig(order, signature);
    }

    function test_a_signed_cancel_closes_one_lot_once() public {
        Purchase memory purchase = _purchase();
        purchase.tasks = 2;
        bytes32 digest = _digest(keccak256(abi.encode(TypedData.CANCEL, Cancel(_order(purchase), 1))));
        bytes memory signature = _sign(CUSTOMER_KEY, digest);
        vm.expectPartialRevert(IMarketErrors.MarketSignature.selector);
        market.cancelBySig(purchase, 0, signature);
        market.cancelBySig(purchase, 1, signature);
        vm.assertEq(market.lot(_order(purchase), 1), bytes32(uint256(1)));
        vm.expectPartialRevert(IMarketErrors.MarketLotTaken.selector);
        market.cancelBySig(purchase, 1, signature);
    }

    // ---- money in

    function _permit(uint64 amount) private view returns (uint8, bytes32, bytes32) {
        bytes32 structHash = DollarTypes.permit(customer, address(market), amount, 0);
        return vm.sign(CUSTOMER_KEY, _dollars(structHash));
    }

    function _dollars(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = DollarWithPermit(address(dollar)).DOMAIN_SEPARATOR();
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function test_a_permit_pays_in_and_one_that_was_front_run_does_too() public {
        dollar.mint(customer, 5e6);
        (uint8 v, bytes32 r, bytes32 s) = _permit(5e6);
        DollarWithPermit(address(dollar)).permit(customer, address(market), 5e6, type(uint256).max, v, r, s);
        vm.prank(customer);
        market.depositWithPermit(5e6, type(uint256).max, v, r, s);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS + 5e6);
    }

    function test_a_permit_sent_by_another_takes_nothing_from_its_signer() public {
        dollar.mint(customer, 5e6);
        (uint8 v, bytes32 r, bytes32 s) = _permit(5e6);
        vm.prank(stranger);
        vm.expectRevert();
        market.depositWithPermit(5e6, type(uint256).max, v, r, s);
        vm.prank(customer);
        market.depositWithPermit(5e6, type(uint256).max, v, r, s);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS + 5e6);
    }

    function _authorisation(address account) private view returns (uint8, bytes32, bytes32) {
        bytes32 structHash = DollarTypes.receive_(customer, address(market), 5e6, account, "salt");
        return vm.sign(CUSTOMER_KEY, _dollars(structHash));
    }

    function test_an_authorisation_pays_in_once_and_credits_only_the_account_it_named() public {
        dollar.mint(customer, 5e6);
        (uint8 v, bytes32 r, bytes32 s) = _authorisation(provider);
        vm.prank(stranger);
        vm.expectRevert();
        market.depositWithAuthorization(stranger, customer, 5e6, "salt", 0, type(uint256).max, v, r, s);
        vm.prank(stranger);
        vm.expectEmit();
        emit IMarketEvents.Deposited(provider, customer, 5e6);
        market.depositWithAuthorization(provider, customer, 5e6, "salt", 0, type(uint256).max, v, r, s);
        vm.assertEq(_free(provider), SURETY + 5e6);
        vm.expectRevert();
        market.depositWithAuthorization(provider, customer, 5e6, "salt", 0, type(uint256).max, v, r, s);
    }
}
