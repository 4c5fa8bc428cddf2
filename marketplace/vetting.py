"""Vetted providers: whom the operator vouches for, so that a customer can ask for none but them."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, select

from marketplace.store.database import Store
from marketplace.store.tables import vetted_providers
from marketplace.store.upsert import put
from prixfixe.errors import Conflict, NotFound
from prixfixe.protocol import wire

MOST_VETTED: Final = 64  # as many as an order can name


@dataclass(frozen=True, slots=True)
class Vetted:
    """at: since when, seconds of the service's clock. note: why."""

    provider: str
    note: str
    at: int


def vetted(connection: Connection) -> tuple[Vetted, ...]:
    """All of them, oldest first."""
    query = select(vetted_providers).order_by(vetted_providers.c.at, vetted_providers.c.provider)
    return tuple(Vetted(row.provider, row.note, row.at) for row in connection.execute(query))


def vet(store: Store, provider: str, note: str) -> None:
    """Vouch for a provider; Conflict when there are as many as an order can name."""
    with store.write() as connection:
        others = select(func.count()).where(vetted_providers.c.provider != provider)
        if connection.execute(others).scalar_one() >= MOST_VETTED:
            raise Conflict(
                f"{MOST_VETTED} providers are vetted, and an order can name no more",
                code="too-many-vetted",
                hint="take one off the list: `prixfixe admin vet PROVIDER --remove`",
                fault="platform",
            )
        put(connection, vetted_providers, {"provider": provider, "note": note, "at": int(time.time())})


def unvet(store: Store, provider: str) -> None:
    """Vouch for it no longer; orders that name it stay. NotFound when it is not on the list."""
    gone = delete(vetted_providers).where(vetted_providers.c.provider == provider)
    with store.write() as connection:
        if connection.execute(gone).rowcount != 1:
            raise NotFound(f"provider {provider} is not vetted", hint="see `prixfixe admin vet`")


def admitted(connection: Connection, request: wire.BidQuoteRequest) -> tuple[str, ...] | None:
    """The providers that an order of this placement may go to; None: anyone. Conflict when it asks for
    vetted ones and there are none."""
    if request.placement == "public":
        return request.providers
    named: Collection[str] | None = request.providers
    found = tuple(each.provider for each in vetted(connection) if named is None or each.provider in named)
    if not found:
        raise Conflict(
            "no provider that the order admits is vetted by this market's operator",
            code="none-vetted",
            hint="name providers that you know (`--provider`), or let anyone run it (`--placement public`)",
            retryable=False,
        )
    return found
