// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bump, Withdraw} from "../../../src/interfaces/Types.sol";
import {TypedData} from "../../../src/libraries/TypedData.sol";
import {DollarTypes} from "../Dollars.sol";
import {People} from "./People.sol";

/// @notice Money in and out, keys and eras.
abstract contract Purses is People {
    uint64 private _nonce;
    Withdraw[] private _used;
    bytes[] private _usedSignatures;
    mapping(uint256 person => uint40 until) internal _hotUntil;

    function _mint(address to, uint256 amount) private {
        dollar.mint(to, amount);
        vm.prank(to);
        dollar.approve(address(market), amount);
    }

    function _credited(address owner, uint256 amount) private {
        owed[owner] += amount;
        deposited += amount;
        _did();
    }

    /// @dev An amount that fits under the cap.
    function _amount() private returns (uint64) {
        (,,, uint64 cap, uint64 held) = market.config();
        uint256 room = cap - held;
        return uint64(_draw(0, room < 200e6 ? room : 200e6));
    }

    function deposit(uint256 seed) external act(seed) {
        address who = _somebody();
        uint64 amount = _amount();
        _mint(who, amount);
        vm.prank(who);
        market.deposit(amount);
        _credited(who, amount);
    }

    function depositFor(uint256 seed) external act(seed) {
        address from = _somebody();
        address to = _draw(0, 3) == 0 ? address(market) : _somebody();
        uint64 amount = _amount();
        _mint(from, amount);
        vm.prank(from);
        market.depositFor(to, amount);
        _credited(to, amount);
    }

    function depositWithPermit(uint256 seed) external act(seed) {
        uint256 i = _draw(0, WALLET - 1);
        uint64 amount = _amount();
        dollar.mint(person(i), amount);
        uint256 nonce = _dollarNonce(person(i));
        (uint8 v, bytes32 r, bytes32 s) =
            _signDollar(i, DollarTypes.permit(person(i), address(market), amount, nonce));
        vm.prank(person(i));
        market.depositWithPermit(amount, type(uint256).max, v, r, s);
        _credited(person(i), amount);
    }

    function _dollarNonce(address owner) private view returns (uint256) {
        (, bytes memory nonce) =
            address(dollar).staticcall(abi.encodeWithSignature("nonces(address)", owner));
        return abi.decode(nonce, (uint256));
    }

    function depositWithAuthorization(uint256 seed) external act(seed) {
        uint256 i = _draw(0, WALLET - 1);
        address to = _somebody();
        uint64 amount = _amount();
        bytes32 salt = bytes32(uint256(++_nonce));
        dollar.mint(person(i), amount);
        (uint8 v, bytes32 r, bytes32 s) =
            _signDollar(i, DollarTypes.receive_(person(i), address(market), amount, to, salt));
        // To nobody else, and not twice.
        try market.depositWithAuthorization(
            address(this), person(i), amount, salt, 0, type(uint256).max, v, r, s
        ) {
            revert("redirected");
        } catch {}
        market.depositWithAuthorization(to, person(i), amount, salt, 0, type(uint256).max, v, r, s);
        try market.depositWithAuthorization(to, person(i), amount, salt, 0, type(uint256).max, v, r, s) {
            revert("taken twice");
        } catch {}
        _credited(to, amount);
    }

    function depositAboveTheCap(uint256 seed) external act(seed) {
        (,,, uint64 cap, uint64 held) = market.config();
        uint256 amount = uint256(cap) - held + _draw(1, 1e6);
        if (amount > type(uint64).max) return;
        address who = _somebody();
        _mint(who, amount);
        vm.prank(who);
        try market.deposit(uint64(amount)) {
            revert("above the cap");
        } catch {}
        _did();
    }

    function raiseDepositCap(uint256 seed) external act(seed) {
        (,,, uint64 cap,) = market.config();
        vm.prank(_admin);
        market.raiseDepositCap(cap + uint64(_draw(1, 1_000e6)));
        _did();
    }

    function donate(uint256 seed) external act(seed) {
        uint256 amount = _draw(1, 10e6);
        dollar.mint(address(market), amount);
        donated += amount;
        _did();
    }

    function withdraw(uint256 seed) external act(seed) {
        address who = _draw(0, 4) == 0 ? arbiter : _somebody();
        uint64 amount = uint64(_draw(0, _spendable(who)));
        vm.prank(who);
        market.withdraw(who, amount);
        withdrawn += amount;
        _spent(who, amount);
        _did();
    }

    function withdrawTooMuch(uint256 seed) external act(seed) {
        address who = _somebody();
        uint64 amount = uint64(_spendable(who) + _draw(1, 1e12));
        vm.prank(who);
        try market.withdraw(who, amount) {
            revert("more than its own");
        } catch {}
        _did();
    }

    function withdrawTreasury(uint256 seed) external act(seed) {
        (uint256 free,) = _free(address(market));
        uint64 amount = uint64(_draw(0, free / 10));
        vm.prank(_admin);
        market.withdrawTreasury(_admin, amount);
        owed[address(market)] -= amount;
        withdrawn += amount;
        _did();
    }

    function withdrawBySig(uint256 seed) external act(seed) {
        uint256 i = _draw(0, PEOPLE - 1);
        if (!_willing(i)) return;
        uint256 most = _spendable(person(i));
        Withdraw memory order = Withdraw(
            person(i), address(this), uint96(_draw(0, most)), 0, ++_nonce, uint40(block.timestamp + _draw(0, 9))
        );
        order.fee = uint96(_draw(0, most - order.amount));
        bytes memory signature = _sign(i, keccak256(abi.encode(TypedData.WITHDRAW, order)));
        uint256 before = dollar.balanceOf(address(this));
        market.withdrawBySig(order, signature);
        uint256 amount = uint256(order.amount) + order.fee;
        require(dollar.balanceOf(address(this)) - before == amount, "sent something else");
        withdrawn += amount;
        _spent(person(i), amount);
        _used.push(order);
        _usedSignatures.push(signature);
        _did();
    }

    function withdrawBySigAgain(uint256 seed) external act(seed) {
        if (_used.length == 0) return;
        uint256 i = _draw(0, _used.length - 1);
        try market.withdrawBySig(_used[i], _usedSignatures[i]) {
            revert("spent twice");
        } catch {}
        _did();
    }

    function bump(uint256 seed) external act(seed) {
        address who = _somebody();
        uint32 era = _era(who);
        vm.prank(who);
        market.bump(era);
        require(_era(who) == era + 1, "another era");
        _did();
    }

    function bumpBySig(uint256 seed) external act(seed) {
        uint256 i = _draw(0, PEOPLE - 1);
        if (!_willing(i)) return;
        Bump memory order = Bump(person(i), _era(person(i)));
        bytes memory signature = _sign(i, keccak256(abi.encode(TypedData.BUMP, order)));
        market.bumpBySig(order, signature);
        try market.bumpBySig(order, signature) {
            revert("bumped twice");
        } catch {}
        _did();
    }

    function authorise(uint256 seed) external act(seed) {
        uint256 i = _draw(0, PEOPLE - 1);
        uint40 until = _draw(0, 3) == 0 ? 0 : uint40(block.timestamp + _draw(0, 3 days));
        vm.prank(person(i));
        market.authorise(_hotKey(i), until);
        _hotUntil[i] = until;
        _did();
    }
}
