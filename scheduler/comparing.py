"""What two stores say of the same chain, compared fact by fact.

A fact is what the chain, or a document that it proves, decides. What a service decides for itself is none:
why a lot waits, when it is tried again, the words of a stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Table, select

from marketplace.store import transitions
from marketplace.store.settling import PAID
from marketplace.store.tables import (
    attempts,
    batches,
    cases,
    chain_events,
    cursor,
    deals,
    jobs,
    lots,
    offers,
    tasks,
    trades,
)

Facts: TypeAlias = dict[tuple[str, str], Any]  # (table, its row and column, in words) -> value

_WHOLE: Final = (deals, cases, trades, chain_events, cursor)
_JOB: Final = (
    *("number", "customer", "kind", "order", "signature", "manifest", "image", "image_archive", "offer_id"),
    *("product", "price", "replicas", "whole", "providers", "expiry", "deliver_by", "created_at"),
)
_REPORTED: Final = ("provider", "status", "tasks", "result", "signature", "cage")


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact of which two stores say different things; None: one that has nothing there."""

    table: str
    what: str
    present: Any
    rebuilt: Any


def facts(connection: Connection) -> Facts:
    """All of a store."""
    return dict(_facts(connection))


def differences(present: Facts, rebuilt: Facts) -> list[Difference]:
    """Where they differ, in the order of tables and rows."""
    return [
        Difference(key[0], key[1], present.get(key), rebuilt.get(key))
        for key in sorted({*present, *rebuilt})
        if present.get(key) != rebuilt.get(key)
    ]


def _facts(connection: Connection) -> Iterator[tuple[tuple[str, str], Any]]:
    for table in _WHOLE:
        yield from _rows(connection, table)
    matched = set(connection.execute(select(deals.c.job).distinct()).scalars())
    for row in connection.execute(select(jobs)).mappings():
        if row["id"] not in matched:
            continue  # a resting order: it is backed up, the chain knows nothing of it
        for name in _JOB:
            yield ("jobs", f"{row['id']} {name}"), row[name]
        yield ("jobs", f"{row['id']} charged"), transitions.charged(connection, row["id"])
    settled = set()
    for row in connection.execute(select(lots)).mappings():
        if row["job"] not in matched:
            continue
        key = f"{row['job']} lot {row['lot']}"
        yield ("lots", f"{key} count"), row["count"]
        yield ("lots", f"{key} deals"), row["tries"]
        # Whether it may be tried again is the service's decision.
        state = row["state"] if row["state"] in ("open", "settled") else "not paid"
        yield ("lots", f"{key} state"), state
        if state == "settled":
            settled.add((row["job"], row["lot"]))
    for row in connection.execute(select(tasks)).mappings():
        if (row["job"], row["lot"]) in settled:
            for name in ("state", "status", "outputs", "files"):
                yield ("tasks", f"{row['job']} task {row['position']} {name}"), row[name]
    yield from _results(connection)
    for row in connection.execute(select(offers)).mappings():
        for name in ("offer", "until"):
            yield ("offers", f"{row['offer_id']} {name}"), row[name]
    for row in connection.execute(select(batches).where(batches.c.cleared.is_not(None))).mappings():
        for column in batches.c:
            if column.name not in ("digest", "position"):
                yield ("batches", f"{row['digest']} {column.name}"), row[column.name]


def _results(connection: Connection) -> Iterator[tuple[tuple[str, str], Any]]:
    """What was reported under a root that was paid."""
    paid = (
        select(attempts, deals.c.root)
        .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
        .where(deals.c.state.in_(PAID), attempts.c.tasks.is_not(None))
    )
    for row in connection.execute(paid).mappings():
        if row["result"] is not None and row["result"]["root"] == row["root"]:
            for name in _REPORTED:
                yield ("attempts", f"{row['id']} {name}"), row[name]


def _rows(connection: Connection, table: Table) -> Iterator[tuple[tuple[str, str], Any]]:
    keys = [column.name for column in table.primary_key]
    for row in connection.execute(select(table)).mappings():
        place = " ".join(str(row[name]) for name in keys)
        for name, value in row.items():
            if name == "data":  # beside the event: what was there before, which depends on when it was listed
                value = {part: value[part] for part in value if part != "before"}
            # Why a deal ended unpaid is in words of the service's own.
            if name not in keys and (table.name, name) != ("deals", "reason"):
                yield (table.name, f"{place} {name}"), value
