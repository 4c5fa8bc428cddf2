// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../interfaces/ILots.sol";
import {Deal} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Head} from "../libraries/Deals.sol";
import {Given, LegWords} from "../libraries/Given.sol";
import {Lots} from "../libraries/Lots.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Core} from "./Core.sol";

/// @notice Ends open deals: paid, refused, expired; or hastens them.
abstract contract Settling is ILots, Core {
    /// @inheritdoc ILots
    function settle(
        Deal calldata deal,
        uint48 due,
        bytes32 root,
        uint16 done,
        bytes[] calldata signatures
    ) external {
        LegWords[] calldata legs = Given.legs(deal);
        (bytes32 id, Lot storage lot) = _openDeal(deal, legs, due);
        if (block.timestamp > uint40(due)) revert MarketTooLate(uint40(due));
        uint256 count = deal.head.count();
        if (done > count) revert MarketDone(done, uint16(count));
        uint256 agreed = _agreed(deal.head, legs, due, _digest(TypedData.result(id, root, done)), signatures);

        if (done == 0) {
            // Bound to this match by its due: after a re-match an old refusal must not end the new deal.
            if (root != bytes32(uint256(due))) revert MarketRefusalRoot(root, due);
            lot.word = Lots.FREE;
            emit Refused(id, _giveBack(deal, legs));
        } else {
            uint96 fact = Lots.fact(done, agreed, block.timestamp);
            lot.word = Lots.settled(id, root, fact);
            (uint64 paid, uint64 returned) = _pay(deal, legs, done, agreed);
            emit Settled(id, root, paid, returned, fact);
        }
    }

    /// @inheritdoc ILots
    function expire(Deal calldata deal, uint48 due) external {
        LegWords[] calldata legs = Given.legs(deal);
        (bytes32 id, Lot storage lot) = _openDeal(deal, legs, due);
        if (block.timestamp <= uint40(due)) revert MarketTooEarly(uint40(due));
        lot.word = Lots.FREE;
        emit Expired(id, _giveBack(deal, legs));
    }

    /// @inheritdoc ILots
    function hasten(Deal calldata deal, uint48 due) external onlyScheduler {
        (bytes32 id, Lot storage lot) = _openDeal(deal, Given.legs(deal), due);
        uint256 deadline = block.timestamp + _grace;
        if (deadline >= uint40(due)) revert MarketNotSooner(uint40(due), deadline);
        uint48 sooner = uint48(deadline | Lots.HASTENED);
        lot.word = Lots.open(id, sooner);
        emit Hastened(id, sooner);
    }

    function _openDeal(Deal calldata deal, LegWords[] calldata legs, uint48 due)
        private
        view
        returns (bytes32 id, Lot storage lot)
    {
        id = Lots.givenDealId(deal, legs);
        lot = _lots[Lots.key(deal.order, deal.head.lot())];
        bytes32 word = lot.word;
        if (word != Lots.open(id, due)) revert MarketNotOpen(id, due, word);
    }

    /// @dev Which legs signed, a bit each. All of them, or a quorum when the scheduler sends it or the end is near.
    function _agreed(
        Head head,
        LegWords[] calldata legs,
        uint48 due,
        bytes32 digest,
        bytes[] calldata signatures
    ) private view returns (uint256 agreed) {
        uint256 n = legs.length;
        if (signatures.length != n) revert MarketLegCount(signatures.length, n);
        uint256 signed = 0;
        unchecked {
            for (uint256 i = 0; i < n; ++i) {
                bytes calldata signature = Given.item(signatures, i);
                if (signature.length == 0) continue;
                _mustSign(address(uint160(legs[i].key)), digest, signature);
                agreed |= 1 << i;
                ++signed;
            }
        }
        if (signed != n) {
            if (signed < head.quorum()) revert MarketQuorum(signed, head.quorum());
            if (block.timestamp + _grace < uint40(due)) _onlyScheduler();
        }
    }

    /// @dev Legs that signed earn for what is done, the customer gets back what is not and what the others would have
    /// earned, the treasury the rest. Earnings of a disputable deal wait, so that they can be taken back.
    function _pay(Deal calldata deal, LegWords[] calldata legs, uint256 done, uint256 agreed)
        private
        returns (uint64 paid, uint64 returned)
    {
        bool waits = deal.head.disputable();
        unchecked {
            // 96 and 16 bits; `done` is at most `count`; the shares together are at least the price. All of it is
            // held, so it fits 64 bits.
            (uint256 signers, uint256 cost) = _payLegs(legs, done, agreed, waits);
            uint256 price = deal.money.price();
            (uint256 treasury, uint256 back) = Lots.rest(price, cost, signers);
            paid = uint64(signers * done);
            uint256 undone = deal.head.count() - done;
            uint256 sum = price * undone + back * done;
            if (sum != 0) _creditFree(deal.head.customer(), sum);
            returned = uint64(sum);
            // What the float put in beyond the price.
            uint256 beyond = signers + treasury + back - price;
            _payTreasury(treasury * done, beyond * undone, waits);
        }
    }

    /// @dev Pays the legs that signed. For one task: what they get, and what all legs would.
    function _payLegs(LegWords[] calldata legs, uint256 done, uint256 agreed, bool waits)
        private
        returns (uint256 signers, uint256 cost)
    {
        unchecked {
            for (uint256 i = 0; i < legs.length; ++i) {
                uint256 pay = legs[i].share.pay();
                cost += pay;
                if (agreed >> i & 1 == 0) continue;
                signers += pay;
                address provider = legs[i].share.provider();
                Held storage held = _accounts[provider];
                Account a = _load(held);
                if (waits && a.free() < _surety) revert MarketSuretyMissing(provider, a.free(), _surety);
                held.word = _credit(a, pay * done, waits);
            }
        }
    }

    function _payTreasury(uint256 margin, uint256 unearned, bool waits) private {
        if (margin | unearned == 0) return;
        Held storage held = _accounts[address(this)];
        held.word = _credit(_load(held), margin, waits).creditFree(unearned);
    }

    function _credit(Account a, uint256 amount, bool waits) private pure returns (Account) {
        return waits ? a.creditCur(amount) : a.creditFree(amount);
    }

    /// @dev The whole price to the customer, and what the float gave to the treasury.
    function _giveBack(Deal calldata deal, LegWords[] calldata legs) private returns (uint64 returned) {
        uint256 price = deal.money.price();
        uint256 count = deal.head.count();
        uint256 cost = 0;
        unchecked {
            // At most 16 pays of 96 bits, and a count of 16; what was held fits 64.
            for (uint256 i = 0; i < legs.length; ++i) {
                cost += legs[i].share.pay();
            }
            returned = uint64(price * count);
            _creditFree(deal.head.customer(), returned);
            if (cost > price) _creditFree(address(this), (cost - price) * count);
        }
    }
}
