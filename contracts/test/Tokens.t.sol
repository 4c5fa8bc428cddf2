// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDesk} from "../src/interfaces/IDesk.sol";
import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Dollar} from "./support/Dollars.sol";
import {Fixture} from "./support/Fixture.sol";
import {OddToken} from "./support/Tokens.sol";

/// @notice The market over a token that is not what it should be.
contract TokensTest is Fixture {
    OddToken private odd;

    function setUp() public override {
        vm.warp(1_800_000_000);
        odd = new OddToken();
        dollar = Dollar(address(odd));
        market = _deploy(address(odd));
        odd.mint(stranger, 1000);
        vm.prank(stranger);
        odd.approve(address(market), 1000);
    }

    function _deposit(uint64 amount) private {
        vm.prank(stranger);
        market.deposit(amount);
    }

    function test_a_token_that_returns_false_or_reverts_credits_nothing() public {
        odd.set(OddToken.Mood.False);
        vm.prank(stranger);
        vm.expectRevert();
        market.deposit(10);
        odd.set(OddToken.Mood.Reverting);
        vm.prank(stranger);
        vm.expectRevert();
        market.deposit(10);
        vm.assertEq(_free(stranger), 0);
    }

    function test_a_token_that_takes_a_fee_is_refused() public {
        odd.set(OddToken.Mood.Fee);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTokenAmount.selector, 10, 9));
        market.deposit(10);
    }

    function test_a_token_that_says_yes_and_moves_nothing_is_refused() public {
        odd.set(OddToken.Mood.Lying);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketTokenAmount.selector, 10, 0));
        market.deposit(10);
    }

    function test_a_token_that_returns_nothing_works() public {
        odd.set(OddToken.Mood.Silent);
        _deposit(10);
        vm.assertEq(_free(stranger), 10);
    }

    function test_a_withdrawal_that_the_token_refuses_debits_nothing() public {
        _deposit(10);
        odd.set(OddToken.Mood.False);
        vm.prank(stranger);
        vm.expectRevert();
        market.withdraw(stranger, 10);
        vm.assertEq(_free(stranger), 10);
        (,,,, uint64 held) = market.config();
        vm.assertEq(held, 10);
    }

    function test_a_token_that_reenters_moves_money_once() public {
        _deposit(10);
        _fund(address(odd), 5); // so that the token has an account of its own to play with

        bytes4 locked = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        odd.reenter(address(market), abi.encodeCall(IDesk.withdraw, (stranger, 5)));
        _deposit(10);
        vm.assertFalse(odd.entered());
        vm.assertEq(bytes32(odd.answer()), bytes32(locked));

        odd.reenter(address(market), abi.encodeCall(IDesk.depositFor, (stranger, 5)));
        vm.prank(stranger);
        market.withdraw(stranger, 4);
        vm.assertFalse(odd.entered());
        vm.assertEq(bytes32(odd.answer()), bytes32(locked));

        vm.assertEq(_free(stranger), 16);
        vm.assertEq(_free(address(odd)), 5);
        vm.assertEq(odd.balanceOf(address(market)), 21);
    }
}
