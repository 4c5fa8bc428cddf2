// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../interfaces/IMarket.sol";
import {Deal, Leg, Result} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Lots} from "../libraries/Lots.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Core} from "./Core.sol";

/// @notice Ends open deals: paid, refused, expired; or hastens them.
abstract contract Settling is IMarket, Core {
    /// @inheritdoc IMarket
    function settle(
        Deal calldata deal,
        uint48 due,
        bytes32 root,
        uint16 done,
        bytes[] calldata signatures
    ) external {
        (bytes32 id, bytes32 key) = _openDeal(deal, due);
        if (block.timestamp > uint40(due)) revert MarketTooLate(uint40(due));
        if (done > deal.head.count()) revert MarketDone(done, uint16(deal.head.count()));
        uint256 agreed = _agreed(deal, due, TypedData.hash(Result(id, root, done)), signatures);

        if (done == 0) {
            // Bound to this match by its due: after a re-match an old refusal must not end the new deal.
            if (root != bytes32(uint256(due))) revert MarketRefusalRoot(root, due);
            lots[key] = Lots.FREE;
            emit Refused(id, _giveBack(deal));
        } else {
            uint96 fact = Lots.fact(done, agreed, block.timestamp);
            lots[key] = Lots.settled(id, root, fact);
            (uint64 paid, uint64 returned) = _pay(deal, done, agreed);
            emit Settled(id, root, paid, returned, fact);
        }
    }

    /// @inheritdoc IMarket
    function expire(Deal calldata deal, uint48 due) external {
        (bytes32 id, bytes32 key) = _openDeal(deal, due);
        if (block.timestamp <= uint40(due)) revert MarketTooEarly(uint40(due));
        lots[key] = Lots.FREE;
        emit Expired(id, _giveBack(deal));
    }

    /// @inheritdoc IMarket
    function hasten(Deal calldata deal, uint48 due) external onlyScheduler {
        (bytes32 id, bytes32 key) = _openDeal(deal, due);
        uint256 deadline = block.timestamp + _grace;
        if (deadline >= uint40(due)) revert MarketNotSooner(uint40(due), deadline);
        uint48 sooner = uint48(deadline | Lots.HASTENED);
        lots[key] = Lots.open(id, sooner);
        emit Hastened(id, sooner);
    }

    function _openDeal(Deal calldata deal, uint48 due) private view returns (bytes32 id, bytes32 key) {
        id = Lots.givenDealId(deal);
        key = Lots.key(deal.order, deal.head.lot());
        bytes32 word = lots[key];
        if (word != Lots.open(id, due)) revert MarketNotOpen(id, due, word);
    }

    /// @dev Which legs signed, a bit each. All of them, or a quorum when the scheduler sends it or the end is near.
    function _agreed(Deal calldata deal, uint48 due, bytes32 structHash, bytes[] calldata signatures)
        private
        view
        returns (uint256 agreed)
    {
        uint256 n = deal.legs.length;
        if (signatures.length != n) revert MarketLegCount(signatures.length, n);
        bytes32 digest = _hashTypedDataV4(structHash);
        uint256 signed = 0;
        for (uint256 i = 0; i < n; ++i) {
            bytes calldata signature = signatures[i];
            if (signature.length == 0) continue;
            address key = deal.legs[i].key;
            if (!Signatures.isBy(key, digest, signature)) revert MarketSignature(key, digest);
            agreed |= 1 << i;
            ++signed;
        }
        if (signed != n) {
            if (signed < deal.head.quorum()) revert MarketQuorum(signed, deal.head.quorum());
            if (block.timestamp + _grace < uint40(due)) _onlyScheduler();
        }
    }

    /// @dev Legs that signed earn for what is done, the customer gets back what is not and what the others would have
    /// earned, the treasury the rest. Earnings of a disputable deal wait, so that they can be taken back.
    function _pay(Deal calldata deal, uint256 done, uint256 agreed)
        private
        returns (uint64 paid, uint64 returned)
    {
        _payLegs(deal, done, agreed);
        (uint256 signers, uint256 treasury, uint256 back) = _shares(deal, agreed);
        unchecked {
            // 96 and 16 bits; `done` is at most `count`; the shares together are at least the price. All of it is
            // held, so it fits 64 bits.
            paid = uint64(signers * done);
            uint256 undone = deal.head.count() - done;
            uint256 price = deal.money.price();
            uint256 back_ = price * undone + back * done;
            if (back_ != 0) _creditFree(deal.head.customer(), back_);
            returned = uint64(back_);
            // What the float put in beyond the price.
            uint256 beyond = signers + treasury + back - price;
            _payTreasury(treasury * done, beyond * undone, deal.head.disputable());
        }
    }

    function _payLegs(Deal calldata deal, uint256 done, uint256 agreed) private {
        bool waits = deal.head.disputable();
        Leg[] calldata legs = deal.legs;
        for (uint256 i = 0; i < legs.length; ++i) {
            if (agreed >> i & 1 == 1) {
                Leg calldata leg = legs[i];
                address provider = leg.share.provider();
                Account a = _load(provider);
                if (waits && a.free() < _surety) revert MarketSuretyMissing(provider, a.free(), _surety);
                _accounts[provider] = _credit(a, leg.share.pay() * done, waits);
            }
        }
    }

    function _payTreasury(uint256 margin, uint256 unearned, bool waits) private {
        if (margin + unearned == 0) return;
        _accounts[address(this)] = _credit(_load(address(this)), margin, waits).creditFree(unearned);
    }

    function _credit(Account a, uint256 amount, bool waits) private pure returns (Account) {
        return waits ? a.creditCur(amount) : a.creditFree(amount);
    }

    /// @dev The whole price to the customer, and what the float gave to the treasury.
    function _giveBack(Deal calldata deal) private returns (uint64 returned) {
        uint256 price = deal.money.price();
        uint256 count = deal.head.count();
        uint256 cost = 0;
        for (uint256 i = 0; i < deal.legs.length; ++i) {
            cost += deal.legs[i].share.pay();
        }
        returned = uint64(price * count);
        _creditFree(deal.head.customer(), returned);
        if (cost > price) _creditFree(address(this), (cost - price) * count);
    }
}
