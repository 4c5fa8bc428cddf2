// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../interfaces/IMarketEvents.sol";
import {Policy} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Config} from "../libraries/Config.sol";
import {Lots} from "../libraries/Lots.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Domain} from "./Domain.sol";

/// @notice The market's storage and policy, and what its parts share.
/// @dev Money is conserved: the token's balance is at least the sum of all accounts, open deals, cases and floats,
/// which is `_limit.held` and fits 64 bits, so no field or sum overflows.
abstract contract Core is IMarketEvents, IMarketErrors, Domain, ReentrancyGuardTransient {
    struct Limit {
        uint64 cap;
        uint64 held;
    }

    struct Bundle {
        uint40 until;
        uint96 float_;
    }

    /// @dev A struct of one word, so that its place is computed once for a read and a write.
    struct Held {
        Account word;
    }

    /// @dev As `Held`.
    struct Lot {
        bytes32 word;
    }

    uint256 internal constant BPS = 10_000;

    uint32 internal immutable _window;
    uint32 internal immutable _grace;
    uint32 internal immutable _notice;
    uint64 internal immutable _surety;
    uint64 internal immutable _bond;
    uint64 internal immutable _arbiterFee;
    uint16 internal immutable _maxFeeBps;
    address internal immutable _arbiter;
    bool internal immutable _asksArbiter;

    // The desk writes it, and the workers below.
    // slither-disable-next-line uninitialized-state
    Config internal _config;
    Limit internal _limit;
    mapping(address owner => Held) internal _accounts;
    mapping(bytes32 key => Lot) internal _lots;
    mapping(bytes32 id => Bundle) internal _bundles;
    // slither-disable-next-line uninitialized-state
    mapping(address provider => mapping(address key => uint40 until)) internal _workers;

    constructor(Policy memory policy_) {
        if (policy_.window == 0) revert MarketPolicy("window");
        if (policy_.grace == 0) revert MarketPolicy("grace");
        if (policy_.surety < policy_.arbiterFee) revert MarketPolicy("surety");
        if (policy_.bond < policy_.arbiterFee) revert MarketPolicy("bond");
        if (policy_.maxFeeBps > BPS) revert MarketPolicy("maxFeeBps");
        if (policy_.arbiter == address(0)) revert MarketPolicy("arbiter");
        _window = policy_.window;
        _grace = policy_.grace;
        _notice = policy_.notice;
        _surety = policy_.surety;
        _bond = policy_.bond;
        _arbiterFee = policy_.arbiterFee;
        _maxFeeBps = policy_.maxFeeBps;
        _arbiter = policy_.arbiter;
        _asksArbiter = _isContract(policy_.arbiter);
    }

    /// @dev A key that has delegated (EIP-7702) holds 23 bytes that begin so, as no contract can (EIP-3541): it is a key.
    function _isContract(address who) private view returns (bool) {
        bytes memory code = who.code;
        return code.length != 0 && bytes3(code) != 0xef0100;
    }

    modifier onlyScheduler() {
        _onlyScheduler();
        _;
    }

    function _onlyScheduler() internal view {
        if (msg.sender != _config.scheduler()) revert MarketNotScheduler(msg.sender);
    }

    /// @dev An account as of now.
    function _load(Held storage held) internal view returns (Account) {
        return held.word.roll(_epoch());
    }

    function _load(address owner) internal view returns (Account) {
        return _load(_accounts[owner]);
    }

    function _epoch() internal view returns (uint256 epoch) {
        uint256 window = _window;
        assembly ("memory-safe") {
            epoch := div(timestamp(), window) // not zero: checked at deployment
        }
    }

    function _creditFree(address owner, uint256 amount) internal {
        Held storage held = _accounts[owner];
        held.word = _load(held).creditFree(amount);
    }

    function _mustSign(address signer, bytes32 digest, bytes calldata signature) internal view {
        if (!Signatures.isBy(signer, digest, signature)) revert MarketSignature(signer, digest);
    }

    /// @dev A lot of an order, which must be free.
    function _freeLot(bytes32 order, uint32 index) internal view returns (Lot storage lot) {
        lot = _lots[Lots.key(order, index)];
        bytes32 word = lot.word;
        if (word != Lots.FREE) revert MarketLotTaken(order, index, word);
    }

    /// @dev The number of tasks in a lot, at most `size`; the last may be short. All three have at most 32 bits.
    function _count(uint256 tasks, uint256 size, uint32 index) internal pure returns (uint256) {
        unchecked {
            uint256 sold = size * index; // of 64 bits
            if (size == 0) revert MarketLotRange(index, 0);
            if (sold >= tasks) revert MarketLotRange(index, (tasks + size - 1) / size);
            uint256 left = tasks - sold;
            return left < size ? left : size;
        }
    }
}
