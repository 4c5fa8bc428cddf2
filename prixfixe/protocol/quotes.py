"""Quotes and receipts as the operator signs them, and the order that accepts a quote: EIP-712 typed data.

The first fields are what a person wants to see in a wallet; `document` is SHA-256 over the canonical JSON
of the whole document without its signature, so that every field of it is bound and any altered byte shows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.orders import Bid, Order, Purchase
from prixfixe.protocol.replicas import quorum_of
from prixfixe.protocol.typed_data import (
    Address,
    Bytes32,
    Domain,
    TypedStruct,
    Uint40,
    Uint96,
    format_bytes32,
    parse_bytes32,
)

if TYPE_CHECKING:
    from prixfixe.protocol import receipt as receipts
    from prixfixe.protocol import wire


@dataclass(frozen=True, slots=True)
class Quote(TypedStruct):
    """The signed part of a quote. bundle: id of the offer; zero for a bid. total: the most that the whole
    order can cost."""

    customer: Address
    bundle: Bytes32
    job: Bytes32
    total: Uint96
    expiry: Uint40
    document: Bytes32


@dataclass(frozen=True, slots=True)
class Receipt(TypedStruct):
    """The signed part of a `receipt.Receipt`. order: the order's digest. charged: of the customer's
    money."""

    order: Bytes32
    charged: Uint96
    document: Bytes32


def order_of(quote: wire.Quote | wire.BidQuote, contract: str, *, expiry: int, nonce: int) -> Order:
    """The order that accepts a quote. contract: the market's address: a bid names it as its matcher, so that
    only this market's scheduler may match it."""
    from prixfixe.protocol.wire import BidQuote

    shared: dict[str, Any] = {
        "customer": quote.customer,
        "price": quote.price.units,
        "tasks": quote.tasks,
        "lot": quote.lot,
        "job": parse_bytes32(quote.job, name="job"),
        "expiry": expiry,
        "deliver_by": quote.deliver_by,
        "era": quote.era,
        "nonce": nonce,
    }
    if isinstance(quote, BidQuote):
        quorum = quorum_of(quote.replicas)
        return Bid(product=quote.product.to_bytes(), quorum=quorum, matcher=contract, **shared)
    return Purchase(bundle=parse_bytes32(quote.offer_id, name="offer_id"), **shared)


def nonce_of(quote: wire.Quote | wire.BidQuote) -> int:
    """The nonce of the order that a service signs for a managed account: a quote has one such order."""
    return int.from_bytes(hashlib.sha256(quote.id.encode("utf-8", "replace")).digest()[:8], "big")


def not_as_quoted(order: Order, quote: wire.Quote | wire.BidQuote, contract: str) -> list[str]:
    """What a signed order says otherwise than its quote, in words; empty when it accepts it."""
    expected = order_of(quote, contract, expiry=min(order.expiry, quote.order_expiry), nonce=order.nonce)
    if type(order) is not type(expected):
        return [f"a {type(order).__name__} was signed, and a {type(expected).__name__} was quoted"]
    signed, quoted = order.to_json(), expected.to_json()
    return [
        f"{name} is {signed[name]}, quoted {'at most ' if name == 'expiry' else ''}{quoted[name]}"
        for name in signed
        if signed[name] != quoted[name]
    ]


def quote_digest(quote: wire.Quote | wire.BidQuote, domain: Domain) -> bytes:
    """The 32 bytes that the operator signs; the quote's `signature` may still be a placeholder."""
    return Quote(
        customer=quote.customer,
        bundle=parse_bytes32(getattr(quote, "offer_id", format_bytes32(bytes(32))), name="offer_id"),
        job=parse_bytes32(quote.job, name="job"),
        total=quote.total.units,
        expiry=quote.expires_at,
        document=canonical_digest(quote.model_dump(mode="json", exclude={"signature"})),
    ).digest(domain)


def receipt_digest(receipt: receipts.Receipt, domain: Domain) -> bytes:
    """The 32 bytes that the operator signs; the receipt's `signature` may still be a placeholder."""
    return Receipt(
        order=parse_bytes32(receipt.job, name="job"),
        charged=receipt.charged.units,
        document=canonical_digest(receipt.model_dump(mode="json", exclude={"signature"})),
    ).digest(domain)
