// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Account} from "../src/libraries/Accounts.sol";
import {Lots} from "../src/libraries/Lots.sol";

/// @notice For every account word and every amount, not some: fields keep apart and money is moved, never made.
contract AccountProofs {
    uint256 private constant MASK = type(uint64).max;
    uint256 private constant TIME = type(uint256).max << 192; // epoch and era

    function _sum(Account a) private pure returns (uint256) {
        return a.free() + a.cur() + a.prev();
    }

    function _rest(Account a, uint256 field) private pure returns (uint256) {
        return Account.unwrap(a) & ~field;
    }

    function check_rolling_moves_money_and_makes_none(uint256 word, uint32 to) public pure {
        Account a = Account.wrap(word);
        if (to < a.epoch()) return;
        Account b = a.roll(to);
        assert(_sum(b) == _sum(a));
        assert(b.free() >= a.free());
        assert(b.epoch() == to && b.era() == a.era());
        if (to > a.epoch() + 1) assert(b.cur() == 0 && b.prev() == 0);
        if (to == a.epoch() + 1) assert(b.cur() == 0 && b.prev() == a.cur());
    }

    function check_a_credit_adds_to_one_field(uint256 word, uint256 amount) public pure {
        Account a = Account.wrap(word);
        Account b = a.creditFree(amount);
        assert(b.free() == a.free() + amount && _rest(b, MASK) == _rest(a, MASK));
    }

    function check_earnings_are_added_to_one_field(uint256 word, uint256 amount) public pure {
        Account a = Account.wrap(word);
        Account b = a.creditCur(amount);
        assert(b.cur() == a.cur() + amount && _rest(b, MASK << 64) == _rest(a, MASK << 64));
    }

    function check_earlier_earnings_are_added_to_one_field(uint256 word, uint256 amount) public pure {
        Account a = Account.wrap(word);
        Account b = a.creditPrev(amount);
        assert(b.prev() == a.prev() + amount && _rest(b, MASK << 128) == _rest(a, MASK << 128));
    }

    function check_earnings_are_taken_from_one_field(uint256 word, uint256 amount) public pure {
        Account a = Account.wrap(word);
        Account b = a.takeCur(amount);
        assert(b.cur() == a.cur() - amount && _rest(b, MASK << 64) == _rest(a, MASK << 64));
    }

    function check_earlier_earnings_are_taken_from_one_field(uint256 word, uint256 amount) public pure {
        Account a = Account.wrap(word);
        Account b = a.takePrev(amount);
        assert(b.prev() == a.prev() - amount && _rest(b, MASK << 128) == _rest(a, MASK << 128));
    }

    function check_a_case_takes_at_most_its_share(uint256 word, uint256 most) public pure {
        Account a = Account.wrap(word);
        (Account b, uint256 taken) = a.takeFree(most);
        assert(taken <= most && (taken == most || b.free() == 0));
        assert(b.free() + taken == a.free() && _rest(b, MASK) == _rest(a, MASK));
    }

    function check_a_debit_never_leaves_less_than_the_surety_while_earnings_wait(
        uint256 word,
        uint256 amount,
        uint64 surety
    ) public pure {
        Account a = Account.wrap(word);
        Account b = a.debitAboveSurety(amount, address(0), surety);
        assert(b.free() + amount == a.free() && amount <= MASK);
        assert(_rest(b, MASK) == _rest(a, MASK));
        assert(b.free() >= surety || b.cur() + b.prev() == 0);
    }

    function check_a_bump_changes_the_era_alone(uint256 word) public pure {
        Account a = Account.wrap(word);
        Account b = a.nextEra();
        assert(b.era() == uint256(a.era()) + 1);
        assert(Account.unwrap(b) << 32 == Account.unwrap(a) << 32);
    }
}

/// @notice What one task's price and cost become, for every price, cost and set of signers: settle pays and challenge
/// takes by `Lots.rest`, match holds and expire gives back the larger of the two.
contract ShareProofs {
    function _rest(uint96 price, uint128 cost, uint128 signers)
        private
        pure
        returns (uint256 treasury, uint256 back, uint256 whole)
    {
        (treasury, back) = Lots.rest(price, cost, signers);
        whole = cost > price ? cost : price;
    }

    function check_shares_are_the_whole(uint96 price, uint128 cost, uint128 signers) public pure {
        if (signers > cost) return;
        (uint256 treasury, uint256 back, uint256 whole) = _rest(price, cost, signers);
        assert(signers + treasury + back == whole);
        assert(treasury <= whole && back <= price && back <= cost - signers);
        if (signers == cost) assert(back == 0);
    }

    /// @dev Settled: what left the customer and the float reaches somebody, to the unit. Numbers of tasks are given one by
    /// one, since products of two unknowns are beyond the solvers.
    function _settles(uint96 price, uint96 cost, uint96 signers, uint256 count, uint256 done) private pure {
        if (signers > cost) return;
        (uint256 treasury, uint256 back, uint256 whole) = _rest(price, cost, signers);
        uint256 undone = count - done;
        uint256 customer = price * undone + back * done;
        uint256 beyond = signers + treasury + back - price;
        assert(signers * done + customer + treasury * done + beyond * undone == whole * count);
        assert(customer <= price * count);
    }

    function check_settling_one_of_one_conserves(uint96 price, uint96 cost, uint96 signers) public pure {
        _settles(price, cost, signers, 1, 1);
    }

    function check_settling_one_of_two_conserves(uint96 price, uint96 cost, uint96 signers) public pure {
        _settles(price, cost, signers, 2, 1);
    }

    function check_settling_two_of_two_conserves(uint96 price, uint96 cost, uint96 signers) public pure {
        _settles(price, cost, signers, 2, 2);
    }

    function check_settling_two_of_three_conserves(uint96 price, uint96 cost, uint96 signers) public pure {
        _settles(price, cost, signers, 3, 2);
    }

    /// @dev Matched and expired: the customer's price and the float's part, and the same back.
    function check_matching_and_expiring_conserve(uint96 price, uint96 cost) public pure {
        (,, uint256 whole) = _rest(price, cost, 0);
        for (uint256 count = 1; count < 4; ++count) {
            uint256 fromFloat = cost > price ? (uint256(cost) - price) * count : 0;
            assert(price * count + fromFloat == whole * count);
        }
    }
}
