// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Account} from "../src/libraries/Accounts.sol";
import {Vm, within} from "./support/Vm.sol";

/// @notice The packed word against five plain numbers.
contract AccountWordTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct Plain {
        uint64 free;
        uint64 cur;
        uint64 prev;
        uint32 epoch;
        uint32 era;
    }

    function _pack(Plain memory p) private pure returns (Account) {
        return Account.wrap(
            uint256(p.free) | (uint256(p.cur) << 64) | (uint256(p.prev) << 128) | (uint256(p.epoch) << 192)
                | (uint256(p.era) << 224)
        );
    }

    function _same(Account a, Plain memory p) private pure {
        vm.assertEq(Account.unwrap(a), Account.unwrap(_pack(p)));
    }

    /// @dev Sums stay within 64 bits, as the deposit cap has it.
    function _bounded(Plain memory p) private pure {
        p.free /= 4;
        p.cur /= 4;
        p.prev /= 4;
    }

    function testFuzz_fields_are_read_where_they_are_packed(Plain memory p) public pure {
        Account a = _pack(p);
        vm.assertEq(a.free(), p.free);
        vm.assertEq(a.cur(), p.cur);
        vm.assertEq(a.prev(), p.prev);
        vm.assertEq(a.epoch(), p.epoch);
        vm.assertEq(a.era(), p.era);
    }

    function testFuzz_rolling_moves_one_bucket_an_epoch(Plain memory p, uint32 later) public pure {
        _bounded(p);
        later = uint32(within(later, 0, type(uint32).max - p.epoch));
        if (later > 4) later = later % 4;
        Account a = _pack(p).roll(uint256(p.epoch) + later);
        for (uint256 i = 0; i < later; ++i) {
            (p.free, p.prev, p.cur) = (p.free + p.prev, p.cur, 0);
        }
        p.epoch += later;
        _same(a, p);
    }

    function testFuzz_rolling_twice_is_rolling_once(Plain memory p, uint8 first, uint8 second) public pure {
        _bounded(p);
        p.epoch /= 2;
        uint256 to = uint256(p.epoch) + first;
        Account twice = _pack(p).roll(to).roll(to + second);
        vm.assertEq(Account.unwrap(twice), Account.unwrap(_pack(p).roll(to + second)));
    }

    function testFuzz_credits_and_debits_touch_one_bucket(Plain memory p, uint64 amount) public pure {
        _bounded(p);
        amount /= 4;
        Account a = _pack(p);
        _same(a.creditFree(amount).debit(amount, address(1)), p);
        p.cur += amount;
        _same(a.creditCur(amount), p);
    }

    function testFuzz_a_debit_keeps_the_surety_only_while_something_waits(
        Plain memory p,
        uint64 amount,
        uint64 surety
    ) public {
        _bounded(p);
        amount = uint64(within(amount, 0, p.free));
        if ((p.cur != 0 || p.prev != 0) && p.free - amount < surety) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IMarketErrors.MarketSuretyLocked.selector, address(1), p.free - amount, surety
                )
            );
            this.debitAboveSurety(_pack(p), amount, surety);
        } else {
            Account left = this.debitAboveSurety(_pack(p), amount, surety);
            p.free -= amount;
            _same(left, p);
        }
    }

    function testFuzz_what_does_not_fit_is_refused(Plain memory p, uint256 amount) public {
        amount = within(amount, uint256(type(uint64).max) - p.free + 1, type(uint128).max);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketAmountTooLarge.selector, p.free + amount));
        this.creditFree(_pack(p), amount);
    }

    function test_the_last_era_cannot_be_passed() public {
        vm.expectRevert();
        this.nextEra(_pack(Plain(1, 2, 3, 4, type(uint32).max)));
    }

    function debitAboveSurety(Account a, uint256 amount, uint256 surety) external pure returns (Account) {
        return a.debitAboveSurety(amount, address(1), surety);
    }

    function creditFree(Account a, uint256 amount) external pure returns (Account) {
        return a.creditFree(amount);
    }

    function nextEra(Account a) external pure returns (Account) {
        return a.nextEra();
    }
}
