// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {Ask, Bid, Offer, Purchase, SignedAsk} from "../interfaces/Types.sol";
import {Account} from "../libraries/Accounts.sol";
import {Deals, Head} from "../libraries/Deals.sol";
import {Draft, Drafts} from "../libraries/Drafts.sol";
import {Lots} from "../libraries/Lots.sol";
import {Products} from "../libraries/Products.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bundles} from "./Bundles.sol";
import {Money} from "./Money.sol";

/// @notice Opens deals on free lots of purchases and bids.
abstract contract Matching is Bundles, Money {
    uint8 private constant KIND_BID = 1;
    uint8 private constant KIND_BUNDLE = 2;

    /// @dev While `clear` runs, the one price of its legs plus one. Transient, so it costs no storage and cannot stay.
    uint256 private transient _clearing;

    /// @inheritdoc IMarket
    function matchPurchase(
        Purchase calldata purchase,
        bytes calldata signature,
        Offer calldata offer,
        uint32 index,
        SignedAsk[] calldata asks
    ) external returns (bytes32) {
        Config memory config_ = _config;
        if (msg.sender != config_.scheduler) revert MarketNotScheduler(msg.sender);
        if (config_.paused) revert MarketPaused();

        bytes32 bundle = _accepted(purchase, offer);
        uint256 count = _count(purchase.tasks, purchase.lot, index);
        Draft memory draft = Drafts.begin(_order(purchase), asks.length);
        bytes32 key = _freeLot(draft.order, index);
        draft.head = Deals.head(purchase.customer, index, count, offer.quorum, offer.disputable);

        (uint256 cost, uint256 deadline) =
            _legs(draft, offer.product, KIND_BUNDLE, 0, config_.scheduler, asks);
        if (deadline > purchase.deliverBy) revert MarketDeliverBy(deadline, purchase.deliverBy);
        if (cost > offer.maxCost) revert MarketCost(cost, offer.maxCost);
        uint256 price = offer.price;
        uint256 fee = 0;
        if (cost < price) fee = Math.min(price - cost, price * config_.feeBps / BPS);
        else if (cost > price) _takeFloat(bundle, (cost - price) * count);
        draft.money = Deals.charge(price, fee);
        return _open(draft, bundle, key, uint48(deadline), purchase.era, signature);
    }

    /// @inheritdoc IMarket
    function matchBid(Bid calldata bid, bytes calldata signature, uint32 index, SignedAsk[] calldata asks)
        external
        returns (bytes32)
    {
        Config memory config_ = _config;
        if (config_.paused) revert MarketPaused();
        if (!_mayMatch(bid.matcher, config_.scheduler)) revert MarketBidMatcher(bid.matcher, msg.sender);
        if (block.timestamp > bid.expiry) revert MarketExpired(bid.expiry);
        if (bid.quorum == 0) revert MarketQuorumUnsupported(0);
        Products.check(bid.product);

        uint256 count = _count(bid.tasks, bid.lot, index);
        Draft memory draft = Drafts.begin(_order(bid), asks.length);
        bytes32 key = _freeLot(draft.order, index);
        draft.head = Deals.head(bid.customer, index, count, bid.quorum, false);

        (uint256 cost, uint256 deadline) =
            _legs(draft, bid.product, KIND_BID, _clearing, config_.scheduler, asks);
        if (deadline > bid.deliverBy) revert MarketDeliverBy(deadline, bid.deliverBy);
        uint256 fee = cost * config_.feeBps / BPS;
        if (cost + fee > bid.price) revert MarketCost(cost + fee, bid.price);
        draft.money = Deals.charge(cost + fee, fee);
        return _open(draft, 0, key, uint48(deadline), bid.era, signature);
    }

    /// @inheritdoc IMarket
    function clear(uint96 price, bytes32 batch, bytes[] calldata bids) external onlyScheduler {
        emit Cleared(batch, price);
        _clearing = uint256(price) + 1;
        _each(bids, IMarket.matchBid.selector, IMarket.matchBid.selector);
        _clearing = 0;
    }

    /// @dev Calls each item; see `Market`.
    function _each(bytes[] calldata calls, bytes4 one, bytes4 other) internal virtual;

    /// @dev The id of the offer, which must be live and be what the purchase accepts.
    function _accepted(Purchase calldata purchase, Offer calldata offer) private view returns (bytes32 id) {
        id = Lots.offerId(offer);
        if (purchase.bundle != id) revert MarketBundleMismatch(purchase.bundle, id);
        if (purchase.price != offer.price) revert MarketPrice(purchase.price, offer.price);
        uint40 until = bundles[id].until;
        if (block.timestamp > until) revert MarketBundleNotLive(id, until);
        if (block.timestamp > purchase.expiry) revert MarketExpired(purchase.expiry);
    }

    /// @dev Zero names anyone, the market its scheduler.
    function _mayMatch(address matcher, address scheduler) private view returns (bool) {
        return matcher == address(0) || matcher == msg.sender
            || (matcher == address(this) && msg.sender == scheduler);
    }

    /// @dev Puts the legs that the asks give into the deal; what they cost together for one task, and the latest
    /// deadline among them. `uniform`: 0, or one price for all of them plus one.
    function _legs(
        Draft memory draft,
        bytes32 product,
        uint8 kind,
        uint256 uniform,
        address scheduler,
        SignedAsk[] calldata asks
    ) private view returns (uint256 cost, uint256 deadline) {
        uint256 n = asks.length;
        uint8 quorum = draft.head.quorum();
        if (n < quorum || n > MOST_LEGS) revert MarketLegCount(n, quorum);
        uint256 slots = type(uint16).max;
        for (uint256 i = 0; i < n; ++i) {
            Ask calldata ask = asks[i].ask;
            _checkAsk(ask, draft.head, product, kind, scheduler);
            address provider = ask.provider;
            for (uint256 j = 0; j < i; ++j) {
                if (draft.share(j).provider() == provider) revert MarketLegTwice(provider);
            }
            uint96 pay = ask.price;
            if (uniform != 0) {
                if (uniform <= pay) revert MarketBelowAsk(provider, pay, uint96(uniform - 1));
                pay = uint96(uniform - 1);
            }
            draft.put(i, Deals.share(provider, pay), _askKey(ask, asks[i].signature));
            cost += pay;
            if (ask.slots < slots) slots = ask.slots;
        }
        unchecked {
            // 40, 32, and 32 + 16 bits; `slots` is not zero: checked for each ask.
            deadline = block.timestamp + _grace
                + Products.maxSeconds(product) * ((draft.head.count() + slots - 1) / slots);
        }
    }

    function _checkAsk(Ask calldata ask, Head head, bytes32 product, uint8 kind, address scheduler) private view {
        if (ask.kinds & kind == 0) revert MarketAskKinds(ask.kinds);
        if (ask.product != product) revert MarketAskProduct(ask.product, product);
        address customer = head.customer();
        address only = ask.customer;
        if (only != address(0) && only != customer) revert MarketAskCustomer(only, customer);
        if (!_mayMatch(ask.matcher, scheduler)) revert MarketAskMatcher(ask.matcher, msg.sender);
        if (block.timestamp > ask.expiry) revert MarketExpired(ask.expiry);
        address provider = ask.provider;
        if (provider == customer) revert MarketSelfDeal(provider);
        if (ask.price == 0 && head.disputable()) revert MarketAskFree(provider);
        if (ask.slots == 0) revert MarketAskSlots(provider);
        Account a = _load(provider);
        if (ask.era != a.era()) revert MarketEra(provider, ask.era, a.era());
        if (a.free() < _surety) revert MarketSuretyMissing(provider, a.free(), _surety);
    }

    /// @dev Who signed the ask: the provider, a key that it authorised, or the provider as a wallet contract.
    function _askKey(Ask calldata ask, bytes calldata signature) private view returns (address key) {
        bytes32 digest = _hashTypedDataV4(TypedData.hash(ask));
        key = Signatures.recover(digest, signature);
        if (key != address(0)) {
            if (key == ask.provider || block.timestamp <= workers[ask.provider][key]) return key;
        }
        if (Signatures.isByWallet(ask.provider, digest, signature)) return ask.provider;
        revert MarketSignature(ask.provider, digest);
    }

    function _takeFloat(bytes32 bundle, uint256 needed) private {
        uint96 float_ = bundles[bundle].float_;
        if (needed > float_) revert MarketFloatShort(bundle, float_, needed);
        bundles[bundle].float_ = float_ - uint96(needed);
    }

    /// @dev Takes the whole price from the customer, whose signature it must be, and opens the lot.
    function _open(
        Draft memory draft,
        bytes32 bundle,
        bytes32 key,
        uint48 due,
        uint32 era,
        bytes calldata signature
    ) private returns (bytes32 id) {
        address customer = draft.head.customer();
        Account a = _load(customer);
        if (era != a.era()) revert MarketEra(customer, era, a.era());
        uint256 total = draft.money.price() * draft.head.count();
        _accounts[customer] = a.debitAboveSurety(total, customer, _surety);
        _mustSign(customer, draft.order, signature);
        id = draft.id();
        lots[key] = Lots.open(id, due);
        draft.log(id, bundle, due);
    }
}
