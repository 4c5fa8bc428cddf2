// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IArbiter} from "../interfaces/IArbiter.sol";
import {ICourt} from "../interfaces/ICourt.sol";
import {IMarketEvents} from "../interfaces/IMarketEvents.sol";
import {Case, Claim, Deal} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {ClaimWords, Given, LegWords} from "../libraries/Given.sol";
import {Lots} from "../libraries/Lots.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Core} from "./Core.sol";

/// @notice Challenges of settled disputable deals, and their ends.
/// @dev While a case runs, it holds what the deal paid out, taken from the buckets of the deal's time, the signers'
/// shares of the arbiter's fee, and the bond. A deal's time is at most a window ago, so its money is in `cur` or
/// `prev`; after a case its time is moved on by the length of the case, so this stays so.
abstract contract Court is ICourt, Core {
    uint256 private constant GROUND_FEWER = 2;
    /// @dev No account could pay a bond doubled this often.
    uint256 private constant MOST_CASES = 64;

    /// @inheritdoc ICourt
    function challenge(
        Deal calldata deal,
        bytes32 root,
        uint96 fact,
        Claim calldata claim,
        bytes32[] calldata proof
    ) external nonReentrant {
        LegWords[] calldata legs = Given.legs(deal);
        bytes32 id = Lots.givenDealId(deal, legs);
        Lot storage lot = _lots[Lots.key(deal.order, deal.head.lot())];
        bytes32 word = lot.word;
        if (word != Lots.settled(id, root, fact)) revert MarketNotSettled(id, word);
        if (!deal.head.disputable()) revert MarketNotDisputable(id);
        uint256 last = Lots.time(fact) + _window;
        if (block.timestamp > last) revert MarketTooLate(uint40(last));

        bytes32 claimed = _claim(Given.words(claim), root, deal.head.count(), proof);
        uint256 bond = _bondAfter(Lots.pastCases(fact));
        Held storage held = _accounts[msg.sender];
        held.word = _load(held).debitAboveSurety(bond, msg.sender, _surety);
        uint64[] memory fees = _seize(deal, legs, fact);
        uint40 until = uint40(block.timestamp + _window);
        lot.word = Lots.disputed(id, root, fact, msg.sender, until, claimed, Lots.feesHash(fees));
        _log(id, claim, until, bond, fees);
        if (_asksArbiter) IArbiter(_arbiter).open(id, claimed, until);
    }

    /// @inheritdoc ICourt
    function judge(Case calldata case_, bool guilty) external {
        if (msg.sender != _arbiter) revert MarketNotArbiter(msg.sender);
        (bytes32 id, LegWords[] calldata legs, Lot storage lot) = _case(case_);
        if (block.timestamp > case_.until) revert MarketTooLate(case_.until);
        uint256 bond = _bondAfter(Lots.pastCases(case_.fact));
        if (guilty) {
            lot.word = Lots.GUILTY;
            uint256 fee = _convict(case_, legs);
            _creditFree(case_.challenger, bond);
            _creditFree(msg.sender, fee);
            emit Judged(id, true, uint64(fee), 0);
        } else {
            uint96 fact = _acquit(case_, legs, id, lot);
            _creditFree(msg.sender, bond);
            emit Judged(id, false, uint64(bond), fact);
        }
    }

    /// @inheritdoc ICourt
    function lapse(Case calldata case_) external {
        (bytes32 id, LegWords[] calldata legs, Lot storage lot) = _case(case_);
        if (block.timestamp <= case_.until) revert MarketTooEarly(case_.until);
        uint96 fact = _acquit(case_, legs, id, lot);
        _creditFree(case_.challenger, _bondAfter(Lots.pastCases(case_.fact)));
        emit Lapsed(id, fact);
    }

    function _case(Case calldata case_)
        private
        view
        returns (bytes32 id, LegWords[] calldata legs, Lot storage lot)
    {
        Deal calldata deal = case_.deal;
        legs = Given.legs(deal);
        id = Lots.givenDealId(deal, legs);
        lot = _lots[Lots.key(deal.order, deal.head.lot())];
        bytes32 word = lot.word;
        if (word != Lots.disputed(id, case_)) revert MarketNoCase(id, word);
    }

    /// @dev Emits `Challenged`, with the claim straight from calldata; it was checked.
    function _log(bytes32 id, Claim calldata claim, uint40 until, uint256 bond, uint64[] memory fees) private {
        bytes32 topic = IMarketEvents.Challenged.selector;
        assembly ("memory-safe") {
            let start := mload(0x40)
            calldatacopy(start, claim, 160)
            mstore(add(start, 160), until)
            mstore(add(start, 192), bond)
            mstore(add(start, 224), 256) // offset of the fees
            let size := shl(5, add(mload(fees), 1)) // their number, and a word each
            mcopy(add(start, 256), fees, size)
            log3(start, add(size, 256), topic, id, caller())
        }
    }

    /// @dev The claim's hash. Its leaf, where the ground names one, must be under the root.
    function _claim(ClaimWords calldata claim, bytes32 root, uint256 count, bytes32[] calldata proof)
        private
        pure
        returns (bytes32 hash)
    {
        uint256 ground = claim.ground;
        uint256 index = claim.index;
        if (ground > GROUND_FEWER) revert MarketGround(uint8(ground));
        bytes32 leaf = 0;
        if (ground != GROUND_FEWER) {
            leaf = Merkle.leaf(uint32(index), uint8(claim.status), claim.digest);
            if (!Merkle.verify(proof, root, leaf, index, count)) revert MarketProof(root, leaf, uint32(index));
        }
        bytes32 commitment = claim.commitment;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, ground)
            mstore(add(start, 32), index)
            mstore(add(start, 64), leaf)
            mstore(add(start, 96), commitment)
            hash := keccak256(start, 128)
        }
    }

    function _bondAfter(uint256 cases) private view returns (uint256 bond) {
        if (cases >= MOST_CASES) revert MarketAmountTooLarge(cases);
        bond = uint256(_bond) << cases;
    }

    /// @dev Takes what the deal paid out from the buckets of its time, and each signer's share of the arbiter's fee, or
    /// what there is of it, from its free money.
    function _seize(Deal calldata deal, LegWords[] calldata legs, uint96 fact)
        private
        returns (uint64[] memory fees)
    {
        uint256 agreed = Lots.agreed(fact);
        uint256 done = Lots.done(fact);
        bool recent = Lots.time(fact) / _window == _epoch();
        uint256 share = _ones(agreed);
        fees = new uint64[](share);
        share = _arbiterFee / share;
        unchecked {
            uint256 next = 0;
            uint256 cost = 0;
            uint256 paid = 0;
            // 16 pays of 96 bits, times 16 bits, as it was paid.
            for (uint256 i = 0; i < legs.length; ++i) {
                LegWords calldata leg = legs[i];
                uint256 pay = leg.share.pay();
                cost += pay;
                if (agreed >> i & 1 == 0) continue;
                paid += pay;
                Held storage held = _accounts[leg.share.provider()];
                (Account a, uint256 fee) = _take(_load(held), pay * done, recent).takeFree(share);
                held.word = a;
                fees[next++] = uint64(fee);
            }
            // What went back to the customer is not seized.
            // slither-disable-next-line unused-return
            (uint256 treasury,) = Lots.rest(deal.money.price(), cost, paid);
            if (treasury != 0) {
                Held storage own = _accounts[address(this)];
                own.word = _take(_load(own), treasury * done, recent);
            }
        }
    }

    /// @dev The customer gets what it paid, the treasury the float's part, both from what the deal had paid out; the
    /// arbiter's fee is what the signers gave and the treasury adds.
    function _convict(Case calldata case_, LegWords[] calldata legs) private returns (uint256 fee) {
        Deal calldata deal = case_.deal;
        uint256 done = Lots.done(case_.fact);
        (uint256 signers, uint256 treasury, uint256 back) = _shares(deal, legs, Lots.agreed(case_.fact));
        uint256 refund = deal.money.price() - back;
        _creditFree(deal.head.customer(), refund * done);
        for (uint256 i = 0; i < case_.fees.length; ++i) {
            fee += case_.fees[i];
        }
        Held storage held = _accounts[address(this)];
        (Account a, uint256 added) =
            _load(held).creditFree((signers + treasury - refund) * done).takeFree(_arbiterFee - fee);
        held.word = a;
        fee += added;
    }

    // What is compared are bits of a mask and whole epochs.
    // slither-disable-start incorrect-equality
    /// @dev Everything but the bond goes back where it was, and the lot is settled again.
    function _acquit(Case calldata case_, LegWords[] calldata legs, bytes32 id, Lot storage lot)
        private
        returns (uint96 fact)
    {
        // The case began one window before its `until`.
        fact = Lots.afterCase(case_.fact, block.timestamp + _window - case_.until);
        lot.word = Lots.settled(id, case_.root, fact);
        uint256 agreed = Lots.agreed(fact);
        uint256 done = Lots.done(fact);
        bool recent = Lots.time(fact) / _window == _epoch();
        uint256 next = 0;
        for (uint256 i = 0; agreed >> i != 0; ++i) {
            if (agreed >> i & 1 == 0) continue;
            Held storage held = _accounts[legs[i].share.provider()];
            held.word =
                _put(_load(held), legs[i].share.pay() * done, recent).creditFree(case_.fees[next++]);
        }
        (, uint256 treasury,) = _shares(case_.deal, legs, agreed);
        if (treasury != 0) {
            Held storage own = _accounts[address(this)];
            own.word = _put(_load(own), treasury * done, recent);
        }
    }

    /// @dev What each task that is done paid, when the legs in the mask `agreed` signed: to them, to the treasury, and
    /// back to the customer for the legs that did not sign.
    function _shares(Deal calldata deal, LegWords[] calldata legs, uint256 agreed)
        private
        pure
        returns (uint256 signers, uint256 treasury, uint256 back)
    {
        uint256 cost = 0;
        unchecked {
            // At most 16 pays of 96 bits.
            for (uint256 i = 0; i < legs.length; ++i) {
                uint256 pay = legs[i].share.pay();
                cost += pay;
                if (agreed >> i & 1 == 1) signers += pay;
            }
        }
        (treasury, back) = Lots.rest(deal.money.price(), cost, signers);
    }
    // slither-disable-end incorrect-equality

    function _take(Account a, uint256 amount, bool recent) private pure returns (Account) {
        return recent ? a.takeCur(amount) : a.takePrev(amount);
    }

    function _put(Account a, uint256 amount, bool recent) private pure returns (Account) {
        return recent ? a.creditCur(amount) : a.creditPrev(amount);
    }

    function _ones(uint256 mask) private pure returns (uint256 n) {
        for (; mask != 0; mask &= mask - 1) {
            ++n;
        }
    }
}
