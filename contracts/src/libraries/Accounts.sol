// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../interfaces/IMarketErrors.sol";

/// @notice One slot, lowest bits first: free 64 | cur 64 | prev 64 | epoch 32 | era 32.
/// @dev `cur` and `prev` are the earnings of disputable deals settled in the epoch (one window long) in which the
/// word was last written and in the one before; they wait, so that a wrong result can cost them.
type Account is uint256;

using Accounts for Account global;

/// @notice The arithmetic of the account word. A word is rolled once after it is loaded and before it is used.
library Accounts {
    uint256 private constant MASK = type(uint64).max;

    function free(Account a) internal pure returns (uint256) {
        return Account.unwrap(a) & MASK;
    }

    function cur(Account a) internal pure returns (uint256) {
        return (Account.unwrap(a) >> 64) & MASK;
    }

    function prev(Account a) internal pure returns (uint256) {
        return (Account.unwrap(a) >> 128) & MASK;
    }

    function epoch(Account a) internal pure returns (uint256) {
        return uint32(Account.unwrap(a) >> 192);
    }

    function era(Account a) internal pure returns (uint32) {
        return uint32(Account.unwrap(a) >> 224);
    }

    /// @notice Moves the word to epoch `to`, which is not before its own: one epoch later `cur` becomes `prev` and `prev`
    /// free; two or more later both are free.
    function roll(Account a, uint256 to) internal pure returns (Account) {
        if (to == a.epoch()) return a;
        uint256 free_ = a.free() + a.prev();
        uint256 prev_ = a.cur();
        if (to - a.epoch() > 1) {
            free_ += prev_;
            prev_ = 0;
        }
        if (free_ > MASK) revert IMarketErrors.MarketAmountTooLarge(free_);
        return Account.wrap(free_ | (prev_ << 128) | (uint256(uint32(to)) << 192) | (uint256(a.era()) << 224));
    }

    /// @notice Adds to what can be spent.
    function creditFree(Account a, uint256 amount) internal pure returns (Account) {
        return _credit(a, a.free(), amount, 0);
    }

    /// @notice Adds to the earnings that wait.
    function creditCur(Account a, uint256 amount) internal pure returns (Account) {
        return _credit(a, a.cur(), amount, 64);
    }

    /// @notice Adds to the earnings of the window before.
    function creditPrev(Account a, uint256 amount) internal pure returns (Account) {
        return _credit(a, a.prev(), amount, 128);
    }

    /// @notice Takes back earnings of this window; they are there, since nothing else takes them.
    function takeCur(Account a, uint256 amount) internal pure returns (Account) {
        return _take(a, a.cur(), amount, 64);
    }

    /// @notice Takes back earnings of the window before.
    function takePrev(Account a, uint256 amount) internal pure returns (Account) {
        return _take(a, a.prev(), amount, 128);
    }

    /// @notice Takes up to `most` of what can be spent.
    function takeFree(Account a, uint256 most) internal pure returns (Account left, uint256 taken) {
        taken = a.free();
        if (taken > most) taken = most;
        unchecked {
            left = Account.wrap(Account.unwrap(a) - taken); // at most the lowest field
        }
    }

    /// @notice Takes from what can be spent; `owner` is named in the error.
    function debit(Account a, uint256 amount, address owner) internal pure returns (Account) {
        if (amount > a.free()) revert IMarketErrors.MarketFundsShort(owner, a.free(), amount);
        unchecked {
            return Account.wrap(Account.unwrap(a) - amount); // at most the lowest field
        }
    }

    /// @notice As `debit`, but while earnings wait, at least `surety` stays.
    function debitAboveSurety(Account a, uint256 amount, address owner, uint256 surety)
        internal
        pure
        returns (Account left)
    {
        left = a.debit(amount, owner);
        if (left.free() < surety && Account.unwrap(left) << 64 >> 128 != 0) {
            revert IMarketErrors.MarketSuretyLocked(owner, left.free(), surety);
        }
    }

    /// @notice The word one era later.
    function nextEra(Account a) internal pure returns (Account) {
        return Account.wrap(Account.unwrap(a) + (1 << 224)); // reverts after 2^32 eras
    }

    /// @dev Adds to the field at `bit`, which is `field`.
    function _credit(Account a, uint256 field, uint256 amount, uint256 bit) private pure returns (Account) {
        if (amount > MASK - field) revert IMarketErrors.MarketAmountTooLarge(field + amount);
        unchecked {
            return Account.wrap(Account.unwrap(a) + (amount << bit)); // the sum fits the field
        }
    }

    /// @dev Takes from the field at `bit`, which is `field`.
    function _take(Account a, uint256 field, uint256 amount, uint256 bit) private pure returns (Account) {
        uint256 left = field - amount; // reverts when there is less
        unchecked {
            return Account.wrap(Account.unwrap(a) - ((field - left) << bit));
        }
    }
}
