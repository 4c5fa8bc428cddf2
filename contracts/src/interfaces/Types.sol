// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Charge, Head, Share} from "../libraries/Deals.sol";

// The values that cross the edge of the market. Prices are in the token's smallest unit and per task; times are
// unix seconds. The field order of the signed structs is the field order of their EIP-712 types.

/// @notice A provider's standing, signed offer to run tasks of one product. It needs no storage.
/// @param provider Account that is paid.
/// @param product What is sold; see `Products`.
/// @param price Least pay for one task.
/// @param slots How many tasks of a lot run side by side; sets the deadline.
/// @param kinds What the ask may be matched with: 1 bids, 2 bundles, 3 both.
/// @param customer Only this customer; zero: anyone.
/// @param matcher Only this caller; zero: anyone; the market itself: its scheduler.
/// @param expiry Last second at which the ask can be matched.
/// @param era Era of the provider's account under which it was signed.
struct Ask {
    address provider;
    bytes32 product;
    uint96 price;
    uint16 slots;
    uint8 kinds;
    address customer;
    address matcher;
    uint40 expiry;
    uint32 era;
}

/// @notice A customer's signed wish for tasks of a product at no more than `price` each, replicas and fee included.
struct Bid {
    address customer;
    bytes32 product;
    uint96 price;
    uint32 tasks;
    uint16 lot;
    uint8 quorum;
    bytes32 job;
    address matcher;
    uint40 expiry;
    uint40 deliverBy;
    uint32 era;
    uint64 nonce;
}

/// @notice A customer's signed acceptance of a bundle.
/// @param customer Account that pays.
/// @param bundle Id of the offer that is accepted.
/// @param price The bundle's price for one task, repeated so that the signer sees it.
/// @param tasks Number of tasks of the whole order.
/// @param lot Number of tasks that are matched, settled or returned together; the last lot may be short.
/// @param job SHA-256 of the canonical job manifest.
/// @param expiry Last second at which a lot of the order can be matched.
/// @param deliverBy Latest deadline that a deal may have.
/// @param era Era of the customer's account under which it was signed.
/// @param nonce Tells equal orders apart; chosen by the signer.
struct Purchase {
    address customer;
    bytes32 bundle;
    uint96 price;
    uint32 tasks;
    uint16 lot;
    bytes32 job;
    uint40 expiry;
    uint40 deliverBy;
    uint32 era;
    uint64 nonce;
}

/// @notice What the key of a leg signs: the Merkle root over the results of a deal's lot.
/// @param deal Id of the deal.
/// @param root Merkle root over exactly `count` leaves; for a refusal (`done` is 0) the deal's `due` as a word.
/// @param done Number of tasks to pay.
struct Result {
    bytes32 deal;
    bytes32 root;
    uint16 done;
}

/// @notice A signed order to pay `amount` to `to` and `fee` to whoever sends it. Used once; independent of `era`.
struct Withdraw {
    address account;
    address to;
    uint96 amount;
    uint96 fee;
    uint64 nonce;
    uint40 deadline;
}

/// @notice A signed order to close one free lot.
struct Cancel {
    bytes32 order;
    uint32 lot;
}

/// @notice A signed order to end the present era of an account.
struct Bump {
    address account;
    uint32 era;
}

/// @notice A bundle's tier as it is offered on chain; its id is `keccak256(abi.encode(offer))`.
/// @param product What a leg must sell.
/// @param application Hash of the definition: image, command, tier.
/// @param price What the customer pays for one task.
/// @param maxCost The most that the legs of one task may cost together; above `price` the float pays.
/// @param quorum Distinct providers that must sign the same root.
/// @param disputable Whether a settled deal can be challenged; its pay then waits for one to two windows.
struct Offer {
    bytes32 product;
    bytes32 application;
    uint96 price;
    uint96 maxCost;
    uint8 quorum;
    bool disputable;
}

/// @notice An ask with the signature of its provider or of a worker key that the provider authorised.
struct SignedAsk {
    Ask ask;
    bytes signature;
}

/// @notice One replica of a deal.
/// @param share The provider that is paid, and what it earns for one task that is done.
/// @param key Who signed the ask and must sign the result, also if it is revoked later.
struct Leg {
    Share share;
    address key;
}

/// @notice A matched lot. Its id, `keccak256(abi.encode(order, head, money, legs))`, holds no time: a result survives a
/// re-match. The bundle is in the order.
/// @param order EIP-712 digest of the bid or purchase, so bound to chain and contract.
/// @param head The customer, which lot of the order it is and of how many tasks, the legs that must agree, and whether
/// the settled deal can be challenged.
/// @param money What the customer pays for one task, and the part of it that is the market's fee, fixed at the match.
/// @param legs One leg a replica.
struct Deal {
    bytes32 order;
    Head head;
    Charge money;
    Leg[] legs;
}

/// @notice What a challenge says. `ground` 0: the leaf of task `index` is wrong; 1: its output is not delivered; 2: the
/// leaves show fewer successes than were paid (index, status and digest then say nothing).
/// @param commitment Of a secret that the challenger reveals to the arbiter; zero when it needs none.
struct Claim {
    uint8 ground;
    uint32 index;
    uint8 status;
    bytes32 digest;
    bytes32 commitment;
}

/// @notice A challenged deal, as it is passed back to `judge` and `lapse`.
/// @param challenger Account that put up the bond.
/// @param until Last second at which the arbiter can judge.
/// @param claim `keccak256(abi.encode(ground, index, leaf, commitment))`; the leaf is zero for ground 2.
/// @param fees What each signing leg gave towards the arbiter's fee, in the order of the legs.
struct Case {
    Deal deal;
    bytes32 root;
    uint96 fact;
    address challenger;
    uint40 until;
    bytes32 claim;
    uint64[] fees;
}

/// @notice What signers rely on; fixed at deployment, but for `depositCap`, which admin may raise.
/// @param window Seconds in which a settled disputable deal can be challenged, and that the arbiter has to judge it.
/// @param grace Seconds beside the run time that a deal is given, and the least that `hasten` leaves.
/// @param notice Seconds between the retirement of a bundle and its end.
/// @param surety What a provider keeps free to be matched.
/// @param bond What a first challenge costs.
/// @param arbiterFee What a case costs.
/// @param maxFeeBps Largest fee, in hundredths of a percent.
/// @param arbiter Judge of disputes; called at each challenge if it is a contract when the market is deployed.
/// @param depositCap The most that accounts, deals and floats may hold together.
struct Policy {
    uint32 window;
    uint32 grace;
    uint32 notice;
    uint64 surety;
    uint64 bond;
    uint64 arbiterFee;
    uint16 maxFeeBps;
    address arbiter;
    uint64 depositCap;
}

/// @notice Who may do what at the start. `scheduler` matches purchases and hastens deals.
struct Roles {
    address admin;
    address pricing;
    address scheduler;
    address pauser;
}
