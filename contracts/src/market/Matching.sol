// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../interfaces/ILots.sol";
import {Ask, Bid, Offer, Purchase, SignedAsk} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Config} from "../libraries/Config.sol";
import {Deals, Head} from "../libraries/Deals.sol";
import {Draft, Drafts} from "../libraries/Drafts.sol";
import {AskWords, BidWords, Given, OfferWords, PurchaseWords} from "../libraries/Given.sol";
import {Lots} from "../libraries/Lots.sol";
import {Products} from "../libraries/Products.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Core} from "./Core.sol";

/// @notice Opens deals on free lots of purchases and bids.
abstract contract Matching is ILots, Core {
    uint256 private constant MOST_LEGS = 16;
    uint256 private constant KIND_BID = 1;
    uint256 private constant KIND_BUNDLE = 2;

    /// @dev While `clear` runs, the one price of its legs plus one. Transient, so it costs no storage and cannot stay.
    uint256 private transient _clearing;

    /// @inheritdoc ILots
    function matchPurchase(
        Purchase calldata purchase,
        bytes calldata signature,
        Offer calldata offer,
        uint32 index,
        SignedAsk[] calldata asks
    ) external returns (bytes32) {
        Config config = _config;
        if (msg.sender != config.scheduler()) revert MarketNotScheduler(msg.sender);
        if (config.paused()) revert MarketPaused();

        PurchaseWords calldata p = Given.words(purchase);
        (OfferWords calldata o, bytes32 bundle) = _accepted(p, offer);
        uint256 count = _count(p.tasks, p.lot, index);
        Draft memory draft = Drafts.begin(_digest(TypedData.hash(purchase)), asks.length);
        Lot storage lot = _freeLot(draft.order, index);
        draft.head = Deals.head(p.customer, index, count, o.quorum, o.disputable);

        (uint256 cost, uint256 deadline) =
            _legs(draft, o.product, KIND_BUNDLE, 0, config.scheduler(), asks);
        if (deadline > p.deliverBy) revert MarketDeliverBy(deadline, uint40(p.deliverBy));
        if (cost > o.maxCost) revert MarketCost(cost, uint96(o.maxCost));
        draft.money = Deals.charge(o.price, 0);
        unchecked {
            // Prices have 96 bits, the fee 16, a cost the sum of 16 prices.
            if (cost < o.price) {
                uint256 fee = o.price * config.feeBps() / BPS;
                uint256 margin = o.price - cost;
                draft.money = Deals.charge(o.price, fee < margin ? fee : margin);
            } else if (cost > o.price) {
                _takeFloat(bundle, (cost - o.price) * count);
            }
        }
        return _open(draft, bundle, lot, deadline, p.era, signature);
    }

    /// @inheritdoc ILots
    function matchBid(Bid calldata bid, bytes calldata signature, uint32 index, SignedAsk[] calldata asks)
        external
        returns (bytes32)
    {
        Config config = _config;
        if (config.paused()) revert MarketPaused();
        BidWords calldata b = Given.words(bid);
        if (!_mayMatch(b.matcher, config.scheduler())) {
            revert MarketBidMatcher(address(uint160(b.matcher)), msg.sender);
        }
        if (block.timestamp > b.expiry) revert MarketExpired(uint40(b.expiry));
        if (b.quorum == 0) revert MarketQuorumUnsupported(0);
        Products.check(b.product);

        uint256 count = _count(b.tasks, b.lot, index);
        Draft memory draft = Drafts.begin(_digest(TypedData.hash(bid)), asks.length);
        Lot storage lot = _freeLot(draft.order, index);
        draft.head = Deals.head(b.customer, index, count, b.quorum, 0);

        (uint256 cost, uint256 deadline) =
            _legs(draft, b.product, KIND_BID, _clearing, config.scheduler(), asks);
        if (deadline > b.deliverBy) revert MarketDeliverBy(deadline, uint40(b.deliverBy));
        unchecked {
            // A cost is the sum of 16 prices of 96 bits, the fee has 16.
            uint256 fee = cost * config.feeBps() / BPS;
            if (cost + fee > b.price) revert MarketCost(cost + fee, uint96(b.price));
            draft.money = Deals.charge(cost + fee, fee);
        }
        return _open(draft, 0, lot, deadline, b.era, signature);
    }

    /// @inheritdoc ILots
    function clear(uint96 price, bytes32 batch, bytes[] calldata bids) external onlyScheduler {
        emit Cleared(batch, price);
        _clearing = uint256(price) + 1;
        _each(bids, ILots.matchBid.selector, ILots.matchBid.selector);
        _clearing = 0;
    }

    /// @dev Calls each item; see `Market`.
    function _each(bytes[] calldata calls, bytes4 one, bytes4 other) internal virtual;

    /// @dev The offer and its id; it must be live and be what the purchase accepts. What is live was checked field by
    /// field when it was published, so its words are read as they are.
    function _accepted(PurchaseWords calldata p, Offer calldata offer)
        private
        view
        returns (OfferWords calldata o, bytes32 id)
    {
        assembly ("memory-safe") {
            o := offer
        }
        id = Lots.offerId(offer);
        if (p.bundle != id) revert MarketBundleMismatch(p.bundle, id);
        if (p.price != o.price) revert MarketPrice(uint96(p.price), uint96(o.price));
        uint40 until = _bundles[id].until;
        if (block.timestamp > until) revert MarketBundleNotLive(id, until);
        if (block.timestamp > p.expiry) revert MarketExpired(uint40(p.expiry));
    }

    /// @dev Zero names anyone, the market its scheduler.
    function _mayMatch(uint256 matcher, address scheduler) private view returns (bool) {
        if (matcher == uint160(address(this))) return msg.sender == scheduler || msg.sender == address(this);
        return matcher == 0 || matcher == uint160(msg.sender);
    }

    /// @dev Puts the legs that the asks give into the deal; what they cost together for one task, and the latest
    /// deadline among them. `uniform`: 0, or one price for all of them plus one.
    function _legs(
        Draft memory draft,
        bytes32 product,
        uint256 kind,
        uint256 uniform,
        address scheduler,
        SignedAsk[] calldata asks
    ) private view returns (uint256 cost, uint256 deadline) {
        uint256 n = asks.length;
        uint8 quorum = draft.head.quorum();
        if (n < quorum || n > MOST_LEGS) revert MarketLegCount(n, quorum);
        uint256 slots = type(uint16).max;
        unchecked {
            for (uint256 i = 0; i < n; ++i) {
                (Ask calldata ask, bytes calldata signature) = Given.ask(asks, i);
                AskWords calldata a = Given.words(ask);
                _checkAsk(a, draft.head, product, kind, scheduler);
                uint256 provider = a.provider;
                for (uint256 j = 0; j < i; ++j) {
                    if (uint160(draft.share(j).provider()) == provider) {
                        revert MarketLegTwice(address(uint160(provider)));
                    }
                }
                uint256 pay = a.price;
                if (uniform != 0) {
                    if (uniform <= pay) {
                        revert MarketBelowAsk(address(uint160(provider)), uint96(pay), uint96(uniform - 1));
                    }
                    pay = uniform - 1;
                }
                draft.put(i, Deals.share(provider, pay), _askKey(ask, provider, signature));
                cost += pay; // at most 16 of 96 bits
                if (a.slots < slots) slots = a.slots;
            }
            // 40, 32, and 32 + 16 bits.
            // Rounds are whole, so the division comes before the multiplication.
            // slither-disable-start divide-before-multiply
            uint256 rounds = draft.head.count() + slots - 1;
            assembly ("memory-safe") {
                rounds := div(rounds, slots) // not zero: checked for each ask
            }
            deadline = block.timestamp + _grace + Products.maxSeconds(product) * rounds;
            // slither-disable-end divide-before-multiply
        }
    }

    function _checkAsk(AskWords calldata a, Head head, bytes32 product, uint256 kind, address scheduler)
        private
        view
    {
        if (a.kinds & kind == 0) revert MarketAskKinds(uint8(a.kinds));
        if (a.product != product) revert MarketAskProduct(a.product, product);
        uint256 customer = uint160(head.customer());
        uint256 only = a.customer;
        if (only != 0 && only != customer) revert MarketAskCustomer(address(uint160(only)), head.customer());
        if (!_mayMatch(a.matcher, scheduler)) {
            revert MarketAskMatcher(address(uint160(a.matcher)), msg.sender);
        }
        if (block.timestamp > a.expiry) revert MarketExpired(uint40(a.expiry));
        address provider = address(uint160(a.provider));
        if (a.provider == customer) revert MarketSelfDeal(provider);
        if (a.price == 0 && head.disputable()) revert MarketAskFree(provider);
        if (a.slots == 0) revert MarketAskSlots(provider);
        Account held = _load(provider);
        if (a.era != held.era()) revert MarketEra(provider, uint32(a.era), held.era());
        if (held.free() < _surety) revert MarketSuretyMissing(provider, held.free(), _surety);
    }

    /// @dev Who signed the ask: the provider, a key that it authorised, or the provider as a wallet contract.
    function _askKey(Ask calldata ask, uint256 provider_, bytes calldata signature)
        private
        view
        returns (address key)
    {
        address provider = address(uint160(provider_));
        bytes32 digest = _digest(TypedData.hash(ask));
        key = Signatures.recover(digest, signature);
        if (key != address(0)) {
            if (key == provider || block.timestamp <= _workers[provider][key]) return key;
        }
        if (Signatures.isByWallet(provider, digest, signature)) return provider;
        revert MarketSignature(provider, digest);
    }

    function _takeFloat(bytes32 bundle, uint256 needed) private {
        uint96 float_ = _bundles[bundle].float_;
        if (needed > float_) revert MarketFloatShort(bundle, float_, needed);
        _bundles[bundle].float_ = float_ - uint96(needed);
    }

    /// @dev Takes the whole price from the customer, whose signature it must be, and opens the lot.
    function _open(
        Draft memory draft,
        bytes32 bundle,
        Lot storage lot,
        uint256 deadline,
        uint256 era,
        bytes calldata signature
    ) private returns (bytes32 id) {
        address customer = draft.head.customer();
        Held storage held = _accounts[customer];
        Account a = _load(held);
        if (era != a.era()) revert MarketEra(customer, uint32(era), a.era());
        unchecked {
            uint256 total = draft.money.price() * draft.head.count(); // 96 and 16 bits
            held.word = a.debitAboveSurety(total, customer, _surety);
        }
        _mustSign(customer, draft.order, signature);
        id = draft.id();
        lot.word = Lots.open(id, uint48(deadline));
        draft.log(id, bundle, deadline);
    }
}
