"""Deals open: a lot of a purchase or of a bid meets one ask a replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Leg, Offer
from prixfixe.protocol.ledger.accounts import tasks_in
from prixfixe.protocol.ledger.offers import MOST_LEGS, seconds_of
from prixfixe.protocol.ledger.state import Ledger, Open, Signature, require
from prixfixe.protocol.orders import KIND_BIDS, KIND_BUNDLES, Ask, Bid, Purchase

# Fees are hundredths of a percent.
WHOLE_BPS: Final = 10_000

Asks: TypeAlias = Sequence[tuple[Ask, Signature]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What asks are held against. one_price: what every leg is paid in an auction, None: its ask."""

    customer: str
    product: bytes
    kind: int
    quorum: int
    disputable: bool
    one_price: int | None = None


def match_purchase(
    ledger: Ledger,
    sender: str,
    purchase: Purchase,
    signature: Signature,
    offer: Offer,
    lot: int,
    asks: Asks,
) -> Ledger:
    """Opens a deal on a free lot of a purchase: the customer pays the flat price, each leg will get its ask,
    and what the legs cost above the price comes from the bundle's float. Scheduler."""
    require(sender == ledger.scheduler, "MarketNotScheduler")
    require(not ledger.paused, "MarketPaused")
    require(purchase.bundle == offer.id, "MarketBundleMismatch")
    require(purchase.price == offer.price, "MarketPrice")
    require(ledger.now <= ledger.bundle(offer.id).until, "MarketBundleNotLive")
    require(ledger.now <= purchase.expiry, "MarketExpired")
    count = tasks_in(purchase, lot)
    order = _free_lot(ledger, purchase, lot)

    terms = Terms(purchase.customer, offer.product, KIND_BUNDLES, offer.quorum, offer.disputable)
    legs, slots = _legs(ledger, sender, terms, asks)
    deadline = _deadline(ledger, offer.product, count, slots)
    require(deadline <= purchase.deliver_by, "MarketDeliverBy")
    price, cost = offer.price, sum(leg.pay for leg in legs)
    require(cost <= offer.max_cost, "MarketCost")
    fee = max(0, min(price - cost, price * ledger.fee_bps // WHOLE_BPS))
    if cost > price:
        ledger = _take_float(ledger, offer.id, (cost - price) * count)
    deal = Deal(
        order=order,
        customer=purchase.customer,
        bundle=offer.id,
        lot=lot,
        count=count,
        quorum=offer.quorum,
        disputable=offer.disputable,
        price=price,
        fee=fee,
        legs=legs,
    )
    return _open(ledger, deal, deadline, purchase.era, signature)


def match_bid(ledger: Ledger, sender: str, bid: Bid, signature: Signature, lot: int, asks: Asks) -> Ledger:
    """Opens a deal on a free lot of a bid: each leg will get its ask, and the customer pays that and the fee,
    at most the bid's price. By whom bid and asks name."""
    return match_bid_at(ledger, sender, bid, signature, lot, asks)


def match_bid_at(
    ledger: Ledger,
    sender: str,
    bid: Bid,
    signature: Signature,
    lot: int,
    asks: Asks,
    *,
    one_price: int | None = None,
) -> Ledger:
    """As `match_bid`; in an auction every leg gets the one price, which is not below its ask."""
    require(not ledger.paused, "MarketPaused")
    require(_may_match(ledger, bid.matcher, sender), "MarketBidMatcher")
    require(ledger.now <= bid.expiry, "MarketExpired")
    require(bid.quorum > 0, "MarketQuorumUnsupported")
    seconds_of(bid.product)
    count = tasks_in(bid, lot)
    order = _free_lot(ledger, bid, lot)

    terms = Terms(bid.customer, bid.product, KIND_BIDS, bid.quorum, False, one_price)
    legs, slots = _legs(ledger, sender, terms, asks)
    deadline = _deadline(ledger, bid.product, count, slots)
    require(deadline <= bid.deliver_by, "MarketDeliverBy")
    cost = sum(leg.pay for leg in legs)
    fee = cost * ledger.fee_bps // WHOLE_BPS
    require(cost + fee <= bid.price, "MarketCost")
    deal = Deal(
        order=order,
        customer=bid.customer,
        bundle=bytes(32),
        lot=lot,
        count=count,
        quorum=bid.quorum,
        disputable=False,
        price=cost + fee,
        fee=fee,
        legs=legs,
    )
    return _open(ledger, deal, deadline, bid.era, signature)


def _free_lot(ledger: Ledger, order: Purchase | Bid, lot: int) -> bytes:
    order_id = ledger.digest(order)
    require(ledger.lot(order_id, lot) is None, "MarketLotTaken")
    return order_id


def _may_match(ledger: Ledger, matcher: str, sender: str) -> bool:
    """Zero names anyone, the market its scheduler."""
    return matcher in (ZERO_ADDRESS, sender) or (matcher == ledger.market and sender == ledger.scheduler)


def _deadline(ledger: Ledger, product: bytes, count: int, slots: int) -> int:
    """When the slowest leg, of which `slots` tasks run side by side, must have delivered."""
    return ledger.now + ledger.policy.grace + seconds_of(product) * -(-count // slots)


def _legs(ledger: Ledger, sender: str, terms: Terms, asks: Asks) -> tuple[tuple[Leg, ...], int]:
    """One leg an ask, of distinct providers; and the fewest slots among them."""
    require(terms.quorum <= len(asks) <= MOST_LEGS, "MarketLegCount")
    legs: list[Leg] = []
    for ask, signature in asks:
        _require_fits(ledger, sender, terms, ask)
        require(all(leg.provider != ask.provider for leg in legs), "MarketLegTwice")
        pay = ask.price if terms.one_price is None else terms.one_price
        require(pay >= ask.price, "MarketBelowAsk")
        legs.append(Leg(ask.provider, _key_of(ledger, ask, signature), pay))
    return tuple(legs), min(ask.slots for ask, _ in asks)


def _require_fits(ledger: Ledger, sender: str, terms: Terms, ask: Ask) -> None:
    provider = ledger.account(ask.provider)
    require(ask.kinds & terms.kind != 0, "MarketAskKinds")
    require(ask.product == terms.product, "MarketAskProduct")
    require(ask.customer in (ZERO_ADDRESS, terms.customer), "MarketAskCustomer")
    require(_may_match(ledger, ask.matcher, sender), "MarketAskMatcher")
    require(ledger.now <= ask.expiry, "MarketExpired")
    require(ask.provider != terms.customer, "MarketSelfDeal")
    require(ask.price > 0 or not terms.disputable, "MarketAskFree")
    require(ask.slots > 0, "MarketAskSlots")
    require(ask.era == provider.era, "MarketEra")
    require(provider.free >= ledger.policy.surety, "MarketSuretyMissing")


def _key_of(ledger: Ledger, ask: Ask, signature: Signature) -> str:
    """Who signed the ask: the provider, or a key that it authorised. It will sign the result, also if it is
    revoked by then."""
    require(signature.digest == ledger.digest(ask), "MarketSignature")
    authorised = ledger.now <= ledger.workers.get((ask.provider, signature.by), -1)
    by_worker = authorised and not signature.wallet
    require(signature.by == ask.provider or by_worker, "MarketSignature")
    return signature.by


def _take_float(ledger: Ledger, offer_id: bytes, amount: int) -> Ledger:
    bundle = ledger.bundle(offer_id)
    require(amount <= bundle.float_, "MarketFloatShort")
    return ledger.with_bundle(offer_id, replace(bundle, float_=bundle.float_ - amount))


def _open(ledger: Ledger, deal: Deal, deadline: int, era: int, signature: Signature) -> Ledger:
    """Takes the whole price from the customer, whose signature it must be."""
    require(era == ledger.account(deal.customer).era, "MarketEra")
    ledger = ledger.debit_above_surety(deal.customer, deal.price * deal.count)
    ledger.require_signed(signature, deal.customer, deal.order)
    ledger = ledger.with_lot(deal.order, deal.lot, Open(deal, deadline))
    return ledger.tell("DealOpened", deal=deal.id, order=deal.order, data=deal, due=deadline)
