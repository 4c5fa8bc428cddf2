// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketState} from "./IMarketState.sol";
import {Bid, Bump, Offer, Policy, Purchase, Withdraw} from "./Types.sol";

/// @title Desk
/// @notice Everything that happens less often than a task: accounts, keys, bundles, roles, views.
interface IDesk is IMarketState {
    // Parameters are called what they are, like the views `account` and `lot`: an interface has no code to mistake them.
    // slither-disable-start shadowing-local
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

    /// @notice Whether each challenge calls the arbiter (see `IArbiter`): it was a contract when the market was deployed.
    function asksArbiter() external view returns (bool);

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
    // slither-disable-end shadowing-local
}
