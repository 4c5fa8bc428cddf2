"""What the operator signs when it quotes: EIP-712 typed data `Quote` in the market's own domain.
 The first fields are what a person wants to see in a wallet; `document` is SHA-256 over the canonical JSON
of the whole quote without its signature, so that every field of it is bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.typed_data import Address, Bytes32, Domain, TypedStruct, Uint40, Uint96, parse_bytes32

if TYPE_CHECKING:
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


def signed_part(quote: wire.Quote) -> Quote:
    """What is signed of a quote; its `signature` may still be a placeholder."""
    return Quote(
        customer=quote.customer,
        bundle=parse_bytes32(quote.offer_id, name="offer_id"),
        job=parse_bytes32(quote.job, name="job"),
        total=quote.total.units,
        expiry=quote.expires_at,
        document=canonical_digest(quote.model_dump(mode="json", exclude={"signature"})),
    )


def quote_digest(quote: wire.Quote, domain: Domain) -> bytes:
    """The 32 bytes that the operator signs."""
    return signed_part(quote).digest(domain)
