// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Charge, Head} from "../libraries/Deals.sol";
import {Claim, Leg, Offer} from "./Types.sol";

/// @title Market Events
/// @notice Enough to rebuild every balance, deal, lot and float.
interface IMarketEvents {
    /// @notice `amount` came from `from` and was added to the free money of `account`.
    event Deposited(address indexed account, address from, uint64 amount);
    /// @notice `amount` left the free money of `account` and was sent to `to`.
    event Withdrawn(address indexed account, address indexed to, uint64 amount);
    /// @notice `key` may sign asks and results of `provider` up to the second `until`; 0: no longer.
    event Authorised(address indexed provider, address indexed key, uint40 until);
    /// @notice `account` is now in `era`; what it signed under an older one cannot be matched.
    event Bumped(address indexed account, uint32 era);
    /// @notice The offer is live up to `until`; `float_` was added to its float from the treasury.
    event Published(bytes32 indexed id, Offer offer, uint40 until, uint96 float_);
    /// @notice The offer ends at `until`.
    event Retired(bytes32 indexed id, uint40 until);
    /// @notice The float of an ended offer went back to the treasury.
    event Reclaimed(bytes32 indexed id, uint96 amount);
    /// @notice A lot was matched: `price * count` left the customer, what the legs cost above it the bundle's float.
    /// @param bundle Id of the offer; zero for a bid.
    event DealOpened(
        bytes32 indexed deal, bytes32 indexed order, bytes32 indexed bundle, uint48 due, Head head, Charge money, Leg[] legs
    );
    /// @notice A deal was paid: `paid` to its legs, `returned` to the customer, the rest to the treasury.
    /// @param fact Packed: done (16 bits, lowest), legs that signed as a bit each (16), time (40), past cases (8).
    event Settled(bytes32 indexed deal, bytes32 root, uint64 paid, uint64 returned, uint96 fact);
    /// @notice The deal's legs refused it: the whole price went back and the lot is free again.
    event Refused(bytes32 indexed deal, uint64 returned);
    /// @notice The deadline passed: the whole price went back and the lot is free again.
    event Expired(bytes32 indexed deal, uint64 returned);
    /// @notice The deal's deadline was brought forward.
    event Hastened(bytes32 indexed deal, uint48 due);
    /// @notice The customer closed a free lot.
    event Cancelled(bytes32 indexed order, uint32 lot);
    /// @notice The signed withdrawal with this digest was used.
    event Spent(bytes32 indexed digest);
    /// @notice The deals of this call were matched at one price for every leg; `batch` is the published batch's hash.
    event Cleared(bytes32 indexed batch, uint96 price);
    /// @notice Item `index` of a batch changed nothing; `code` is the selector of its error.
    event Skipped(uint256 indexed index, bytes4 code);
    /// @notice What the deal paid out, `fees` from the signers' free money, and the challenger's bond wait for a
    /// judgement up to `until`.
    event Challenged(
        bytes32 indexed deal, address indexed challenger, Claim claim, uint40 until, uint64 bond, uint64[] fees
    );
    /// @notice The arbiter judged and got `fee`. Guilty: the customer has its money back, the challenger its bond.
    /// Not guilty: what the case held went back where it was, and the lot is settled with this `fact`.
    event Judged(bytes32 indexed deal, bool guilty, uint64 fee, uint96 fact);
    /// @notice The arbiter was silent: everything the case held went back, and the lot is settled with this `fact`.
    event Lapsed(bytes32 indexed deal, uint96 fact);
    /// @notice The fee of later matches.
    event FeeSet(uint16 feeBps);
    /// @notice Who matches purchases and hastens deals from now on.
    event SchedulerSet(address indexed scheduler);
    /// @notice The most that the market may hold was raised.
    event DepositCapRaised(uint64 depositCap);
    /// @notice New matches were stopped (true) or allowed again (false). Nothing else can be stopped.
    event PausedSet(bool paused);
}
