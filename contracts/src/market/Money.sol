// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IDesk} from "../interfaces/IDesk.sol";
import {IMarketState} from "../interfaces/IMarketState.sol";
import {Bid, Bump, Cancel, Purchase, Withdraw} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Lots} from "../libraries/Lots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Core} from "./Core.sol";

/// @notice What the owner of an account does: money in and out, keys, eras, closed lots; each also by signature.
abstract contract Money is IDesk, Core {
    using SafeERC20 for IERC20;

    /// @inheritdoc IMarketState
    IERC20 public immutable token;

    constructor(IERC20 token_) {
        if (address(token_).code.length == 0) revert MarketPolicy("token");
        token = token_;
    }

    /// @inheritdoc IDesk
    function deposit(uint64 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IDesk
    function depositFor(address owner, uint64 amount) external {
        _deposit(owner, amount);
    }

    // A permit moves no money, and nothing was read before it; `_deposit` is guarded.
    // slither-disable-start reentrancy-benign,reentrancy-events
    /// @inheritdoc IDesk
    function depositWithPermit(uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // Whoever saw the permit could use it first; then the allowance is there, and else the transfer fails.
        // slither-disable-next-line unused-return
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(msg.sender, amount);
    }
    // slither-disable-end reentrancy-benign,reentrancy-events

    // What arrived is known only after the transfer; the guard keeps others out meanwhile.
    // slither-disable-start reentrancy-no-eth,reentrancy-benign
    /// @inheritdoc IDesk
    function depositWithAuthorization(
        address owner,
        address from,
        uint64 amount,
        bytes32 salt,
        uint256 validAfter,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        uint256 before = _beforePull(owner, amount);
        bytes32 nonce = keccak256(abi.encode(owner, salt));
        IERC3009(address(token)).receiveWithAuthorization(
            from, address(this), amount, validAfter, validBefore, nonce, v, r, s
        );
        _afterPull(owner, from, amount, before);
    }
    // slither-disable-end reentrancy-no-eth,reentrancy-benign

    /// @inheritdoc IDesk
    function withdraw(address to, uint64 amount) external nonReentrant {
        Held storage held = _accounts[msg.sender];
        held.word = _load(held).debitAboveSurety(amount, msg.sender, _surety);
        _send(msg.sender, to, amount);
    }

    /// @inheritdoc IDesk
    function withdrawBySig(Withdraw calldata order, bytes calldata signature) external nonReentrant {
        if (block.timestamp > order.deadline) revert MarketExpired(order.deadline);
        bytes32 digest = _digest(TypedData.hash(order));
        Lot storage spent = _lots[digest];
        if (spent.word != Lots.FREE) revert MarketSpent(digest);
        _mustSign(order.account, digest, signature);
        spent.word = Lots.CANCELLED;
        emit Spent(digest);
        uint256 whole = uint256(order.amount) + order.fee;
        Held storage held = _accounts[order.account];
        held.word = _load(held).debitAboveSurety(whole, order.account, _surety);
        // Both fit 64 bits: their sum was in the account.
        _send(order.account, order.to, uint64(order.amount));
        if (order.fee != 0) _send(order.account, msg.sender, uint64(order.fee));
    }

    /// @inheritdoc IDesk
    function authorise(address key, uint40 until) external {
        _workers[msg.sender][key] = until;
        emit Authorised(msg.sender, key, until);
    }

    /// @inheritdoc IDesk
    function bump(uint32 era) external {
        _bump(msg.sender, era);
    }

    /// @inheritdoc IDesk
    function bumpBySig(Bump calldata order, bytes calldata signature) external {
        _mustSign(order.account, _digest(TypedData.hash(order)), signature);
        _bump(order.account, order.era);
    }

    /// @inheritdoc IDesk
    function cancel(Purchase calldata purchase, uint32 index) external {
        _mustBeCustomer(purchase.customer);
        _close(_order(purchase), index, purchase.tasks, purchase.lot);
    }

    /// @inheritdoc IDesk
    function cancelBid(Bid calldata bid, uint32 index) external {
        _mustBeCustomer(bid.customer);
        _close(_order(bid), index, bid.tasks, bid.lot);
    }

    /// @inheritdoc IDesk
    function cancelBySig(Purchase calldata purchase, uint32 index, bytes calldata signature) external {
        bytes32 order = _order(purchase);
        _mustSign(purchase.customer, _digest(TypedData.hash(Cancel(order, index))), signature);
        _close(order, index, purchase.tasks, purchase.lot);
    }

    /// @inheritdoc IDesk
    function cancelBidBySig(Bid calldata bid, uint32 index, bytes calldata signature) external {
        bytes32 order = _order(bid);
        _mustSign(bid.customer, _digest(TypedData.hash(Cancel(order, index))), signature);
        _close(order, index, bid.tasks, bid.lot);
    }

    function _mustBeCustomer(address customer) private view {
        if (msg.sender != customer) revert MarketNotCustomer(msg.sender, customer);
    }

    function _order(Purchase calldata purchase) private view returns (bytes32) {
        return _digest(TypedData.hash(purchase));
    }

    function _order(Bid calldata bid) private view returns (bytes32) {
        return _digest(TypedData.hash(bid));
    }

    function _close(bytes32 order, uint32 index, uint256 tasks, uint256 size) private {
        _count(tasks, size, index);
        _freeLot(order, index).word = Lots.CANCELLED;
        emit Cancelled(order, index);
    }

    function _bump(address owner, uint32 era) private {
        Held storage held = _accounts[owner];
        Account a = _load(held);
        if (era != a.era()) revert MarketEra(owner, era, a.era());
        a = a.nextEra();
        held.word = a;
        emit Bumped(owner, a.era());
    }

    function _deposit(address owner, uint64 amount) private nonReentrant {
        uint256 before = _beforePull(owner, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
        _afterPull(owner, msg.sender, amount, before);
    }

    function _beforePull(address owner, uint64 amount) private view returns (uint256) {
        if (owner == address(0)) revert MarketRecipient(owner);
        uint256 held = uint256(_limit.held) + amount;
        if (held > _limit.cap) revert MarketDepositCap(held, _limit.cap);
        return token.balanceOf(address(this));
    }

    function _afterPull(address owner, address from, uint64 amount, uint256 before) private {
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert MarketTokenAmount(amount, received);
        _limit.held += amount;
        _creditFree(owner, amount);
        emit Deposited(owner, from, amount);
    }

    /// @dev What was debited from `owner` leaves the market.
    function _send(address owner, address to, uint64 amount) internal {
        if (to == address(0) || to == address(this)) revert MarketRecipient(to);
        _limit.held -= amount;
        emit Withdrawn(owner, to, amount);
        token.safeTransfer(to, amount);
    }
}
