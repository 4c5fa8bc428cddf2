"""Batches of the auction in the tables: closed with what they match, placed by the chain, and taken back.

A batch is closed in one transaction: its row, its lots that go from free to matching, and its `clear` in the
outbox. Its publication lies in the blobs before that, named by the batch's digest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update

from marketplace.store import outbox, pauses, states, transitions
from marketplace.store.database import notify
from marketplace.store.moves import move_each
from marketplace.store.tables import batches, chain_events, open_batches, transactions
from marketplace.store.upsert import put
from prixfixe.errors import Conflict
from prixfixe.protocol.typed_data import format_bytes32

_NEWEST_CLEARS = 100  # more are never on their way at once
# Of the service's clock, until a lot that the contract skipped is tried again: each try costs gas.
_FIRST_PAUSE_SECONDS = 1.0
_LAST_PAUSE_SECONDS = 300.0
# Made once: each look at a book asks it.
_CLOSES_AT = select(open_batches.c.closes_at).where(open_batches.c.product == bindparam("code"))
# The state is looked at afterwards: the index of all transactions in a state is long. Nor is the call a
# parameter, for which SQLite would not take the index of these alone.
_NEWEST: Final = (
    select(transactions.c.arguments, transactions.c.state)
    .where(text("call = 'clear'"))
    .order_by(transactions.c.id.desc())
    .limit(_NEWEST_CLEARS)
)
_LAST_POSITION: Final = select(func.coalesce(func.max(batches.c.position), 0))


@dataclass(frozen=True, slots=True)
class Matched:
    """A lot that a batch fills. asks: `{"worker", "ask", "signature"}`, one a leg."""

    job: str
    lot: int
    asks: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return {"job": self.job, "lot": self.lot, "asks": list(self.asks)}


def next_number(connection: Connection, product: str) -> int:
    """The number of a product's next batch: 1, 2, 3."""
    newest = select(func.coalesce(func.max(batches.c.number), 0)).where(batches.c.product == product)
    return int(connection.execute(newest).scalar_one()) + 1


def open_batches_of(connection: Connection) -> dict[bytes, float]:
    """The products of which a batch gathers, and when each closes (service clock)."""
    rows = connection.execute(select(open_batches))
    return {bytes.fromhex(row.product[2:]): row.closes_at for row in rows}


def closes_at(connection: Connection, product: bytes) -> float | None:
    """When the batch of a product that gathers closes (service clock); None when there is none."""
    return connection.execute(_CLOSES_AT, {"code": format_bytes32(product)}).scalar_one_or_none()


def batch_opened(connection: Connection, product: bytes, closes_at: float) -> None:
    """A batch of a product gathers up to this time of the service's clock."""
    put(connection, open_batches, {"product": format_bytes32(product), "closes_at": closes_at})
    notify(connection, "batches")


def batches_over(connection: Connection, products: Iterable[bytes]) -> None:
    """No batch of these products gathers any more."""
    codes = [format_bytes32(product) for product in products]
    connection.execute(delete(open_batches).where(open_batches.c.product.in_(codes)))
    notify(connection, "batches")


def last_position(connection: Connection) -> int:
    """That of the newest batch of any product; 0 before the first."""
    return int(connection.execute(_LAST_POSITION).scalar_one())


def batch_closed(connection: Connection, row: dict[str, Any], parts: Sequence[Sequence[Matched]]) -> None:
    """A new batch; its lots free -> matching, and one `clear` in the outbox for each part. row: of `batches`
    without its position. Conflict when a lot is not free any more: then nothing of it may stay."""
    connection.execute(insert(batches).values(position=last_position(connection) + 1, **row))
    matched = [each for filled in parts for each in filled]
    keys = [{"job": each.job, "lot": each.lot} for each in matched]
    move_each(connection, states.LOT_MATCHED, keys, [{"waiting_reason": None}] * len(keys))
    transitions.stages_said(connection, {each.job: "paying into the contract" for each in matched})
    for part, filled in enumerate(parts):
        wish = {
            "batch": row["digest"],
            "price": str(row["price"]),
            "fills": [each.to_json() for each in filled],
        }
        outbox.queue_clear(connection, row["digest"], part, wish)
    notify(connection, "batches")


def batch_cleared(connection: Connection, digest: str, where: dict[str, Any]) -> None:
    """The chain has (a part of) the batch. where: `receipt.TransactionReference` as JSON; first counts."""
    connection.execute(
        update(batches).where(batches.c.digest == digest, batches.c.cleared.is_(None)).values(cleared=where)
    )
    notify(connection, "batches")


def batch_uncleared(connection: Connection, digest: str) -> None:
    """The chain took it back."""
    connection.execute(update(batches).where(batches.c.digest == digest).values(cleared=None))


def lot_skipped(connection: Connection, place: int, why: str, where: dict[str, Any]) -> None:
    """The contract opened no deal for item `place` of the call at `where`: matching -> free, with the reason.
    Nothing happens for calls that are no batch of ours."""
    row = _clear_at(connection, where)
    if row is None or place >= len(row["fills"]):
        return
    fill = row["fills"][place]
    try:
        with connection.begin_nested():
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** _tried(connection, fill), _LAST_PAUSE_SECONDS)
            transitions.lot_unmatched(connection, fill["job"], fill["lot"], why, time.time() + pause)
    except Conflict:
        return  # it ended or was opened otherwise
    for leg in fill["asks"]:
        pauses.worker_cooled(connection, leg["worker"], _FIRST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Clearing:
    """What a `clear` fills a lot with. price: of a task, to each leg, token units. asks: `{"worker", "ask",
    "signature"}`, one a leg."""

    price: int
    asks: list[dict[str, Any]]


def busy_with(connection: Connection) -> dict[tuple[str, int], Clearing]:
    """The lots that a `clear` matches, or has matched without the indexer having read it."""
    alive = (*outbox.IN_FLIGHT, "confirmed")
    found = [row.arguments for row in connection.execute(_NEWEST) if row.state in alive]
    return {
        (fill["job"], fill["lot"]): Clearing(int(arguments["price"]), fill["asks"])
        for arguments in reversed(found)
        for fill in arguments["fills"]
    }


def _tried(connection: Connection, fill: dict[str, Any]) -> int:
    """How many of the newest calls held this lot, this one left out."""
    newest = [row.arguments for row in connection.execute(_NEWEST)]
    wanted = (fill["job"], fill["lot"])
    return (
        sum((each["job"], each["lot"]) == wanted for arguments in newest for each in arguments["fills"]) - 1
    )


def _clear_at(connection: Connection, where: dict[str, Any]) -> dict[str, Any] | None:
    """The wish that a transaction of the chain carried out; None when it is no `clear` of this market."""
    cleared = connection.execute(
        select(chain_events.c.data)
        .where(
            chain_events.c.block == where["block"],
            chain_events.c.transaction == where["transaction"],
            chain_events.c.name == "Cleared",
        )
        .limit(1)
    ).scalar_one_or_none()
    if cleared is None:
        return None
    prefix = f"clear:{cleared['batch']}"
    rows = connection.execute(
        select(transactions.c.arguments, transactions.c.hashes).where(
            transactions.c.purpose >= prefix + ":", transactions.c.purpose < prefix + ";"
        )
    )
    found = (row.arguments for row in rows if where["transaction"] in row.hashes)
    return next(found, None)
