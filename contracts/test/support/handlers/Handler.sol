// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Case, Claim, Deal, Offer} from "../../../src/interfaces/Types.sol";
import {Merkle} from "../../../src/libraries/Merkle.sol";
import {Dollar} from "../Dollars.sol";
import {MarketWithRoles} from "../Fixture.sol";
import {Trees} from "../Trees.sol";
import {Ends} from "./Ends.sol";
import {Offices} from "./Offices.sol";
import {People} from "./People.sol";

/// @notice Settled deals challenged, judged, left to lapse. With this the acts are complete.
contract Handler is Ends {
    uint256 private immutable _bond;
    uint256 private immutable _fee;

    constructor(
        MarketWithRoles market_,
        Dollar dollar_,
        address[4] memory roles,
        Offer[] memory offers,
        uint256 treasury
    ) People(market_, dollar_, roles) Offices(offers) {
        (_bond, _fee) = (market_.policy().bond, market_.policy().arbiterFee);
        deposited = treasury;
        (owed[address(market_)],) = _free(address(market_));
    }

    function _case(Lot memory l) private pure returns (Case memory) {
        return Case(l.deal, l.root, l.fact, l.challenger, l.until, l.claim, l.fees);
    }

    function _bondOf(uint96 fact) private view returns (uint256) {
        return _bond << uint8(fact >> 72);
    }

    function _doneIn(uint96 fact) private pure returns (uint256) {
        return uint16(fact);
    }

    function _maskIn(uint96 fact) private pure returns (uint256) {
        return uint16(fact >> 16);
    }

    // ---- challenged

    function _claim(Lot memory l) private returns (Claim memory claim, bytes32[] memory proof) {
        claim.ground = uint8(_draw(0, 2));
        claim.commitment = bytes32(_draw(0, 1));
        bytes32 leaf = 0;
        if (claim.ground != 2) {
            claim.index = uint32(_draw(0, l.deal.head.count() - 1));
            claim.digest = bytes32(uint256(claim.index));
            proof = Trees.proof(Trees.successes(l.deal.head.count()), claim.index);
            leaf = Merkle.leaf(claim.index, 0, claim.digest);
        }
        l.claim = keccak256(abi.encode(claim.ground, claim.index, leaf, claim.commitment));
    }

    /// @dev What each signer gives for the arbiter: an equal share, or what it has.
    function _feesOf(Lot memory l, address challenger) private view returns (uint64[] memory fees) {
        uint256 mask = _maskIn(l.fact);
        uint256 signers = _ones(mask);
        fees = new uint64[](signers);
        uint256 next = 0;
        for (uint256 i = 0; i < l.deal.legs.length; ++i) {
            if (mask >> i & 1 == 0) continue;
            address provider = l.deal.legs[i].share.provider();
            (uint256 free,) = _free(provider);
            if (provider == challenger) free -= _bondOf(l.fact);
            fees[next++] = uint64(free < _fee / signers ? free : _fee / signers);
        }
    }

    /// @dev Takes from the books what a case holds, or gives it back. Returns its sum without the bond.
    function _move(Lot memory l, bool back) private returns (uint256 sum) {
        uint256 done = _doneIn(l.fact);
        uint256 mask = _maskIn(l.fact);
        uint256 next = 0;
        for (uint256 i = 0; i < l.deal.legs.length; ++i) {
            if (mask >> i & 1 == 0) continue;
            uint256 part = l.deal.legs[i].share.pay() * done + l.fees[next++];
            sum += part;
            if (back) owed[l.deal.legs[i].share.provider()] += part;
            else owed[l.deal.legs[i].share.provider()] -= part;
        }
        uint256 margin = _shares(l.deal, mask).treasury * done;
        sum += margin;
        if (back) owed[address(market)] += margin;
        else owed[address(market)] -= margin;
    }

    function challenge(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Settled);
        if (!there) return;
        if (_draw(0, 3) != 0 && stateOf(_lastDisputable) == State.Settled) lot = _lastDisputable;
        Lot memory l = _get(lot);
        address challenger = _somebody();
        for (uint256 tries = 0; tries < 3 && !_canPay(challenger, _bondOf(l.fact)); ++tries) {
            challenger = _somebody();
        }
        (Claim memory claim, bytes32[] memory proof) = _claim(l);
        uint256 bond = _bondOf(l.fact);
        bool sound = l.deal.head.disputable() && block.timestamp <= uint40(l.fact >> 32) + uint256(_window)
            && _canPay(challenger, bond);
        if (sound) l.fees = _feesOf(l, challenger);
        vm.prank(challenger);
        try market.challenge(l.deal, l.root, l.fact, claim, proof) {
            require(sound, "an unsound challenge");
        } catch {
            require(!sound, "a sound challenge refused");
            return;
        }
        (l.challenger, l.until) = (challenger, uint40(block.timestamp + _window));
        owed[challenger] -= bond;
        inCases += bond + _move(l, false);
        _put(lot, l, State.Disputed);
        _mustBeWritten(lot);
        _did();
    }

    /// @dev A leaf that the worker did not give proves nothing.
    function challengeFalsely(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Settled);
        if (!there) return;
        Lot memory l = _get(lot);
        (Claim memory claim, bytes32[] memory proof) = _claim(l);
        if (claim.ground == 2) return;
        claim.digest = bytes32(uint256(claim.digest) + 1);
        vm.prank(_somebody());
        try market.challenge(l.deal, l.root, l.fact, claim, proof) {
            revert("a leaf that was not given");
        } catch {}
        _did();
    }

    // ---- ended

    function judge(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Disputed);
        if (!there) return;
        Lot memory l = _get(lot);
        bool guilty = _draw(0, 1) == 0;
        (uint256 treasury,) = _free(address(market));
        vm.prank(arbiter);
        try market.judge(_case(l), guilty) {
            require(block.timestamp <= l.until, "judged too late");
        } catch {
            require(block.timestamp > l.until, "not judged");
            return;
        }
        if (guilty) _convicted(lot, l, treasury);
        else _acquitted(lot, l, arbiter);
        _did();
    }

    function _convicted(uint256 lot, Lot memory l, uint256 treasury) private {
        Deal memory d = l.deal;
        uint256 mask = _maskIn(l.fact);
        uint256 bond = _bondOf(l.fact);
        uint256 given = 0;
        for (uint256 i = 0; i < l.fees.length; ++i) {
            given += l.fees[i];
        }
        uint256 done = _doneIn(l.fact);
        uint256 refund = d.money.price() - _shares(d, mask).back;
        uint256 rest = (_shares(d, mask).signers + _shares(d, mask).treasury - refund) * done;
        uint256 added = treasury + rest < _fee - given ? treasury + rest : _fee - given;
        owed[d.head.customer()] += refund * done;
        owed[l.challenger] += bond;
        owed[arbiter] += given + added;
        owed[address(market)] = owed[address(market)] + rest - added;
        inCases -= refund * done + bond + given + rest;
        _put(lot, l, State.Over);
        _mustBeWritten(lot);
    }

    function _acquitted(uint256 lot, Lot memory l, address bondTo) private {
        uint256 bond = _bondOf(l.fact);
        owed[bondTo] += bond;
        inCases -= bond + _move(l, true);
        uint256 began = l.until - _window;
        l.fact += uint96(((block.timestamp - began) << 32) + (1 << 72));
        delete l.fees;
        _lastDisputable = lot;
        _put(lot, l, State.Settled);
        _mustBeWritten(lot);
    }

    function judgeByAnother(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Disputed);
        if (!there) return;
        vm.prank(_somebody());
        try market.judge(_case(_get(lot)), true) {
            revert("judged by another");
        } catch {}
        _did();
    }

    function lapse(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Disputed);
        if (!there) return;
        if (_draw(0, 1) == 0) vm.warp(block.timestamp + _draw(_window, 2 * _window));
        _lapse(lot);
    }

    function _lapse(uint256 lot) private {
        Lot memory l = _get(lot);
        try market.lapse(_case(l)) {
            require(block.timestamp > l.until, "lapsed too early");
            _acquitted(lot, l, l.challenger);
            _did();
        } catch {
            require(block.timestamp <= l.until, "kept for ever");
        }
    }

    // ---- at the end

    function acts() external pure returns (string[38] memory) {
        return [
            "deposit", "depositFor", "depositWithPermit", "depositWithAuthorization", "depositAboveTheCap",
            "raiseDepositCap", "donate", "withdraw", "withdrawTooMuch", "withdrawTreasury", "withdrawBySig",
            "withdrawBySigAgain", "bump", "bumpBySig", "authorise", "setMood", "publish", "retire", "reclaim",
            "setFee", "setScheduler", "pause", "usurp", "wait", "waitLong", "matchPurchase", "matchBid",
            "matchMany", "clear", "settle", "settleMany", "settleByAnother", "endAgain", "expire",
            "expireMany", "hasten", "cancel", "cancelByAnother"
        ];
    }

    function actsOfCases() external pure returns (string[5] memory) {
        return ["challenge", "challengeFalsely", "judge", "judgeByAnother", "lapse"];
    }

    /// @notice Every lot's word is what its history says.
    function everyLotMustBeWritten() external view {
        for (uint8 state = 0; state <= uint8(State.Over); ++state) {
            uint256[] memory lots = lotsIn(State(state));
            for (uint256 i = 0; i < lots.length; ++i) {
                _mustBeWritten(lots[i]);
            }
        }
    }

    /// @notice With nobody but strangers acting and time passing, everybody takes everything out.
    function windDown() external {
        // The operator is gone and the market paused: neither can hold anything.
        vm.prank(_pauser);
        market.pause();
        uint256[] memory open = lotsIn(State.Open);
        uint256[] memory disputed = lotsIn(State.Disputed);
        uint256 last = block.timestamp + _window;
        for (uint256 i = 0; i < open.length; ++i) {
            uint256 deadline = uint40(_get(open[i]).due);
            if (deadline > last) last = deadline;
        }
        vm.warp(last + 1);
        for (uint256 i = 0; i < open.length; ++i) {
            _expire(open[i]);
        }
        for (uint256 i = 0; i < disputed.length; ++i) {
            _lapse(disputed[i]);
        }
        vm.warp(block.timestamp + 2 * _window);
        for (uint256 i = 0; i <= PEOPLE; ++i) {
            address who = i == PEOPLE ? arbiter : person(i);
            (uint256 free, uint256 waiting) = _free(who);
            require(waiting == 0, "earnings still wait");
            vm.prank(who);
            market.withdraw(address(this), uint64(free));
            withdrawn += free;
            owed[who] -= free;
        }
    }
}
