// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Deal, Leg, Offer, Purchase, Result, SignedAsk} from "../../src/interfaces/Types.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";
import {Dollar, MarketWithRoles} from "./Fixture.sol";
import {dealId, packCharge, packHead, packLeg} from "./Packed.sol";
import {Vm, within} from "./Vm.sol";

/// @notice Calls the market as its parties would, and as they should not, and keeps its own books beside it.
/// @dev People are numbered; each buys and sells. Every entry point is here, most with inputs that succeed, the
/// hostile ones asserting that they fail.
contract Handler {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 public constant PEOPLE = 4;
    uint256 private constant FIRST_KEY = 0x1000;

    struct Open {
        Deal deal;
        bytes32 id;
        uint48 due;
        uint256 provider;
        Purchase purchase;
    }

    MarketWithRoles public immutable market;
    Dollar public immutable dollar;
    address private immutable _scheduler;
    address private immutable _pricing;
    address private immutable _admin;
    address private immutable _pauser;

    Offer[] private _offers;
    bytes32[] public bundles;
    bytes[] private _open; // each an encoded Open
    bytes[] private _ended;
    Purchase[] private _idle;
    uint64 private _nonce;

    /// @dev The books: what each deal paid out, and how often.
    mapping(bytes32 id => uint256) public settlements;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public donated;
    uint256 public spent;
    uint256 public earned;

    constructor(
        MarketWithRoles market_,
        Dollar dollar_,
        address[4] memory roles,
        Offer[] memory offers,
        uint256 treasury
    ) {
        market = market_;
        dollar = dollar_;
        (_admin, _pricing, _scheduler, _pauser) = (roles[0], roles[1], roles[2], roles[3]);
        for (uint256 i = 0; i < offers.length; ++i) {
            _offers.push(offers[i]);
            bundles.push(keccak256(abi.encode(offers[i])));
        }
        deposited = treasury;
    }

    // ---- who and what

    function person(uint256 i) public pure returns (address) {
        return vm.addr(FIRST_KEY + i % PEOPLE);
    }

    function _another(uint256 i, uint256 than) private pure returns (uint256) {
        return i % PEOPLE == than % PEOPLE ? i % PEOPLE + 1 : i % PEOPLE;
    }

    function openDeals() external view returns (uint256) {
        return _open.length;
    }

    /// @notice What the open deals hold: for each the larger of price and cost, for every task.
    function inDeals() external view returns (uint256 sum) {
        for (uint256 i = 0; i < _open.length; ++i) {
            Deal memory deal = _at(i).deal;
            uint256 cost = deal.legs[0].share.pay();
            uint256 price = deal.money.price();
            sum += (cost > price ? cost : price) * deal.head.count();
        }
    }

    function bundleCount() external view returns (uint256) {
        return bundles.length;
    }

    function _at(uint256 i) private view returns (Open memory) {
        return abi.decode(_open[i], (Open));
    }

    function _free(address owner) private view returns (uint64 free, uint64 waiting) {
        uint64 cur;
        uint64 prev;
        (free, cur, prev,) = market.account(owner);
        waiting = cur + prev;
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Prixfixe"),
                keccak256("1"),
                block.chainid,
                address(market)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _sign(uint256 i, bytes32 structHash) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(FIRST_KEY + i % PEOPLE, _digest(structHash));
        return abi.encodePacked(r, s, v);
    }

    // ---- money in and out

    function deposit(uint256 who, uint64 amount) external {
        amount = uint64(within(amount, 0, 500e6));
        dollar.mint(person(who), amount);
        vm.startPrank(person(who));
        dollar.approve(address(market), amount);
        market.deposit(amount);
        vm.stopPrank();
        deposited += amount;
    }

    function withdraw(uint256 who, uint64 amount) external {
        (uint64 free, uint64 waiting) = _free(person(who));
        uint64 surety = waiting == 0 ? 0 : market.policy().surety;
        if (free < surety) return;
        amount = uint64(within(amount, 0, free - surety));
        vm.prank(person(who));
        market.withdraw(person(who), amount);
        withdrawn += amount;
    }

    function withdrawTooMuch(uint256 who, uint64 more) external {
        (uint64 free, uint64 waiting) = _free(person(who));
        uint64 surety = waiting == 0 ? 0 : market.policy().surety;
        uint64 most = free > surety ? free - surety : 0;
        more = uint64(within(more, 1, 1e12));
        vm.prank(person(who));
        try market.withdraw(person(who), most + more) {
            revert("more than its own");
        } catch {}
    }

    function withdrawTreasury(uint64 amount) external {
        (uint64 free,) = _free(address(market));
        amount = uint64(within(amount, 0, free / 10));
        vm.prank(_admin);
        market.withdrawTreasury(_admin, amount);
        withdrawn += amount;
    }

    function donate(uint64 amount) external {
        amount = uint64(within(amount, 0, 10e6));
        dollar.mint(address(market), amount);
        donated += amount;
    }

    function bump(uint256 who) external {
        (,,, uint32 era) = market.account(person(who));
        vm.prank(person(who));
        market.bump(era);
    }

    // ---- bundles

    function publish(uint256 which, uint96 float_, uint32 longer) external {
        which %= _offers.length;
        (uint40 until,) = market.bundles(bundles[which]);
        uint256 from = until > block.timestamp ? until : block.timestamp + 1;
        (uint64 free,) = _free(address(market));
        float_ = uint96(within(float_, 0, free / 4));
        vm.prank(_pricing);
        market.publish(_offers[which], uint40(from + longer % 10 days), float_);
    }

    function retire(uint256 which, uint32 later) external {
        bytes32 id = bundles[which % bundles.length];
        vm.prank(_pricing);
        try market.retire(id, uint40(block.timestamp + 1 hours + later % 1 days)) {} catch {}
    }

    function reclaim(uint256 which) external {
        try market.reclaim(bundles[which % bundles.length]) {} catch {}
    }

    function setFee(uint16 feeBps) external {
        vm.prank(_admin);
        market.setFee(uint16(within(feeBps, 0, 500)));
    }

    // ---- lots

    function matchPurchase(uint256 who, uint256 with_, uint256 which, uint96 pay, uint16 tasks) external {
        with_ = _another(with_, who);
        Offer memory offer = _offers[which % _offers.length];
        Purchase memory p = Purchase(
            person(who),
            keccak256(abi.encode(offer)),
            offer.price,
            uint32(within(tasks, 1, 9)),
            0,
            keccak256("job"),
            type(uint40).max,
            type(uint40).max,
            0,
            ++_nonce
        );
        p.lot = uint16(p.tasks);
        (,,, p.era) = market.account(p.customer);
        _match(p, who, with_, offer, pay);
    }

    function rematch(uint256 i, uint256 with_, uint96 pay) external {
        if (_idle.length == 0) return;
        i %= _idle.length;
        Purchase memory p = _idle[i];
        uint256 who = 0;
        while (person(who) != p.customer) ++who;
        with_ = _another(with_, who);
        uint256 which = p.bundle == bundles[0] ? 0 : 1;
        if (_match(p, who, with_, _offers[which], pay)) {
            _idle[i] = _idle[_idle.length - 1];
            _idle.pop();
        }
    }

    function _askBy(uint256 with_, Offer memory offer, uint96 pay) private view returns (Ask memory ask) {
        ask.provider = person(with_);
        ask.product = offer.product;
        ask.price = uint96(within(pay, 1, offer.maxCost));
        ask.slots = 3;
        ask.kinds = 2;
        ask.expiry = type(uint40).max;
        (,,, ask.era) = market.account(ask.provider);
    }

    /// @dev The deal that the match must open.
    function _deal(Purchase memory p, Offer memory offer, Ask memory ask)
        private
        view
        returns (Deal memory deal)
    {
        (, uint16 feeBps,,,) = market.config();
        uint256 margin = ask.price < offer.price ? offer.price - ask.price : 0;
        uint256 most = uint256(offer.price) * feeBps / 10_000;
        deal.order = _digest(keccak256(abi.encode(TypedData.PURCHASE, p)));
        deal.head = packHead(p.customer, 0, uint16(p.tasks), 1, offer.disputable);
        deal.money = packCharge(offer.price, uint96(margin < most ? margin : most));
        deal.legs = new Leg[](1);
        deal.legs[0] = packLeg(ask.provider, ask.provider, ask.price);
    }

    function _match(Purchase memory p, uint256 who, uint256 with_, Offer memory offer, uint96 pay)
        private
        returns (bool)
    {
        SignedAsk[] memory asks = new SignedAsk[](1);
        asks[0].ask = _askBy(with_, offer, pay);
        asks[0].signature = _sign(with_, keccak256(abi.encode(TypedData.ASK, asks[0].ask)));
        Open memory o;
        o.deal = _deal(p, offer, asks[0].ask);
        o.id = dealId(o.deal);
        o.due = uint48(
            block.timestamp + market.policy().grace
                + uint32(uint256(offer.product)) * ((uint256(p.tasks) + 2) / 3)
        );
        o.provider = with_;
        o.purchase = p;
        bytes memory signature = _sign(who, keccak256(abi.encode(TypedData.PURCHASE, p)));
        vm.prank(_scheduler);
        try market.matchPurchase(p, signature, offer, 0, asks) returns (bytes32 id) {
            require(id == o.id, "another deal");
            _open.push(abi.encode(o));
            return true;
        } catch {
            return false;
        }
    }

    function _close(uint256 i, bool paid) private {
        if (paid) _ended.push(_open[i]);
        else _idle.push(_at(i).purchase);
        if (i != _open.length - 1) _open[i] = _open[_open.length - 1];
        _open.pop();
    }

    function _result(Open memory o, bytes32 root, uint16 done) private view returns (bytes[] memory signatures) {
        signatures = new bytes[](1);
        signatures[0] =
            _sign(o.provider, keccak256(abi.encode(TypedData.RESULT, Result(o.id, root, done))));
    }

    function settle(uint256 i, uint16 done) external {
        if (_open.length == 0) return;
        i %= _open.length;
        Open memory o = _at(i);
        done = uint16(within(done, 0, o.deal.head.count()));
        bytes32 root = done == 0 ? bytes32(uint256(o.due)) : keccak256("root");
        bool late = block.timestamp > uint40(o.due);
        (uint64 free,) = _free(o.deal.legs[0].share.provider());
        bool bare = done != 0 && o.deal.head.disputable() && free < market.policy().surety;
        try market.settle(o.deal, o.due, root, done, _result(o, root, done)) {
            require(!late && !bare, "late, or without surety");
            if (done != 0) {
                ++settlements[o.id];
                spent += o.deal.money.price() * done;
                earned += o.deal.legs[0].share.pay() * done;
            } else {
            }
            _close(i, done != 0);
        } catch {
            require(late || bare, "a result refused in time");
        }
    }

    function settleAgain(uint256 i, uint16 done) external {
        if (_ended.length == 0) return;
        Open memory o = abi.decode(_ended[i % _ended.length], (Open));
        done = uint16(within(done, 1, o.deal.head.count()));
        try market.settle(o.deal, o.due, "root", done, _result(o, "root", done)) {
            revert("paid twice");
        } catch {}
        try market.expire(o.deal, o.due) {
            revert("paid and given back");
        } catch {}
    }

    function settleByAnother(uint256 i, uint256 by) external {
        if (_open.length == 0) return;
        Open memory o = _at(i % _open.length);
        if (by % PEOPLE == o.provider % PEOPLE) return;
        o.provider = by;
        try market.settle(o.deal, o.due, "root", 1, _result(o, "root", 1)) {
            revert("paid for a stranger's word");
        } catch {}
    }

    function expire(uint256 i) external {
        if (_open.length == 0) return;
        i %= _open.length;
        Open memory o = _at(i);
        bool early = block.timestamp <= uint40(o.due);
        try market.expire(o.deal, o.due) {
            require(!early, "too early");
            _close(i, false);
        } catch {
            require(early, "kept after the deadline");
        }
    }

    function hasten(uint256 i) external {
        if (_open.length == 0) return;
        i %= _open.length;
        Open memory o = _at(i);
        uint256 sooner = block.timestamp + market.policy().grace;
        vm.prank(_scheduler);
        try market.hasten(o.deal, o.due) {
            require(sooner < uint40(o.due), "later");
            o.due = uint48(sooner | (1 << 40));
            _open[i] = abi.encode(o);
        } catch {}
    }

    function cancel(uint256 i) external {
        if (_idle.length == 0) return;
        i %= _idle.length;
        vm.prank(_idle[i].customer);
        market.cancel(_idle[i], 0);
        _idle[i] = _idle[_idle.length - 1];
        _idle.pop();
    }

    // ---- time

    function wait(uint32 time) external {
        vm.warp(block.timestamp + within(time, 0, 400));
    }

    function waitLong(uint32 time) external {
        vm.warp(block.timestamp + within(time, 400, 30 hours));
    }

    /// @notice With nobody but strangers acting and time passing, everybody takes everything out.
    function windDown() external {
        // The operator is gone and the market paused: neither can hold anything.
        vm.prank(_pauser);
        market.pause();
        uint256 last = block.timestamp;
        for (uint256 i = 0; i < _open.length; ++i) {
            uint256 deadline = uint40(_at(i).due);
            if (deadline > last) last = deadline;
        }
        vm.warp(last + 1);
        while (_open.length > 0) {
            Open memory o = _at(_open.length - 1);
            market.expire(o.deal, o.due);
            _open.pop();
        }
        vm.warp(block.timestamp + 2 * market.policy().window);
        for (uint256 i = 0; i < PEOPLE; ++i) {
            (uint64 free, uint64 waiting) = _free(person(i));
            require(waiting == 0, "earnings still wait");
            vm.prank(person(i));
            market.withdraw(person(i), free);
            withdrawn += free;
        }
    }
}
