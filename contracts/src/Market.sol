// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ICourt} from "./interfaces/ICourt.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {Case, Claim, Deal, Policy, Roles} from "./interfaces/Types.sol";
import {Account} from "./libraries/Accounts.sol";
import {Lots} from "./libraries/Lots.sol";
import {Core} from "./market/Core.sol";
import {Court} from "./market/Court.sol";
import {Matching} from "./market/Matching.sol";
import {Settling} from "./market/Settling.sol";

/// @title Market
/// @notice See `IMarket`, where each function, event and error is described. Here are batches, roles and views.
contract Market is Matching, Settling {
    address private immutable _court;

    constructor(IERC20 token_, Policy memory policy_, Roles memory roles) Core(token_, policy_) {
        if (roles.admin == address(0)) revert MarketPolicy("admin");
        _court = address(new Court(token_, policy_));
        _limit.cap = policy_.depositCap;
        emit DepositCapRaised(policy_.depositCap);
        _config.scheduler = roles.scheduler;
        emit SchedulerSet(roles.scheduler);
        _grantRole(DEFAULT_ADMIN_ROLE, roles.admin);
        _grantRole(PRICING_ROLE, roles.pricing);
        _grantRole(PAUSER_ROLE, roles.pauser);
    }

    // -------------------------------------------------------------------------------------------- disputes

    /// @inheritdoc ICourt
    function challenge(Deal calldata, bytes32, uint96, Claim calldata, bytes32[] calldata) external {
        _inCourt();
    }

    /// @inheritdoc ICourt
    function judge(Case calldata, bool) external {
        _inCourt();
    }

    /// @inheritdoc ICourt
    function lapse(Case calldata) external {
        _inCourt();
    }

    /// @dev Passes the call, its sender and this storage to the court's code.
    function _inCourt() private {
        address court = _court;
        // Ends the call, so that the memory it overwrites is nobody's any more.
        assembly {
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), court, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }

    // --------------------------------------------------------------------------------------------- batches

    /// @inheritdoc IMarket
    function matchMany(bytes[] calldata calls) external {
        _each(calls, IMarket.matchPurchase.selector, IMarket.matchBid.selector);
    }

    /// @inheritdoc IMarket
    function settleMany(bytes[] calldata calls) external {
        _each(calls, IMarket.settle.selector, IMarket.settle.selector);
    }

    /// @inheritdoc IMarket
    function expireMany(bytes[] calldata calls) external {
        _each(calls, IMarket.expire.selector, IMarket.expire.selector);
    }

    /// @dev Each item is a call of its own, by the same sender on the same storage, so that a failing one undoes only
    /// itself. It is skipped and reported, unless what failed is the gas: that says nothing about the item.
    function _each(bytes[] calldata calls, bytes4 one, bytes4 other) internal override {
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes calldata item = calls[i];
            bytes4 selector = bytes4(item);
            if (selector != one && selector != other) revert MarketBatchCall(i, selector);
            uint256 before = gasleft();
            bool ok;
            bytes4 code;
            bool told;
            assembly ("memory-safe") {
                let start := mload(0x40)
                calldatacopy(start, item.offset, item.length)
                ok := delegatecall(gas(), address(), start, item.length, 0, 32)
                told := gt(returndatasize(), 3)
                if told { code := and(mload(0), shl(224, 0xffffffff)) }
            }
            if (ok) continue;
            // An item that ran out of gas left us the 64th part of what there was, and said nothing.
            if (code == MarketGas.selector || (!told && gasleft() < before / 32)) revert MarketGas();
            emit Skipped(i, code);
        }
    }

    // ----------------------------------------------------------------------------------------------- roles

    /// @inheritdoc IMarket
    function pause() external onlyRole(PAUSER_ROLE) {
        _config.paused = true;
        emit PausedSet(true);
    }

    /// @inheritdoc IMarket
    function unpause() external onlyRole(PAUSER_ROLE) {
        _config.paused = false;
        emit PausedSet(false);
    }

    /// @inheritdoc IMarket
    function setFee(uint16 feeBps) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (feeBps > _maxFeeBps) revert MarketFeeTooHigh(feeBps, _maxFeeBps);
        _config.feeBps = feeBps;
        emit FeeSet(feeBps);
    }

    /// @inheritdoc IMarket
    function setScheduler(address scheduler) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _config.scheduler = scheduler;
        emit SchedulerSet(scheduler);
    }

    /// @inheritdoc IMarket
    function raiseDepositCap(uint64 depositCap) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (depositCap <= _limit.cap) revert MarketCapNotRaised(_limit.cap, depositCap);
        _limit.cap = depositCap;
        emit DepositCapRaised(depositCap);
    }

    /// @inheritdoc IMarket
    function withdrawTreasury(address to, uint64 amount) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        _accounts[address(this)] = _load(address(this)).debit(amount, address(this));
        _send(address(this), to, amount);
    }

    // ----------------------------------------------------------------------------------------------- views

    /// @inheritdoc IMarket
    function policy() external view returns (Policy memory) {
        return Policy(
            _window, _grace, _notice, _surety, _bond, _arbiterFee, _maxFeeBps, _arbiter, _limit.cap
        );
    }

    /// @inheritdoc IMarket
    function config() external view returns (address, uint16, bool, uint64, uint64) {
        return (_config.scheduler, _config.feeBps, _config.paused, _limit.cap, _limit.held);
    }

    /// @inheritdoc IMarket
    function account(address owner) external view returns (uint64 free, uint64 cur, uint64 prev, uint32 era) {
        Account a = _load(owner);
        return (uint64(a.free()), uint64(a.cur()), uint64(a.prev()), a.era());
    }

    /// @inheritdoc IMarket
    function lot(bytes32 order, uint32 index) external view returns (bytes32 word) {
        return lots[Lots.key(order, index)];
    }
}
