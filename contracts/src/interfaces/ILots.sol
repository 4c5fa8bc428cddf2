// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bid, Deal, Offer, Purchase, SignedAsk} from "./Types.sol";

/// @title Lots
/// @notice Opens deals on the lots of orders and ends them; one by one, or many in one call.
interface ILots {
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
}
