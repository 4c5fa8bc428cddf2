"""What the operator signs for customers, quotes and receipts: EIP-712 typed data in the market's own domain.

The first fields are what a person wants to see in a wallet; `document` is SHA-256 over the canonical JSON
of the whole document without its signature, so that every field of it is bound and any altered byte shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.typed_data import Address, Bytes32, Domain, TypedStruct, Uint40, Uint96, parse_bytes32

if TYPE_CHECKING:
    from prixfixe.protocol import receipt as receipts
    from prixfixe.protocol import wire


@dataclass(frozen=True, slots=True)
class Quote(TypedStruct):
    """The signed part of a `wire.Quote`. bundle: id of the offer. total: what the whole order costs."""

    customer: Address
    bundle: Bytes32
    job: Bytes32
    total: Uint96
    expiry: Uint40
    document: Bytes32


@dataclass(frozen=True, slots=True)
class Receipt(TypedStruct):
    """The signed part of a `receipt.Receipt`. order: the purchase's digest. charged: of the customer's
    money."""

    order: Bytes32
    charged: Uint96
    document: Bytes32


def quote_digest(quote: wire.Quote, domain: Domain) -> bytes:
    """The 32 bytes that the operator signs; the quote's `signature` may still be a placeholder."""
    return Quote(
        customer=quote.customer,
        bundle=parse_bytes32(quote.offer_id, name="offer_id"),
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
