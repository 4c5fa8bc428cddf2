"""An order on its way through the checks, and the idempotency key that it may bring."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from marketplace.store.tables import idempotency
from marketplace.store.transitions import OrderTerms
from prixfixe.errors import Conflict, PrixfixeError
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.orders import Order


@dataclass(frozen=True, slots=True)
class Placing:
    """An order as it came. key: its idempotency key. providers: to whom the service itself gives it; None:
    to those that its terms admit. within: asked in the transaction that stores it, and may refuse. channel:
    by which its customer came, where the service keeps the account."""

    request: wire.JobRequest
    key: str | None = None
    providers: tuple[str, ...] | None = None
    within: Callable[[Connection, Order], None] | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was taken. job: its id. new: False when it was here before."""

    job: str
    new: bool


@dataclass(slots=True)
class Way:
    """How far an order has come through the checks. end: once it goes no further."""

    given: Placing
    job: str = ""
    quote: wire.Quote | wire.BidQuote | None = None
    terms: OrderTerms | None = None
    end: Placed | PrixfixeError | None = None

    def go(self, step: Callable[[Way], None]) -> None:
        """One check further, unless it has ended."""
        if self.end is None:
            try:
                step(self)
            except PrixfixeError as error:
                self.end = error

    @property
    def order(self) -> Order:
        return self.given.request.order

    @property
    def quoted(self) -> wire.Quote | wire.BidQuote:
        assert self.quote is not None  # looked up
        return self.quote

    @property
    def agreed(self) -> OrderTerms:
        assert self.terms is not None  # looked up
        return self.terms

    def told(self) -> Placed | PrixfixeError:
        assert self.end is not None  # every way ends
        return self.end


def _request_digest(request: wire.JobRequest) -> str:
    said = request.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True)
    return hashlib.sha256(canonical_json(said)).hexdigest()


def require_same_key(connection: Connection, way: Way) -> None:
    """Conflict when its idempotency key was used for another order: the caller has mixed up two requests."""
    key, customer, request = way.given.key, way.order.customer, way.given.request
    if key is None:
        return
    query = select(idempotency.c.request_digest).where(
        idempotency.c.address == customer, idempotency.c.key == key
    )
    known = connection.execute(query).scalar_one_or_none()
    if known is not None and known != _request_digest(request):
        raise Conflict(
            f"the idempotency key {key[:40]!r} was used for another order",
            code="idempotency-key-reused",
            hint="use a new key for a new order",
        )


def remember_key(connection: Connection, way: Way, now: int) -> None:
    """Its idempotency key belongs to it from now on."""
    require_same_key(connection, way)
    row: dict[str, Any] = {
        "address": way.order.customer,
        "key": way.given.key,
        "request_digest": _request_digest(way.given.request),
        "answer": {"job": way.job},
        "created_at": now,
    }
    connection.execute(insert(idempotency).values(row))
