"""Bundles' offers at a flat price, and their floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from prixfixe.protocol.deals import Offer
from prixfixe.protocol.ledger.roles import PRICING_ROLE, require_role
from prixfixe.protocol.ledger.state import Bundle, Ledger, require
from prixfixe.protocol.product import LAYOUT, MAX_SECONDS, PRODUCT_VERSION

MOST_LEGS: Final = 16


def publish(ledger: Ledger, sender: str, offer: Offer, until: int, float_: int) -> Ledger:
    """Puts an offer up until `until`, with `float_` from the treasury. Of a live offer it can only extend the
    time, and adds to the float."""
    require_role(ledger, PRICING_ROLE, sender)
    seconds_of(offer.product)
    require(1 <= offer.quorum <= MOST_LEGS, "MarketQuorumUnsupported")
    bundle = ledger.bundle(offer.id)
    require(until >= bundle.until and until > ledger.now, "MarketUntilTooEarly")
    ledger = ledger.debit(ledger.market, float_)
    ledger = ledger.with_bundle(offer.id, Bundle(until, bundle.float_ + float_))
    return ledger.tell("Published", id=offer.id, offer=offer, until=until, float_=float_)


def retire(ledger: Ledger, sender: str, offer_id: bytes, until: int) -> Ledger:
    """Brings the end of a live offer forward, never sooner than the notice, so that a quote is honoured."""
    require_role(ledger, PRICING_ROLE, sender)
    bundle = ledger.bundle(offer_id)
    require(ledger.now <= bundle.until, "MarketBundleNotLive")
    require(until >= ledger.now + ledger.policy.notice, "MarketUntilTooEarly")
    require(until < bundle.until, "MarketUntilTooLate")
    ledger = ledger.with_bundle(offer_id, replace(bundle, until=until))
    return ledger.tell("Retired", id=offer_id, until=until)


def reclaim(ledger: Ledger, sender: str, offer_id: bytes) -> Ledger:
    """Moves the float of an ended offer back to the treasury. By anyone."""
    bundle = ledger.bundle(offer_id)
    require(ledger.now > bundle.until, "MarketBundleLive")
    ledger = ledger.with_bundle(offer_id, replace(bundle, float_=0)).credit(ledger.market, bundle.float_)
    return ledger.tell("Reclaimed", id=offer_id, amount=bundle.float_)


def seconds_of(product: bytes) -> int:
    """The most seconds that a task of this product may run; the code must be one that this version
    defines."""
    version, vcpu, memory, _, gpus, model, reserved, seconds = LAYOUT.unpack(product)
    require(
        version == PRODUCT_VERSION
        and reserved == 0
        and vcpu > 0
        and memory > 0
        and (gpus == 0) == (model == bytes(12))
        and 0 < seconds <= MAX_SECONDS,
        "MarketProduct",
    )
    return int(seconds)
