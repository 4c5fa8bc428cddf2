// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Ask, Purchase} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {within} from "./support/Vm.sol";

/// @notice Money in and out of accounts, and the time that earnings wait.
contract AccountsTest is Fixture {
    function test_deposit_credits_the_caller() public {
        dollar.mint(stranger, 7);
        vm.startPrank(stranger);
        dollar.approve(address(market), 7);
        vm.expectEmit();
        emit IMarketEvents.Deposited(stranger, stranger, 7);
        market.deposit(7);
        vm.stopPrank();
        vm.assertEq(_free(stranger), 7);
        vm.assertEq(dollar.balanceOf(stranger), 0);
    }

    function test_depositFor_takes_from_the_caller_and_credits_another() public {
        dollar.mint(stranger, 7);
        vm.startPrank(stranger);
        dollar.approve(address(market), 7);
        vm.expectEmit();
        emit IMarketEvents.Deposited(provider, stranger, 7);
        market.depositFor(provider, 7);
        vm.stopPrank();
        vm.assertEq(_free(stranger), 0);
        vm.assertEq(_free(provider), SURETY + 7);
    }

    function test_a_deposit_for_nobody_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketRecipient.selector, address(0)));
        market.depositFor(address(0), 1);
    }

    function test_money_cannot_be_deposited_for_somebody_who_only_approved() public {
        dollar.mint(stranger, 7);
        vm.prank(stranger);
        dollar.approve(address(market), 7);
        vm.expectRevert(); // the caller has nothing, whatever others approved
        market.depositFor(stranger, 7);
    }

    function test_withdraw_sends_free_money_anywhere_but_to_nobody_or_the_market() public {
        vm.prank(customer);
        vm.expectEmit();
        emit IMarketEvents.Withdrawn(customer, stranger, 5);
        market.withdraw(stranger, 5);
        vm.assertEq(dollar.balanceOf(stranger), 5);
        vm.assertEq(_free(customer), CUSTOMER_FUNDS - 5);

        vm.prank(customer);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketRecipient.selector, address(market)));
        market.withdraw(address(market), 5);
        vm.prank(customer);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketRecipient.selector, address(0)));
        market.withdraw(address(0), 5);
    }

    function test_withdraw_of_more_than_is_free_is_refused() public {
        vm.prank(customer);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketFundsShort.selector, customer, CUSTOMER_FUNDS, CUSTOMER_FUNDS + 1
            )
        );
        market.withdraw(customer, CUSTOMER_FUNDS + 1);
    }

    function test_a_surety_can_be_withdrawn_while_nothing_waits() public {
        vm.prank(provider);
        market.withdraw(provider, SURETY);
        vm.assertEq(dollar.balanceOf(provider), SURETY);
    }

    function test_a_surety_stays_while_earnings_wait() public {
        _settle(_open(), "root", 1);
        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketSuretyLocked.selector, provider, SURETY - 1, SURETY)
        );
        market.withdraw(provider, 1);

        vm.warp(_now() + WINDOW); // the earnings wait in `prev` now
        vm.prank(provider);
        vm.expectPartialRevert(IMarketErrors.MarketSuretyLocked.selector);
        market.withdraw(provider, 1);

        vm.warp(_now() + WINDOW);
        vm.prank(provider);
        market.withdraw(provider, SURETY + uint64(PAY));
        vm.assertEq(_all(provider), 0);
    }

    function test_a_surety_stays_when_its_owner_buys_while_earnings_wait() public {
        _settle(_open(), "root", 1);
        // The provider becomes a customer of somebody else.
        Purchase memory purchase = _purchase();
        purchase.customer = provider;
        Ask memory ask = _ask();
        ask.provider = stranger;
        _fund(stranger, SURETY);
        bytes memory signature = _sign(PROVIDER_KEY, _order(purchase));
        vm.prank(scheduler);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketSuretyLocked.selector, provider, SURETY - uint64(PRICE), SURETY
            )
        );
        market.matchPurchase(purchase, signature, offer, 0, _signAsk(ask, STRANGER_KEY));

        _fund(provider, uint64(PRICE));
        vm.prank(scheduler);
        market.matchPurchase(purchase, signature, offer, 0, _signAsk(ask, STRANGER_KEY));
        vm.assertEq(_free(provider), SURETY);
    }

    function test_earnings_move_one_bucket_a_window() public {
        _settle(_open(), "root", 1);
        vm.assertEq(_cur(provider), PAY);
        vm.assertEq(_free(provider), SURETY);

        vm.warp(_now() - (_now() % WINDOW) + WINDOW - 1); // the last second of the epoch
        vm.assertEq(_cur(provider), PAY);
        vm.warp(_now() + 1);
        vm.assertEq(_cur(provider), 0);
        vm.assertEq(_prev(provider), PAY);
        vm.warp(_now() + WINDOW - 1);
        vm.assertEq(_prev(provider), PAY);
        vm.warp(_now() + 1);
        vm.assertEq(_prev(provider), 0);
        vm.assertEq(_free(provider), SURETY + PAY);
    }

    function test_earnings_of_two_windows_are_kept_apart() public {
        _settle(_open(), "root", 1);
        vm.warp(_now() + WINDOW);
        Purchase memory purchase = _purchase();
        purchase.nonce = 2;
        Ask memory ask = _ask();
        ask.price = 1e6;
        _settle(_match(purchase, 0, ask), "root", 1);
        vm.assertEq(_prev(provider), PAY);
        vm.assertEq(_cur(provider), 1e6);
        vm.warp(_now() + WINDOW);
        vm.assertEq(_free(provider), SURETY + PAY);
        vm.assertEq(_prev(provider), 1e6);
        vm.assertEq(_cur(provider), 0);
    }

    function test_earnings_are_all_free_after_a_long_sleep() public {
        _settle(_open(), "root", 1);
        vm.warp(_now() + 100 * WINDOW);
        vm.assertEq(_free(provider), SURETY + PAY);
        vm.assertEq(_cur(provider) + _prev(provider), 0);
    }

    function test_bump_raises_the_era_that_it_names() public {
        vm.prank(customer);
        vm.expectEmit();
        emit IMarketEvents.Bumped(customer, 1);
        market.bump(0);
        (uint256 free,,, uint32 era) = market.account(customer);
        vm.assertEq(era, 1);
        vm.assertEq(free, CUSTOMER_FUNDS);

        vm.prank(customer);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketEra.selector, customer, 0, 1));
        market.bump(0);
    }

    function test_bump_leaves_earnings_where_they_wait() public {
        _settle(_open(), "root", 1);
        vm.prank(provider);
        market.bump(0);
        vm.assertEq(_cur(provider), PAY);
        vm.assertEq(_free(provider), SURETY);
    }

    function test_a_cap_bounds_what_is_held_and_admin_can_only_raise_it() public {
        uint64 held = CUSTOMER_FUNDS + SURETY + TREASURY_FUNDS;
        (,,, uint64 cap, uint64 present) = market.config();
        vm.assertEq(present, held);
        vm.assertEq(cap, type(uint64).max);

        vm.prank(admin);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketCapNotRaised.selector, cap, cap));
        market.raiseDepositCap(cap);
    }

    function test_deposits_above_64_bits_in_total_are_refused() public {
        uint256 held = CUSTOMER_FUNDS + SURETY + TREASURY_FUNDS;
        uint256 rest = type(uint64).max - held;
        dollar.mint(address(this), rest + 1);
        dollar.approve(address(market), rest + 1);
        market.depositFor(stranger, uint64(rest));
        vm.assertEq(_free(stranger), rest);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarketErrors.MarketDepositCap.selector, uint256(type(uint64).max) + 1, type(uint64).max
            )
        );
        market.depositFor(stranger, 1);

        // What leaves makes room again.
        vm.prank(stranger);
        market.withdraw(stranger, 1);
        market.depositFor(stranger, 1);
    }

    function test_a_donation_belongs_to_nobody_and_takes_no_room() public {
        dollar.mint(address(market), 1);
        (,,,, uint64 held) = market.config();
        vm.assertEq(dollar.balanceOf(address(market)), held + 1);
    }

    function testFuzz_deposits_and_withdrawals_balance(uint64 in_, uint64 out) public {
        in_ = uint64(within(in_, 0, 1e18));
        _fund(stranger, in_);
        out = uint64(within(out, 0, in_));
        vm.prank(stranger);
        market.withdraw(stranger, out);
        vm.assertEq(_free(stranger), in_ - out);
        vm.assertEq(dollar.balanceOf(stranger), out);
    }
}
