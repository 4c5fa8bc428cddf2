// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IDesk} from "./interfaces/IDesk.sol";
import {IMarketState} from "./interfaces/IMarketState.sol";
import {Policy, Roles} from "./interfaces/Types.sol";
import {Account} from "./libraries/Accounts.sol";
import {Lots} from "./libraries/Lots.sol";
import {Bundles} from "./market/Bundles.sol";
import {Core} from "./market/Core.sol";
import {Money} from "./market/Money.sol";

/// @title Desk
/// @notice See `IDesk`. Here are roles and views.
/// @dev Its code is a contract apart, which the market makes when it is deployed and calls on its own storage, so that
/// the way of a task is short and the whole fits. Called by itself it has no roles and no scheduler, and what it is
/// sent is kept apart from the market's money.
contract Desk is IERC5267, Money, Bundles {
    /// @notice May stop new matches.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    constructor(IERC20 token_, Policy memory policy_) Core(policy_) Money(token_) {}

    /// @notice Gives the roles and sets the deposit cap; only while the market is being deployed, and has no code yet.
    function begin(Roles calldata roles, uint64 depositCap) external {
        if (address(this).code.length != 0) revert AccessControlUnauthorizedAccount(msg.sender, DEFAULT_ADMIN_ROLE);
        _limit.cap = depositCap;
        emit DepositCapRaised(depositCap);
        _config = _config.withScheduler(roles.scheduler);
        emit SchedulerSet(roles.scheduler);
        _grantRole(DEFAULT_ADMIN_ROLE, roles.admin);
        _grantRole(PRICING_ROLE, roles.pricing);
        _grantRole(PAUSER_ROLE, roles.pauser);
    }

    // ----------------------------------------------------------------------------------------------- roles

    /// @inheritdoc IDesk
    function pause() external onlyRole(PAUSER_ROLE) {
        _config = _config.withPaused(true);
        emit PausedSet(true);
    }

    /// @inheritdoc IDesk
    function unpause() external onlyRole(PAUSER_ROLE) {
        _config = _config.withPaused(false);
        emit PausedSet(false);
    }

    /// @inheritdoc IDesk
    function setFee(uint16 feeBps) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (feeBps > _maxFeeBps) revert MarketFeeTooHigh(feeBps, _maxFeeBps);
        _config = _config.withFee(feeBps);
        emit FeeSet(feeBps);
    }

    /// @inheritdoc IDesk
    function setScheduler(address scheduler) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _config = _config.withScheduler(scheduler);
        emit SchedulerSet(scheduler);
    }

    /// @inheritdoc IDesk
    function raiseDepositCap(uint64 depositCap) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (depositCap <= _limit.cap) revert MarketCapNotRaised(_limit.cap, depositCap);
        _limit.cap = depositCap;
        emit DepositCapRaised(depositCap);
    }

    /// @inheritdoc IDesk
    function withdrawTreasury(address to, uint64 amount) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        Held storage held = _accounts[address(this)];
        held.word = _load(held).debit(amount, address(this));
        _send(address(this), to, amount);
    }

    // ----------------------------------------------------------------------------------------------- views

    /// @inheritdoc IDesk
    function policy() external view returns (Policy memory) {
        return Policy(
            _window, _grace, _notice, _surety, _bond, _arbiterFee, _maxFeeBps, _arbiter, _limit.cap
        );
    }

    /// @inheritdoc IDesk
    function asksArbiter() external view returns (bool) {
        return _asksArbiter;
    }

    /// @inheritdoc IDesk
    function config() external view returns (address, uint16, bool, uint64, uint64) {
        return (_config.scheduler(), _config.feeBps(), _config.paused(), _limit.cap, _limit.held);
    }

    /// @inheritdoc IDesk
    function account(address owner) external view returns (uint64 free, uint64 cur, uint64 prev, uint32 era) {
        Account a = _load(owner);
        return (uint64(a.free()), uint64(a.cur()), uint64(a.prev()), a.era());
    }

    /// @inheritdoc IDesk
    function lot(bytes32 order, uint32 index) external view returns (bytes32 word) {
        return _lots[Lots.key(order, index)].word;
    }

    /// @inheritdoc IMarketState
    function lots(bytes32 key) external view returns (bytes32 word) {
        return _lots[key].word;
    }

    /// @inheritdoc IMarketState
    function bundles(bytes32 id) external view returns (uint40 until, uint96 float_) {
        return (_bundles[id].until, _bundles[id].float_);
    }

    /// @inheritdoc IMarketState
    function workers(address provider, address key) external view returns (uint40 until) {
        return _workers[provider][key];
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (hex"0f", NAME, VERSION, block.chainid, address(this), 0, new uint256[](0));
    }
}
