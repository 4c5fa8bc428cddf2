// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../../../src/interfaces/ILots.sol";
import {Deal, Leg, Result} from "../../../src/interfaces/Types.sol";
import {Merkle} from "../../../src/libraries/Merkle.sol";
import {TypedData} from "../../../src/libraries/TypedData.sol";
import {Trees} from "../Trees.sol";
import {Orders} from "./Orders.sol";

/// @notice Open deals settled, refused, expired, hastened; and attempts to end them otherwise.
abstract contract Ends is Orders {
    uint48 private constant HASTENED = 1 << 40;

    /// @dev The disputable lot that was settled last, which is mostly still in its window.
    uint256 internal _lastDisputable;

    /// @dev A result: who signed it, and what of it is paid.
    struct Given {
        bytes32 root;
        uint16 done;
        uint256 mask;
        bytes[] signatures;
    }

    /// @dev What a task that is done pays: to the signers, the treasury, and back to the customer.
    struct Shares {
        uint256 signers;
        uint256 treasury;
        uint256 back;
        uint256 whole;
    }

    function _shares(Deal memory d, uint256 mask) internal pure returns (Shares memory s) {
        uint256 cost = _cost(d.legs, type(uint256).max);
        s.signers = _cost(d.legs, mask);
        s.whole = cost > d.money.price() ? cost : d.money.price();
        s.back = cost - s.signers < d.money.price() ? cost - s.signers : d.money.price();
        s.treasury = s.whole - s.signers - s.back;
    }

    // ---- settled

    function _result(Lot memory l, bool whole) private returns (Given memory g) {
        uint256 n = l.deal.legs.length;
        g.done = uint16(_draw(0, 5) == 0 ? 0 : _draw(1, l.deal.head.count()));
        g.root = g.done == 0 ? bytes32(uint256(l.due)) : Merkle.root(Trees.successes(l.deal.head.count()));
        g.mask = whole || _draw(0, 1) == 0 ? (1 << n) - 1 : _draw(0, (1 << n) - 1);
        g.signatures = new bytes[](n);
        bytes32 structHash = keccak256(abi.encode(TypedData.RESULT, Result(l.id, g.root, g.done)));
        for (uint256 i = 0; i < n; ++i) {
            if (g.mask >> i & 1 == 1) {
                g.signatures[i] =
                    l.hot[i] ? _signHot(l.sellers[i], structHash) : _sign(l.sellers[i], structHash);
            }
        }
    }

    function _ones(uint256 mask) internal pure returns (uint256 n) {
        for (; mask != 0; mask &= mask - 1) {
            ++n;
        }
    }

    function _sound(Lot memory l, Given memory g, address sender) private view returns (bool) {
        if (block.timestamp > uint40(l.due)) return false;
        Deal memory d = l.deal;
        for (uint256 i = 0; i < d.legs.length; ++i) {
            if (g.mask >> i & 1 == 0) continue;
            if (!l.hot[i] && !_willing(l.sellers[i])) return false;
            (uint256 free,) = _free(d.legs[i].share.provider());
            if (d.head.disputable() && g.done != 0 && free < _surety) return false;
        }
        uint256 signed = _ones(g.mask);
        if (signed == d.legs.length) return true;
        bool late = block.timestamp + _grace >= uint40(l.due);
        return signed >= d.head.quorum() && (sender == _scheduler || late);
    }

    /// @dev Books what a settled or refused deal paid.
    function _ended(uint256 lot, Lot memory l, Given memory g) private {
        Deal memory d = l.deal;
        Shares memory s = _shares(d, g.mask);
        uint256 undone = d.head.count() - g.done;
        inDeals -= s.whole * d.head.count();
        owed[d.head.customer()] += d.money.price() * undone + s.back * g.done;
        owed[address(market)] += s.treasury * g.done + (s.whole - d.money.price()) * undone;
        for (uint256 i = 0; i < d.legs.length; ++i) {
            if (g.mask >> i & 1 == 1) owed[d.legs[i].share.provider()] += d.legs[i].share.pay() * g.done;
        }
        l.root = g.root;
        l.fact = uint96(g.done | (g.mask << 16) | (block.timestamp << 32));
        if (d.head.disputable() && g.done != 0) _lastDisputable = lot;
        _put(lot, l, g.done == 0 ? State.Free : State.Settled);
        _mustBeWritten(lot);
        _did();
    }

    function settle(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Open);
        if (!there) return;
        Lot memory l = _get(lot);
        Given memory g = _result(l, false);
        address sender = _draw(0, 1) == 0 ? _scheduler : _somebody();
        bool sound = _sound(l, g, sender);
        vm.prank(sender);
        try market.settle(l.deal, l.due, g.root, g.done, g.signatures) {
            require(sound, "an unsound result");
            _ended(lot, l, g);
        } catch {
            require(!sound, "a sound result refused");
        }
    }

    /// @dev All that are open, the first of them twice; each is booked by what the market wrote.
    function settleMany(uint256 seed) external act(seed) {
        uint256[] memory lots = lotsIn(State.Open);
        if (lots.length == 0) return;
        uint256 n = _draw(1, lots.length < 4 ? lots.length : 4);
        Given[] memory results = new Given[](n);
        bytes[] memory calls = new bytes[](n + 1);
        for (uint256 i = 0; i < n; ++i) {
            Lot memory l = _get(lots[i]);
            results[i] = _result(l, true);
            calls[i] = abi.encodeCall(
                ILots.settle, (l.deal, l.due, results[i].root, results[i].done, results[i].signatures)
            );
        }
        calls[n] = calls[0];
        market.settleMany(calls);
        for (uint256 i = 0; i < n; ++i) {
            Lot memory l = _get(lots[i]);
            if (market.lot(l.order, l.index) != wordOf(lots[i])) _ended(lots[i], l, results[i]);
        }
    }

    function settleByAnother(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Open);
        if (!there) return;
        Lot memory l = _get(lot);
        bytes32 structHash = keccak256(abi.encode(TypedData.RESULT, Result(l.id, "root", 1)));
        bytes[] memory signatures = new bytes[](l.sellers.length);
        for (uint256 i = 0; i < signatures.length; ++i) {
            // Of the other kind of key, or of another person.
            uint256 another = (l.sellers[i] + 1) % WALLET;
            signatures[i] = _draw(0, 1) == 0 ? _sign(another, structHash) : _signHot(another, structHash);
        }
        // Were the first leg the wallet, it would agree to anything.
        if (l.sellers[0] == WALLET && !l.hot[0]) return;
        vm.prank(_scheduler);
        try market.settle(l.deal, l.due, "root", 1, signatures) {
            revert("paid for a stranger's word");
        } catch {}
        _did();
    }

    /// @dev What has ended does not end again: every way out of an open deal is tried.
    function endAgain(uint256 seed) external act(seed) {
        State state = [State.Settled, State.Disputed, State.Over][_draw(0, 2)];
        (bool there, uint256 lot) = _any(state);
        if (!there) return;
        Lot memory l = _get(lot);
        if (l.deal.legs.length == 0) return; // closed before it was ever matched
        Given memory g = _result(l, true);
        vm.startPrank(_scheduler);
        try market.settle(l.deal, l.due, g.root, g.done, g.signatures) {
            revert("paid twice");
        } catch {}
        try market.expire(l.deal, l.due) {
            revert("paid and given back");
        } catch {}
        try market.hasten(l.deal, l.due) {
            revert("hastened after its end");
        } catch {}
        vm.stopPrank();
        _mustBeWritten(lot);
        _did();
    }

    // ---- given up

    function _expired(uint256 lot, Lot memory l) private {
        Deal memory d = l.deal;
        uint256 whole = _shares(d, 0).whole;
        inDeals -= whole * d.head.count();
        owed[d.head.customer()] += d.money.price() * d.head.count();
        owed[address(market)] += (whole - d.money.price()) * d.head.count();
        _put(lot, l, State.Free);
        _mustBeWritten(lot);
        _did();
    }

    function expire(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Open);
        if (there) _expire(lot);
    }

    function _expire(uint256 lot) internal {
        Lot memory l = _get(lot);
        try market.expire(l.deal, l.due) {
            require(block.timestamp > uint40(l.due), "too early");
            _expired(lot, l);
        } catch {
            require(block.timestamp <= uint40(l.due), "kept after the deadline");
        }
    }

    function expireMany(uint256 seed) external act(seed) {
        uint256[] memory lots = lotsIn(State.Open);
        if (lots.length > 2) {
            assembly {
                mstore(lots, 2) // not all, so that some are left to be expired alone
            }
        }
        if (_draw(0, 3) == 0) vm.warp(block.timestamp + _draw(0, 3000));
        bytes[] memory calls = new bytes[](lots.length);
        for (uint256 i = 0; i < lots.length; ++i) {
            Lot memory l = _get(lots[i]);
            calls[i] = abi.encodeCall(ILots.expire, (l.deal, l.due));
        }
        market.expireMany(calls);
        for (uint256 i = 0; i < lots.length; ++i) {
            Lot memory l = _get(lots[i]);
            bool over = market.lot(l.order, l.index) == 0;
            require(over == (block.timestamp > uint40(l.due)), "expired at another time");
            if (over) _expired(lots[i], l);
        }
    }

    function hasten(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Open);
        if (!there) return;
        Lot memory l = _get(lot);
        uint256 sooner = block.timestamp + _grace;
        vm.prank(_scheduler);
        try market.hasten(l.deal, l.due) {
            require(sooner < uint40(l.due), "later");
            l.due = uint48(sooner) | HASTENED;
            _put(lot, l, State.Open);
            _mustBeWritten(lot);
            _did();
        } catch {
            require(sooner >= uint40(l.due), "not hastened");
        }
    }
}
