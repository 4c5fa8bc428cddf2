// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../interfaces/IMarketEvents.sol";
import {IMarketState} from "../interfaces/IMarketState.sol";
import {Deal, Leg, Policy} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Lots} from "../libraries/Lots.sol";
import {Signatures} from "../libraries/Signatures.sol";

/// @notice The market's storage and policy, and what its parts share.
/// @dev Money is conserved: the token's balance is at least the sum of all accounts, open deals, cases and floats,
/// which is `_limit.held` and fits 64 bits, so no field or sum overflows.
abstract contract Core is
    IMarketEvents,
    IMarketErrors,
    IMarketState,
    AccessControl,
    EIP712,
    ReentrancyGuardTransient
 {
    struct Config {
        address scheduler;
        uint16 feeBps;
        bool paused;
    }

    struct Limit {
        uint64 cap;
        uint64 held;
    }

    struct Bundle {
        uint40 until;
        uint96 float_;
    }

    /// @notice May publish and retire bundles.
    bytes32 public constant PRICING_ROLE = keccak256("PRICING_ROLE");
    /// @notice May stop new matches.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    uint16 internal constant BPS = 10_000;

    /// @inheritdoc IMarketState
    IERC20 public immutable token;
    uint32 internal immutable _window;
    uint32 internal immutable _grace;
    uint32 internal immutable _notice;
    uint64 internal immutable _surety;
    uint64 internal immutable _bond;
    uint64 internal immutable _arbiterFee;
    uint16 internal immutable _maxFeeBps;
    address internal immutable _arbiter;

    Config internal _config;
    Limit internal _limit;
    mapping(address owner => Account) internal _accounts;
    /// @inheritdoc IMarketState
    mapping(bytes32 key => bytes32 word) public lots;
    /// @inheritdoc IMarketState
    mapping(bytes32 id => Bundle) public bundles;
    /// @inheritdoc IMarketState
    mapping(address provider => mapping(address key => uint40 until)) public workers;

    constructor(IERC20 token_, Policy memory policy_) EIP712("Prixfixe", "1") {
        if (address(token_).code.length == 0) revert MarketPolicy("token");
        if (policy_.window == 0) revert MarketPolicy("window");
        if (policy_.grace == 0) revert MarketPolicy("grace");
        if (policy_.surety < policy_.arbiterFee) revert MarketPolicy("surety");
        if (policy_.bond < policy_.arbiterFee) revert MarketPolicy("bond");
        if (policy_.maxFeeBps > BPS) revert MarketPolicy("maxFeeBps");
        if (policy_.arbiter == address(0)) revert MarketPolicy("arbiter");
        token = token_;
        _window = policy_.window;
        _grace = policy_.grace;
        _notice = policy_.notice;
        _surety = policy_.surety;
        _bond = policy_.bond;
        _arbiterFee = policy_.arbiterFee;
        _maxFeeBps = policy_.maxFeeBps;
        _arbiter = policy_.arbiter;
    }

    modifier onlyScheduler() {
        _onlyScheduler();
        _;
    }

    function _onlyScheduler() internal view {
        if (msg.sender != _config.scheduler) revert MarketNotScheduler(msg.sender);
    }

    /// @dev An account as of now.
    function _load(address owner) internal view returns (Account) {
        return _accounts[owner].roll(_epoch());
    }

    function _epoch() internal view returns (uint256) {
        return block.timestamp / _window;
    }

    function _creditFree(address owner, uint256 amount) internal {
        _accounts[owner] = _load(owner).creditFree(amount);
    }

    function _mustSign(address signer, bytes32 digest, bytes calldata signature) internal view {
        if (!Signatures.isBy(signer, digest, signature)) revert MarketSignature(signer, digest);
    }

    /// @dev Key of a lot, which must be free.
    function _freeLot(bytes32 order, uint32 index) internal view returns (bytes32 key) {
        key = Lots.key(order, index);
        bytes32 word = lots[key];
        if (word != Lots.FREE) revert MarketLotTaken(order, index, word);
    }

    /// @dev The number of tasks in a lot; the last may be short.
    function _count(uint256 tasks, uint256 size, uint32 index) internal pure returns (uint16) {
        uint256 sold = size * index;
        if (size == 0) revert MarketLotRange(index, 0);
        if (sold >= tasks) revert MarketLotRange(index, (tasks + size - 1) / size);
        unchecked {
            uint256 left = tasks - sold; // not negative: checked above
            return uint16(left < size ? left : size); // at most `size`, which came from 16 bits
        }
    }

    /// @dev What each task that is done pays, when the legs in the mask `agreed` signed: to them, to the treasury, and
    /// back to the customer for the legs that did not sign. Together the larger of price and cost, which is held.
    function _shares(Deal calldata deal, uint256 agreed)
        internal
        pure
        returns (uint256 signers, uint256 treasury, uint256 back)
    {
        uint256 cost = 0;
        uint256 price = deal.money.price();
        Leg[] calldata legs = deal.legs;
        unchecked {
            // Pays and price have 96 bits, and there are at most 16 legs; what is subtracted is part of the cost.
            for (uint256 i = 0; i < legs.length; ++i) {
                uint256 pay = legs[i].share.pay();
                cost += pay;
                if (agreed >> i & 1 == 1) signers += pay;
            }
            back = cost - signers;
            if (back > price) back = price;
            treasury = (cost > price ? cost : price) - signers - back;
        }
    }
}
