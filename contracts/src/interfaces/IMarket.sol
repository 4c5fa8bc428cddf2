// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "./ICourt.sol";
import {IMarketErrors} from "./IMarketErrors.sol";
import {IMarketEvents} from "./IMarketEvents.sol";
import {IMarketState} from "./IMarketState.sol";
import {
    Bid, Bump, Deal, Offer, Policy, Purchase, SignedAsk, Withdraw
} from "./Types.sol";

/// @title Market
/// @notice Holds the money of customers and providers, opens a deal when a signed purchase meets a signed ask, and
/// pays only for signed results; what is not delivered by its deadline anyone can send back to the customer.
/// @dev EIP-712 domain: name "Prixfixe", version "1", chain id, this contract. Signatures are ECDSA of 64 (EIP-2098)
/// or 65 bytes with low s, else EIP-1271. `due` is a deadline in the low 40 bits; bit 40: it was hastened.
interface IMarket is IMarketEvents, IMarketErrors, IMarketState, ICourt {
    // -------------------------------------------------------------------------------------------- accounts

    /// @notice Moves `amount` from the caller's wallet to its account.
    function deposit(uint64 amount) external;

    /// @notice Moves `amount` from the caller's wallet to the account of `account`.
    function depositFor(address account, uint64 amount) external;

    /// @notice As `deposit`, after the caller's EIP-2612 permit; one that was used already is no error, when the
    /// allowance is there.
    function depositWithPermit(uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Moves `amount` from the wallet of `from` to the account of `account` with an EIP-3009 authorisation
    /// (`ReceiveWithAuthorization`) whose nonce is `keccak256(abi.encode(account, salt))`, so that nobody who sends
    /// it can credit another account.
    function depositWithAuthorization(
        address account,
        address from,
        uint64 amount,
        bytes32 salt,
        uint256 validAfter,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Sends what a signed `Withdraw` says: `amount` to its `to` and `fee` to the caller. Once.
    function withdrawBySig(Withdraw calldata order, bytes calldata signature) external;

    /// @notice Moves `amount` from the caller's free money to `to`. While earnings wait, the surety stays.
    function withdraw(address to, uint64 amount) external;

    /// @notice Lets `key` sign asks and results for the caller up to the second `until`; 0 revokes. A key that
    /// signed the ask of an open deal still signs its result.
    function authorise(address key, uint40 until) external;

    /// @notice Ends the caller's present era, which it must name, and with it every order and ask signed under it.
    function bump(uint32 era) external;

    /// @notice As `bump`, by a signed `Bump`.
    function bumpBySig(Bump calldata order, bytes calldata signature) external;

    /// @notice Closes a free lot of the caller's purchase.
    function cancel(Purchase calldata purchase, uint32 lot) external;

    /// @notice Closes a free lot of the caller's bid.
    function cancelBid(Bid calldata bid, uint32 lot) external;

    /// @notice Closes a free lot by the customer's signed `Cancel`.
    function cancelBySig(Purchase calldata purchase, uint32 lot, bytes calldata signature) external;

    /// @notice Closes a free lot by the customer's signed `Cancel`.
    function cancelBidBySig(Bid calldata bid, uint32 lot, bytes calldata signature) external;

    // --------------------------------------------------------------------------------------------- bundles

    /// @notice Puts an offer up until `until` and moves `float_` from the treasury into its float. Of a live offer
    /// it can only extend the time and top up the float. Pricing role.
    function publish(Offer calldata offer, uint40 until, uint96 float_) external returns (bytes32 id);

    /// @notice Brings the end of a live offer forward, never sooner than the notice. Pricing role.
    function retire(bytes32 id, uint40 until) external;

    /// @notice Moves the float of an ended offer back to the treasury. By anyone.
    function reclaim(bytes32 id) external;

    // ------------------------------------------------------------------------------------------------ lots

    /// @notice Opens a deal on a free lot: takes the whole price from the customer, what the legs cost above it from
    /// the bundle's float, and fixes legs, fee and deadline. By the scheduler.
    /// @param purchase The customer's order.
    /// @param signature Its signature.
    /// @param offer The bundle that it accepts.
    /// @param lot Index of the lot.
    /// @param asks One for each replica; the deadline is `now + grace + maxSeconds * ceil(count / slots)`.
    /// @return deal Id of the deal.
    function matchPurchase(
        Purchase calldata purchase,
        bytes calldata signature,
        Offer calldata offer,
        uint32 lot,
        SignedAsk[] calldata asks
    ) external returns (bytes32 deal);

    /// @notice Opens a deal on a free lot of a bid, by whom bid and asks name: every leg is paid its ask, and the
    /// customer pays that and the fee, at most the bid's price.
    function matchBid(Bid calldata bid, bytes calldata signature, uint32 lot, SignedAsk[] calldata asks)
        external
        returns (bytes32 deal);

    /// @notice The auction: each of `bids`, the encoded call of a `matchBid`, is matched with every leg paid `price`,
    /// never less than its ask. By the scheduler. A failing item is skipped and reported.
    /// @param batch Hash of the published batch.
    function clear(uint96 price, bytes32 batch, bytes[] calldata bids) external;

    /// @notice Encoded calls of `matchPurchase` and `matchBid`. A failing item is skipped and reported with the
    /// selector of its error; too little gas for an item reverts the whole call. So do the next two.
    function matchMany(bytes[] calldata calls) external;

    /// @notice Encoded calls of `settle`.
    function settleMany(bytes[] calldata calls) external;

    /// @notice Encoded calls of `expire`.
    function expireMany(bytes[] calldata calls) external;

    /// @notice Pays a deal up to its deadline. With all signatures, by anyone; with fewer, but a quorum, by the
    /// scheduler, and by anyone in the last `grace`. The pay of legs that did not sign goes back to the customer, up
    /// to its price, and beyond it to the treasury.
    /// @param deal The deal, from `DealOpened`.
    /// @param due Its present `due`.
    /// @param root Merkle root over the lot's results; with `done` 0 it must be `due`: a refusal, which gives the
    /// whole price back and frees the lot.
    /// @param done Tasks that succeeded; each leg is paid `pay * done`.
    /// @param signatures Of `Result(deal, root, done)`, one for each leg, by its key; empty: it did not sign.
    function settle(
        Deal calldata deal,
        uint48 due,
        bytes32 root,
        uint16 done,
        bytes[] calldata signatures
    ) external;

    /// @notice Gives the whole price back, strictly after the deadline. By anyone.
    function expire(Deal calldata deal, uint48 due) external;

    /// @notice Brings the deadline forward to `grace` from now. By the scheduler.
    function hasten(Deal calldata deal, uint48 due) external;

    // ----------------------------------------------------------------------------------------------- roles

    /// @notice Stops new matches, and nothing else. Pauser role.
    function pause() external;

    /// @notice Allows new matches again. Pauser role.
    function unpause() external;

    /// @notice Sets the fee of later matches, in hundredths of a percent of the price. Admin.
    function setFee(uint16 feeBps) external;

    /// @notice Replaces the scheduler. Admin.
    function setScheduler(address scheduler) external;

    /// @notice Raises the most that the market may hold. Admin.
    function raiseDepositCap(uint64 depositCap) external;

    /// @notice Sends from the treasury's free money. Admin.
    function withdrawTreasury(address to, uint64 amount) external;

    // ----------------------------------------------------------------------------------------------- views

    /// @notice What signers rely on, with the present deposit cap.
    function policy() external view returns (Policy memory);

    /// @notice The scheduler, the fee of later matches, whether matches are stopped, the deposit cap, and what
    /// accounts, open deals and floats hold together.
    function config()
        external
        view
        returns (address scheduler, uint16 feeBps, bool paused, uint64 depositCap, uint64 held);

    /// @notice An account as of now: money that can be spent, earnings of this window and of the last, era. The
    /// treasury is the account of the market itself.
    function account(address owner) external view returns (uint64 free, uint64 cur, uint64 prev, uint32 era);

    /// @notice The word of a lot: 0 free, 1 cancelled, `keccak256(abi.encode(deal, due))` open,
    /// `keccak256(abi.encode(deal, root, fact))` settled,
    /// `keccak256(abi.encode(deal, root, fact, challenger, until, claim, keccak256(abi.encodePacked(fees))))` disputed,
    /// 2 judged guilty, where `deal` is the deal's id.
    /// @param order EIP-712 digest of the order.
    function lot(bytes32 order, uint32 index) external view returns (bytes32 word);
}
