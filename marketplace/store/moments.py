"""What changed about a worker, and how it stood at a time: a bounded memory, so that it can be told why it
was not given a lot that others got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import asks
from marketplace.store.tables import worker_moments as moments
from marketplace.store.upsert import put

KEPT: Final = 100  # of each worker, the newest
# Of an ask, what makes it another one; a renewal changes only its expiry.
_TERMS: Final = ("price", "slots", "kinds", "customer", "matcher", "era")

# Made once: making a statement takes longer than running it.
_RESTING: Final = select(asks.c.ask).where(
    asks.c.worker == bindparam("worker"), asks.c.product == bindparam("product")
)
_NEWEST: Final = select(func.coalesce(func.max(moments.c.number), 0)).where(
    moments.c.worker == bindparam("worker")
)
_FORGET: Final = delete(moments).where(
    moments.c.worker == bindparam("of"), moments.c.number <= bindparam("last")
)


def beat_noted(
    connection: Connection, was: RowMapping, now: float, *, draining: bool, silence_seconds: float
) -> None:
    """A heartbeat came: write down a silence that it ends, and whether it takes work. was: the worker's row
    before."""
    silent = now - was["heartbeat_at"] > silence_seconds
    if silent and not was["draining"]:
        _write(connection, was["key"], was["heartbeat_at"], "silent")
    if draining != was["draining"]:
        _write(connection, was["key"], now, "drained" if draining else "back")
    elif silent and not draining:
        _write(connection, was["key"], now, "back")


def ask_placed(connection: Connection, row: dict[str, Any], now: float) -> None:
    """An ask rests from now on, in place of the worker's last one for its product; written down when it is
    on other terms. row: of the table of asks."""
    before = connection.execute(_RESTING, row).scalar_one_or_none()
    if before is None or any(before[term] != row["ask"][term] for term in _TERMS):
        _write(connection, row["worker"], now, "asked", row["product"], row["ask"])
    put(connection, asks, row)


def _write(
    connection: Connection,
    worker: str,
    at: float,
    kind: str,
    product: str | None = None,
    ask: dict[str, Any] | None = None,
) -> None:
    number = int(connection.execute(_NEWEST, {"worker": worker}).scalar_one()) + 1
    connection.execute(
        insert(moments),
        {"worker": worker, "number": number, "at": at, "kind": kind, "product": product, "ask": ask},
    )
    connection.execute(_FORGET, {"of": worker, "last": number - KEPT})


@dataclass(frozen=True, slots=True)
class Past:
    """A worker's moments, oldest first."""

    rows: Sequence[RowMapping]

    @staticmethod
    def of(connection: Connection, worker: str) -> Past:
        query = select(moments).where(moments.c.worker == worker).order_by(moments.c.at, moments.c.number)
        return Past(connection.execute(query).mappings().all())

    @property
    def products(self) -> set[str]:
        """For which it asked, 0x-hex."""
        return {row["product"] for row in self.rows if row["product"] is not None}

    def state(self, at: float) -> tuple[str, float]:
        """silent, drained or back, and since when; `back` from ever when nothing is known of that time."""
        found = [row for row in self.rows if row["kind"] != "asked" and row["at"] <= at]
        return (found[-1]["kind"], found[-1]["at"]) if found else ("back", 0.0)

    def ask(self, product: str, at: float) -> dict[str, Any] | None:
        """On which terms it asked for the product then; None when it did not, or nobody remembers."""
        found = [row for row in self.rows if row["product"] == product and row["at"] <= at]
        return None if not found else dict(found[-1]["ask"])
