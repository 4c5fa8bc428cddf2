// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Deal, Offer, Policy, Purchase, SignedAsk} from "./Types.sol";

/// @title Market
/// @notice Holds the money of customers and providers, opens a deal when a signed purchase meets a signed ask, and
/// pays only for signed results; what is not delivered by its deadline anyone can send back to the customer.
/// @dev EIP-712 domain: name "Prixfixe", version "1", chain id, this contract. Signatures are ECDSA of 64 (EIP-2098)
/// or 65 bytes with low s, else EIP-1271. `due` is a deadline in the low 40 bits; bit 40: it was hastened.
interface IMarket {
    // ---------------------------------------------------------------------------------------------- events

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
    event DealOpened(bytes32 indexed deal, bytes32 indexed order, address indexed customer, Deal data, uint48 due);
    /// @notice A deal was paid: `paid` to its legs, `returned` to the customer, the rest to the treasury.
    /// @param fact Packed: done (16 bits, lowest), legs that signed as a bit each (16), time (40), past cases (8).
    event Settled(bytes32 indexed deal, bytes32 root, uint16 done, uint64 paid, uint64 returned, uint96 fact);
    /// @notice The deal's legs refused it: the whole price went back and the lot is free again.
    event Refused(bytes32 indexed deal, uint64 returned);
    /// @notice The deadline passed: the whole price went back and the lot is free again.
    event Expired(bytes32 indexed deal, uint64 returned);
    /// @notice The deal's deadline was brought forward.
    event Hastened(bytes32 indexed deal, uint48 due);
    /// @notice The customer closed a free lot.
    event Cancelled(bytes32 indexed order, uint32 lot);
    /// @notice The fee of later matches.
    event FeeSet(uint16 feeBps);
    /// @notice Who matches purchases and hastens deals from now on.
    event SchedulerSet(address indexed scheduler);
    /// @notice The most that the market may hold was raised.
    event DepositCapRaised(uint64 depositCap);
    /// @notice New matches were stopped (true) or allowed again (false). Nothing else can be stopped.
    event PausedSet(bool paused);

    // ---------------------------------------------------------------------------------------------- errors

    /// @notice The policy or a role given at deployment makes no sense; `field` names it.
    error MarketPolicy(string field);
    /// @notice Only the scheduler may do this.
    error MarketNotScheduler(address caller);
    /// @notice Only the order's customer may do this.
    error MarketNotCustomer(address caller, address customer);
    /// @notice New matches are stopped.
    error MarketPaused();
    /// @notice Money cannot go to this address.
    error MarketRecipient(address to);
    /// @notice The deposit would lift what the market holds above its cap.
    error MarketDepositCap(uint256 held, uint256 cap);
    /// @notice A cap can only be raised.
    error MarketCapNotRaised(uint64 present, uint64 given);
    /// @notice The token moved another amount than it was asked to.
    error MarketTokenAmount(uint256 asked, uint256 received);
    /// @notice The account's free money is too little for this debit.
    error MarketFundsShort(address account, uint256 free, uint256 needed);
    /// @notice The debit would take the account below the surety that its waiting earnings require.
    error MarketSuretyLocked(address account, uint256 left, uint256 surety);
    /// @notice The provider does not keep the surety.
    error MarketSuretyMissing(address provider, uint256 free, uint256 surety);
    /// @notice The amount does not fit an account's 64 bits.
    error MarketAmountTooLarge(uint256 amount);
    /// @notice The fee is above the largest that the policy allows.
    error MarketFeeTooHigh(uint16 given, uint16 largest);
    /// @notice The era named or signed is not the account's present one.
    error MarketEra(address account, uint32 signed, uint32 present);
    /// @notice The product code is not one that this version defines.
    error MarketProduct(bytes32 product);
    /// @notice A quorum of this size cannot be bought yet.
    error MarketQuorumUnsupported(uint8 quorum);
    /// @notice The number of asks is not the bundle's quorum.
    error MarketLegCount(uint256 given, uint256 needed);
    /// @notice The time given is too early; the earliest is named.
    error MarketUntilTooEarly(uint40 given, uint256 earliest);
    /// @notice Retirement can only bring the end forward.
    error MarketUntilTooLate(uint40 given, uint40 present);
    /// @notice The bundle was never published, or has ended.
    error MarketBundleNotLive(bytes32 id, uint40 until);
    /// @notice The bundle has not ended.
    error MarketBundleLive(bytes32 id, uint40 until);
    /// @notice The purchase names another bundle.
    error MarketBundleMismatch(bytes32 signed, bytes32 given);
    /// @notice The purchase names another price.
    error MarketPrice(uint96 signed, uint96 bundle);
    /// @notice The order or ask has ended.
    error MarketExpired(uint40 expiry);
    /// @notice The lot is not one of the order's.
    error MarketLotRange(uint32 lot, uint256 lots);
    /// @notice The lot is open, settled or cancelled already.
    error MarketLotTaken(bytes32 order, uint32 lot, bytes32 word);
    /// @notice The deal is not open with this `due`.
    error MarketNotOpen(bytes32 deal, uint48 due, bytes32 word);
    /// @notice The signature is not by whom it must be.
    error MarketSignature(address expected, bytes32 digest);
    /// @notice The ask does not sell to bundles.
    error MarketAskKinds(uint8 kinds);
    /// @notice The ask sells another product.
    error MarketAskProduct(bytes32 ask, bytes32 bundle);
    /// @notice The ask is for another customer.
    error MarketAskCustomer(address only, address customer);
    /// @notice The ask is for another matcher.
    error MarketAskMatcher(address only, address caller);
    /// @notice A provider cannot buy from itself.
    error MarketSelfDeal(address account);
    /// @notice An ask at zero, which would have nothing to lose, cannot serve a disputable bundle.
    error MarketAskFree(address provider);
    /// @notice An ask without slots never ends.
    error MarketAskSlots(address provider);
    /// @notice The legs cost more than the bundle allows.
    error MarketCost(uint256 cost, uint96 maxCost);
    /// @notice The bundle's float is too little for what the legs cost above the price.
    error MarketFloatShort(bytes32 id, uint96 float_, uint256 needed);
    /// @notice The deadline would be later than the customer accepts.
    error MarketDeliverBy(uint256 deadline, uint40 deliverBy);
    /// @notice The deadline has passed.
    error MarketTooLate(uint40 deadline);
    /// @notice The deadline has not passed.
    error MarketTooEarly(uint40 deadline);
    /// @notice More tasks done than the lot has.
    error MarketDone(uint16 done, uint16 count);
    /// @notice A refusal (`done` is 0) must carry the deal's `due` as its root.
    error MarketRefusalRoot(bytes32 root, uint48 due);
    /// @notice Hastening would not bring the deadline forward.
    error MarketNotSooner(uint40 present, uint256 proposed);

    // -------------------------------------------------------------------------------------------- accounts

    /// @notice Moves `amount` from the caller's wallet to its account.
    function deposit(uint64 amount) external;

    /// @notice Moves `amount` from the caller's wallet to the account of `account`.
    function depositFor(address account, uint64 amount) external;

    /// @notice Moves `amount` from the caller's free money to `to`. While earnings wait, the surety stays.
    function withdraw(address to, uint64 amount) external;

    /// @notice Lets `key` sign asks and results for the caller up to the second `until`; 0 revokes. A key that
    /// signed the ask of an open deal still signs its result.
    function authorise(address key, uint40 until) external;

    /// @notice Ends the caller's present era, which it must name, and with it every order and ask signed under it.
    function bump(uint32 era) external;

    /// @notice Closes a free lot of the caller's purchase.
    function cancel(Purchase calldata purchase, uint32 lot) external;

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

    /// @notice Pays a deal up to its deadline. With all signatures, by anyone.
    /// @param deal The deal, from `DealOpened`.
    /// @param due Its present `due`.
    /// @param root Merkle root over the lot's results; with `done` 0 it must be `due`: a refusal, which gives the
    /// whole price back and frees the lot.
    /// @param done Tasks that succeeded; each leg is paid `pay * done`.
    /// @param signatures Of `Result(deal, root, done)`, one for each leg, by its key.
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

    /// @notice The one token that the market holds.
    function token() external view returns (IERC20);

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

    /// @notice Last second at which `key` may sign for `provider`; 0: never.
    function workers(address provider, address key) external view returns (uint40 until);

    /// @notice When an offer ends, and its float.
    function bundles(bytes32 id) external view returns (uint40 until, uint96 float_);

    /// @notice The word of a lot: 0 free, 1 cancelled, `keccak256(abi.encode(deal, due))` open,
    /// `keccak256(abi.encode(deal, root, fact))` settled, where `deal` is the deal's id.
    /// @param order EIP-712 digest of the order.
    function lot(bytes32 order, uint32 index) external view returns (bytes32 word);

    /// @notice The word at a key; a lot's is `keccak256(abi.encode(order, lot))`.
    function lots(bytes32 key) external view returns (bytes32 word);
}
