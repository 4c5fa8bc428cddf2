"""What an account's orders may cost before somebody must be asked: limits that its owners set."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, case, func, select, update

from marketplace.accounts.identity import Identity
from marketplace.store.account_tables import accounts
from marketplace.store.database import Store
from marketplace.store.tables import jobs
from prixfixe.errors import Forbidden, InvalidInput
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.money import Money

_DAY_SECONDS: Final = 86_400
MOST_UNITS: Final = 2**63 - 1


def _stored(limit: Money, name: str) -> int:
    """InvalidInput for what no column of a database holds."""
    if limit.units > MOST_UNITS:
        raise InvalidInput(f"{name} is more than {MOST_UNITS} units")
    return limit.units


class Spending:
    """Limits of managed accounts."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def set(self, identity: Identity, limits: wire.Limits) -> wire.Limits:
        """Other limits, for orders from now on."""
        identity.require("manage")
        values = {
            "per_job": None if limits.per_job is None else _stored(limits.per_job, "per_job"),
            "per_day": None if limits.per_day is None else _stored(limits.per_day, "per_day"),
            "warn_below": _stored(limits.warn_below, "warn_below"),
        }
        with self._store.write() as connection:
            connection.execute(update(accounts).where(accounts.c.number == identity.account).values(values))
            return self.of(connection, identity)

    def of(self, connection: Connection, identity: Identity) -> wire.Limits:
        row = connection.execute(
            select(accounts.c.per_job, accounts.c.per_day, accounts.c.warn_below).where(
                accounts.c.number == identity.account
            )
        ).one()
        return wire.Limits(
            per_job=None if row.per_job is None else Money(row.per_job),
            per_day=None if row.per_day is None else Money(row.per_day),
            warn_below=Money(row.warn_below),
        )

    def spent(self, connection: Connection, identity: Identity) -> Money:
        """By orders of the last 24 hours: what is over as it was charged, what is not at its price."""
        price = jobs.c.price * jobs.c.order["tasks"].as_integer()
        query = select(
            func.coalesce(func.sum(case((jobs.c.ended_at.is_(None), price), else_=jobs.c.charged)), 0)
        ).where(jobs.c.customer == identity.address, jobs.c.created_at > int(self._clock()) - _DAY_SECONDS)
        return Money(int(connection.execute(query).scalar_one()))

    def require(self, connection: Connection, identity: Identity, total: Money) -> None:
        """Forbidden when an order of this price is beyond a limit. Asked in the transaction that stores the
        order, so that no two orders share what is left."""
        limits = self.of(connection, identity)
        if limits.per_job is not None and total > limits.per_job:
            raise Forbidden(
                f"the order costs {total}, and one order may cost {limits.per_job}; nothing was charged",
                code="over-limit-per-job",
                hint="an owner of the account can raise the limit",
                limit=str(limits.per_job.units),
                price=str(total.units),
            )
        if limits.per_day is None:
            return
        spent = self.spent(connection, identity)
        if spent + total > limits.per_day:
            raise Forbidden(
                f"the order costs {total}, and of the {limits.per_day} of a day {spent} is spent; "
                "nothing was charged",
                code="over-limit-per-day",
                hint="wait until older orders are a day old, or ask an owner for a higher limit",
                limit=str(limits.per_day.units),
                price=str(total.units),
                spent=str(spent.units),
            )
