// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDesk} from "../../../src/interfaces/IDesk.sol";
import {ILots} from "../../../src/interfaces/ILots.sol";
import {Ask, Bid, Cancel, Deal, Leg, Offer, Purchase, SignedAsk} from "../../../src/interfaces/Types.sol";
import {TypedData} from "../../../src/libraries/TypedData.sol";
import {dealId, packCharge, packHead, packLeg} from "../Packed.sol";
import {Offices} from "./Offices.sol";

/// @notice Purchases and bids matched, one by one, in batches and at one price; free lots closed.
abstract contract Orders is Offices {
    uint256 private constant SLOTS = 2;
    /// @dev Bids are numbered like offers, after them.
    uint256 private constant BID = type(uint256).max;

    enum State {
        Free,
        Open,
        Settled,
        Disputed,
        Over
    }

    /// @dev A lot of an order, and the last deal that it was matched in.
    struct Lot {
        uint256 offer; // or BID
        Purchase purchase;
        Bid bid;
        uint256 who;
        uint32 index;
        bytes32 order;
        // the deal
        Deal deal;
        bytes32 id;
        uint48 due;
        uint256[] sellers; // of each leg
        bool[] hot; // whether its machine's key signed
        // when it was settled
        bytes32 root;
        uint96 fact;
        // the case
        address challenger;
        uint40 until;
        bytes32 claim;
        uint64[] fees;
    }

    mapping(uint256 lot => bytes) private _lots;
    mapping(uint256 lot => State) private _states;
    mapping(State => uint256[]) private _in;
    mapping(uint256 lot => uint256) private _at;
    uint256 private _count;
    uint64 private _nonce;

    // ---- the lots

    function _get(uint256 lot) internal view returns (Lot memory) {
        return abi.decode(_lots[lot], (Lot));
    }

    function lotsIn(State state) public view returns (uint256[] memory) {
        return _in[state];
    }

    function stateOf(uint256 lot) public view returns (State) {
        return _states[lot];
    }

    function _any(State state) internal returns (bool there, uint256 lot) {
        uint256 n = _in[state].length;
        if (n == 0) return (false, 0);
        // Mostly one of the last, for which it is not too late yet.
        uint256 first = n > 4 && _draw(0, 3) != 0 ? n - 4 : 0;
        return (true, _in[state][_draw(first, n - 1)]);
    }

    function _put(uint256 lot, Lot memory l, State state) internal {
        _lots[lot] = abi.encode(l);
        uint256[] storage from = _in[_states[lot]];
        uint256 last = from[from.length - 1];
        from[_at[lot]] = last;
        _at[last] = _at[lot];
        from.pop();
        _file(lot, state);
    }

    function _file(uint256 lot, State state) private {
        _states[lot] = state;
        _at[lot] = _in[state].length;
        _in[state].push(lot);
    }

    /// @notice What the market must have written for the lot.
    function wordOf(uint256 lot) public view returns (bytes32) {
        State state = _states[lot];
        Lot memory l = _get(lot);
        if (state == State.Free) return 0;
        if (state == State.Open) return keccak256(abi.encode(l.id, l.due));
        if (state == State.Settled) return keccak256(abi.encode(l.id, l.root, l.fact));
        if (state == State.Disputed) {
            bytes32 fees = keccak256(abi.encodePacked(l.fees));
            return keccak256(abi.encode(l.id, l.root, l.fact, l.challenger, l.until, l.claim, fees));
        }
        return l.id == 0 ? bytes32(uint256(1)) : bytes32(uint256(2)); // closed, or judged guilty
    }

    function _mustBeWritten(uint256 lot) internal view {
        Lot memory l = _get(lot);
        require(market.lot(l.order, l.index) == wordOf(lot), "another word");
    }

    // ---- orders

    /// @dev A new order, or a lot that became free again.
    function _freeLot(bool bid) private returns (uint256 lot) {
        bool there;
        if (_draw(0, 3) == 0) {
            (there, lot) = _any(State.Free);
            if (there && (_get(lot).offer == BID) == bid) return lot;
        }
        Lot memory l;
        l.who = _draw(0, PEOPLE - 1);
        uint32 tasks = uint32(_draw(1, 9));
        uint16 size = uint16(_draw(1, tasks));
        l.index = uint32(_draw(0, (tasks - 1) / size));
        if (bid) _newBid(l, tasks, size);
        else _newPurchase(l, tasks, size);
        lot = _count++;
        _lots[lot] = abi.encode(l);
        _file(lot, State.Free);
    }

    function _newPurchase(Lot memory l, uint32 tasks, uint16 size) private {
        l.offer = _draw(0, _offers.length - 1);
        Offer memory offer = _offers[l.offer];
        l.purchase = Purchase(
            person(l.who),
            keccak256(abi.encode(offer)),
            offer.price,
            tasks,
            size,
            keccak256("job"),
            type(uint40).max,
            type(uint40).max,
            _era(person(l.who)),
            ++_nonce
        );
        l.order = _digest(keccak256(abi.encode(TypedData.PURCHASE, l.purchase)));
    }

    function _newBid(Lot memory l, uint32 tasks, uint16 size) private {
        l.offer = BID;
        l.bid = Bid(
            person(l.who),
            _offers[0].product,
            uint96(_draw(0, 8e6)),
            tasks,
            size,
            uint8(_draw(1, 2)),
            keccak256("job"),
            _draw(0, 1) == 0 ? address(0) : address(market),
            type(uint40).max,
            type(uint40).max,
            _era(person(l.who)),
            ++_nonce
        );
        l.order = _digest(keccak256(abi.encode(TypedData.BID, l.bid)));
    }

    // ---- matches

    /// @dev The asks of up to three people who are not the customer, and the deal that they must open.
    /// @param uniform The one price of `clear`, or -1.
    function _ask(Lot memory l, int256 uniform) private returns (SignedAsk[] memory asks) {
        bool bid = l.offer == BID;
        uint256 n = _draw(bid ? l.bid.quorum : _offers[l.offer].quorum, 3);
        uint256 most = bid ? 3e6 / n : _offers[l.offer].maxCost / n;
        asks = new SignedAsk[](n);
        Leg[] memory legs = new Leg[](n);
        l.sellers = new uint256[](n);
        l.hot = new bool[](n);
        uint256 from = _draw(1, PEOPLE - 1);
        for (uint256 i = 0; i < n; ++i) {
            uint256 seller = (l.who + 1 + (from + i) % (PEOPLE - 1)) % PEOPLE;
            l.sellers[i] = seller;
            l.hot[i] = _hotUntil[seller] >= block.timestamp && _draw(0, 1) == 0;
            asks[i] = _signedAsk(l, i, uint96(_draw(1, most)));
            address key = l.hot[i] ? _hotKey(seller) : person(seller);
            legs[i] = packLeg(person(seller), key, uniform < 0 ? asks[i].ask.price : uint96(uint256(uniform)));
        }
        _deal(l, legs);
    }

    function _signedAsk(Lot memory l, uint256 i, uint96 price) private view returns (SignedAsk memory signed) {
        uint256 seller = l.sellers[i];
        signed.ask = Ask(
            person(seller),
            _offers[0].product,
            price,
            uint16(SLOTS),
            3,
            address(0),
            address(0),
            type(uint40).max,
            _era(person(seller))
        );
        bytes32 structHash = keccak256(abi.encode(TypedData.ASK, signed.ask));
        signed.signature = l.hot[i] ? _signHot(seller, structHash) : _sign(seller, structHash);
    }

    function _deal(Lot memory l, Leg[] memory legs) private view {
        (, uint16 feeBps,,,) = market.config();
        uint256 cost = _cost(legs, type(uint256).max);
        bool bid = l.offer == BID;
        (uint256 tasks, uint256 size) = bid ? (l.bid.tasks, l.bid.lot) : (l.purchase.tasks, l.purchase.lot);
        uint256 left = tasks - size * l.index;
        uint16 count = uint16(left < size ? left : size);
        l.deal.order = l.order;
        l.deal.legs = legs;
        if (bid) {
            uint256 fee = cost * feeBps / 10_000;
            l.deal.head = packHead(person(l.who), l.index, count, l.bid.quorum, false);
            l.deal.money = packCharge(uint96(cost + fee), uint96(fee));
        } else {
            Offer memory offer = _offers[l.offer];
            uint256 margin = cost < offer.price ? offer.price - cost : 0;
            uint256 most = uint256(offer.price) * feeBps / 10_000;
            l.deal.head = packHead(person(l.who), l.index, count, offer.quorum, offer.disputable);
            l.deal.money = packCharge(offer.price, uint96(margin < most ? margin : most));
        }
        l.id = dealId(l.deal);
        uint256 rounds = (count + SLOTS - 1) / SLOTS;
        l.due = uint48(block.timestamp + _grace + rounds * uint32(uint256(_offers[0].product)));
    }

    /// @dev What the legs in the mask are paid together for one task.
    function _cost(Leg[] memory legs, uint256 mask) internal pure returns (uint256 cost) {
        for (uint256 i = 0; i < legs.length; ++i) {
            if (mask >> i & 1 == 1) cost += legs[i].share.pay();
        }
    }

    /// @dev Whether the market must take the match, going by its rules alone.
    function _sound(Lot memory l) private view returns (bool) {
        if (_paused() || !_willing(l.who)) return false;
        for (uint256 i = 0; i < l.sellers.length; ++i) {
            (uint256 free,) = _free(person(l.sellers[i]));
            if (free < _surety || !(l.hot[i] || _willing(l.sellers[i]))) return false;
        }
        Deal memory d = l.deal;
        if (l.offer == BID) {
            if (d.money.price() > l.bid.price || l.bid.era != _era(d.head.customer())) return false;
        } else {
            if (l.purchase.era != _era(d.head.customer())) return false;
            (uint40 until,) = market.bundles(l.purchase.bundle);
            if (block.timestamp > until) return false;
            if (_fromFloat(l) > floats[l.purchase.bundle]) return false;
        }
        return _canPay(d.head.customer(), d.money.price() * d.head.count());
    }

    function _fromFloat(Lot memory l) private pure returns (uint256) {
        if (l.offer == BID) return 0;
        uint256 cost = _cost(l.deal.legs, type(uint256).max);
        uint256 price = l.purchase.price;
        return cost > price ? (cost - price) * l.deal.head.count() : 0;
    }

    function _call(Lot memory l, SignedAsk[] memory asks) private view returns (bytes memory) {
        if (l.offer == BID) {
            bytes memory bids = _sign(l.who, keccak256(abi.encode(TypedData.BID, l.bid)));
            return abi.encodeCall(ILots.matchBid, (l.bid, bids, l.index, asks));
        }
        bytes memory signature = _sign(l.who, keccak256(abi.encode(TypedData.PURCHASE, l.purchase)));
        Offer memory offer = _offers[l.offer];
        return abi.encodeCall(ILots.matchPurchase, (l.purchase, signature, offer, l.index, asks));
    }

    /// @dev Books a deal that was opened.
    function _opened(uint256 lot, Lot memory l) private {
        Deal memory d = l.deal;
        uint256 fromFloat = _fromFloat(l);
        uint256 price = d.money.price() * d.head.count();
        if (fromFloat != 0) floats[l.purchase.bundle] -= fromFloat;
        inDeals += price + fromFloat;
        _put(lot, l, State.Open);
        _mustBeWritten(lot);
        owed[d.head.customer()] -= price;
        _did();
    }

    function _matchOne(bool bid) private {
        uint256 lot = _freeLot(bid);
        Lot memory l = _get(lot);
        SignedAsk[] memory asks = _ask(l, -1);
        bytes memory call = _call(l, asks);
        bool sound = _sound(l);
        vm.prank(bid && l.bid.matcher == address(0) ? _somebody() : _scheduler);
        (bool ok,) = address(market).call(call);
        require(ok == sound, sound ? "a sound match refused" : "an unsound match");
        if (ok) {
            _opened(lot, l);
            (uint256 free, uint256 waiting) = _free(l.deal.head.customer());
            require(waiting == 0 || free >= _surety, "bought with its surety");
        }
    }

    function matchPurchase(uint256 seed) external act(seed) {
        _matchOne(false);
    }

    function matchBid(uint256 seed) external act(seed) {
        _matchOne(true);
    }

    /// @dev Many, the first of them twice; each is booked by what the market wrote.
    function matchMany(uint256 seed) external act(seed) {
        uint256 n = _draw(2, 4);
        uint256[] memory lots = new uint256[](n);
        Lot[] memory drafts = new Lot[](n);
        bytes[] memory calls = new bytes[](n + 1);
        for (uint256 i = 0; i < n; ++i) {
            lots[i] = _freeLot(_draw(0, 1) == 0);
            drafts[i] = _get(lots[i]);
            calls[i] = _call(drafts[i], _ask(drafts[i], -1));
        }
        calls[n] = calls[0];
        vm.prank(_scheduler);
        market.matchMany(calls);
        _bookOpened(lots, drafts);
    }

    function clear(uint256 seed) external act(seed) {
        uint96 price = uint96(_draw(1, 2e6));
        uint256 n = _draw(1, 4);
        uint256[] memory lots = new uint256[](n);
        Lot[] memory drafts = new Lot[](n);
        bytes[] memory calls = new bytes[](n);
        for (uint256 i = 0; i < n; ++i) {
            lots[i] = _freeLot(true);
            drafts[i] = _get(lots[i]);
            calls[i] = _call(drafts[i], _ask(drafts[i], int256(uint256(price))));
        }
        vm.prank(_scheduler);
        market.clear(price, "batch", calls);
        _bookOpened(lots, drafts);
    }

    function _bookOpened(uint256[] memory lots, Lot[] memory drafts) private {
        for (uint256 i = 0; i < lots.length; ++i) {
            Lot memory l = drafts[i];
            if (_states[lots[i]] != State.Free) continue; // twice in the batch
            bytes32 word = market.lot(l.order, l.index);
            if (word == keccak256(abi.encode(l.id, l.due))) _opened(lots[i], l);
        }
    }

    // ---- closed

    function cancel(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Free);
        if (!there) return;
        Lot memory l = _get(lot);
        bool bySig = _willing(l.who) && _draw(0, 1) == 0;
        bytes memory signature = _sign(l.who, keccak256(abi.encode(TypedData.CANCEL, Cancel(l.order, l.index))));
        if (!bySig) vm.prank(person(l.who));
        if (l.offer == BID) {
            if (bySig) market.cancelBidBySig(l.bid, l.index, signature);
            else market.cancelBid(l.bid, l.index);
        } else {
            if (bySig) market.cancelBySig(l.purchase, l.index, signature);
            else market.cancel(l.purchase, l.index);
        }
        l.id = 0;
        _put(lot, l, State.Over);
        _mustBeWritten(lot);
        _did();
    }

    function cancelByAnother(uint256 seed) external act(seed) {
        (bool there, uint256 lot) = _any(State.Free);
        if (!there) return;
        Lot memory l = _get(lot);
        vm.prank(person((l.who + 1) % PEOPLE));
        bytes memory call = l.offer == BID
            ? abi.encodeCall(IDesk.cancelBid, (l.bid, l.index))
            : abi.encodeCall(IDesk.cancel, (l.purchase, l.index));
        (bool ok,) = address(market).call(call);
        require(!ok, "another's lot closed");
        _did();
    }
}
