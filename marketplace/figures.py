"""What the tables say about a service in figures: queues and their ages, latencies, money, workers, blobs.

Read in one transaction, now and then (`prixfixe.metrics.Cached`): a count over a large table takes a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, func, select

from marketplace.store.checks import counted
from marketplace.store.states import CHECK
from marketplace.store.tables import (
    asks,
    attempts,
    blobs,
    cases,
    cursor,
    deals,
    jobs,
    lots,
    transactions,
    workers,
)
from prixfixe.metrics import Family, Sample, in_dollars, number, written

Part: TypeAlias = Callable[[Connection, float], Iterator[Family]]

_COUNTED: Final = (jobs, lots, deals, attempts, cases, transactions)
_NEWEST: Final = 1000  # jobs or transactions that a latency is taken from
_HOUR: Final = 3600
_QUANTILES: Final = (0.5, 0.95, 0.99)


def read(connection: Connection, now: float, silence_seconds: float) -> list[Family]:
    """All of it. now: of the service's clock. silence_seconds: after which a worker is lost."""
    families = [family for part in PARTS for family in part(connection, now)]
    return [*families, _workers(connection, now, silence_seconds)]


def _counts(connection: Connection, now: float) -> Iterator[Family]:
    for table in _COUNTED:
        found = connection.execute(select(table.c.state, func.count()).group_by(table.c.state)).all()
        samples = tuple(Sample(str(count), {"state": state}) for state, count in sorted(map(tuple, found)))
        yield Family(table.name, f"The {table.name} in the tables, by state.", samples)
    stored = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).select_from(blobs)
    count, size = connection.execute(stored).one()
    yield number("blobs", "Files that are stored.", int(count))
    yield number("blob_bytes", "What they take.", int(size))
    yield number(
        "asks", "Resting asks.", connection.execute(select(func.count()).select_from(asks)).scalar_one()
    )
    position = connection.execute(select(cursor.c.block)).scalar()
    if position is not None:
        yield number("indexed_block", "The block up to which events were read.", int(position))


def _checks(connection: Connection, now: float) -> Iterator[Family]:
    counts = counted(connection)
    samples = tuple(
        Sample(str(counts.get((run, state), 0)), {"way": "rerun" if run else "canary", "state": state})
        for run in (True, False)
        for state in CHECK.states
    )
    yield Family("checks", "Paid results by how they are checked and what became of it.", samples)


def _ages(connection: Connection, now: float) -> Iterator[Family]:
    """How long the oldest of each queue waits."""
    free = (
        select(func.min(jobs.c.created_at)).join(lots, lots.c.job == jobs.c.id).where(lots.c.state == "free")
    )
    queues = {
        "lots": free,
        "pending": _oldest(transactions, transactions.c.created_at, "pending"),
        "sent": _oldest(transactions, transactions.c.created_at, "sent"),
        "assigned": _oldest(attempts, attempts.c.created_at, "assigned"),
    }
    samples = []
    for queue, query in queues.items():
        since = connection.execute(query).scalar()
        age = 0.0 if since is None else max(0.0, now - float(since))
        samples.append(Sample(written(age), {"queue": queue}))
    said = "Age of the oldest lot without a worker, transaction not sent or not mined, attempt not begun."
    yield Family("waiting_seconds", said, tuple(samples))


def overdue_seconds(connection: Connection, chain_time: int) -> int:
    """By how much the oldest open deal is past its deadline, by the chain's clock; 0 when none is."""
    first = connection.execute(select(func.min(deals.c.deadline)).where(deals.c.state == "open")).scalar()
    return 0 if first is None else max(0, chain_time - int(first))


def _oldest(table: Table, column: ColumnElement[Any], state: str) -> Any:
    return select(func.min(column)).where(table.c.state == state)


def _latencies(connection: Connection, now: float) -> Iterator[Family]:
    newest = select(jobs.c.created_at, jobs.c.ended_at, jobs.c.state)
    of_jobs = newest.order_by(jobs.c.number.desc()).limit(_NEWEST).subquery()
    settled = connection.execute(
        select(of_jobs.c.ended_at - of_jobs.c.created_at).where(
            of_jobs.c.state == "settled", of_jobs.c.ended_at > now - _HOUR
        )
    )
    said = f"From the order to the settlement: of the newest {_NEWEST} orders, those settled within the hour."
    yield _quantiles("job_seconds", said, settled.scalars().all())
    last = select(transactions.c.created_at, transactions.c.updated_at, transactions.c.state)
    of_outbox = last.order_by(transactions.c.id.desc()).limit(_NEWEST).subquery()
    mined = connection.execute(
        select(of_outbox.c.updated_at - of_outbox.c.created_at).where(
            of_outbox.c.state == "confirmed", of_outbox.c.updated_at > now - _HOUR
        )
    )
    said = f"From the wish to its receipt: of the newest {_NEWEST} wishes, those mined within the hour."
    yield _quantiles("transaction_seconds", said, mined.scalars().all())


def _quantiles(name: str, said: str, found: Sequence[float]) -> Family:
    values = sorted(float(each) for each in found)
    samples = tuple(
        Sample(written(values[min(len(values) - 1, int(part * len(values)))]), {"quantile": str(part)})
        for part in _QUANTILES
        if values
    )
    return Family(name, said, samples)


def _money(connection: Connection, now: float) -> Iterator[Family]:
    """Customers' money by where it is: what lots may cost, what deals hold or took, what was kept."""
    waits = (
        select(lots.c.state, func.sum(lots.c["count"] * jobs.c.price))
        .join(jobs, jobs.c.id == lots.c.job)
        .where(lots.c.state.in_(("free", "matching")))
        .group_by(lots.c.state)
    )
    # What the contract took when it opened the deal: a batch may have cleared below the order's limit.
    took = cast(deals.c.deal["price"].as_string(), BigInteger) * deals.c.deal["count"].as_integer()
    of_deals = (
        select(deals.c.state, func.sum(took - func.coalesce(deals.c.returned, 0)))
        .where(deals.c.state.in_(("open", "disputed")))
        .group_by(deals.c.state)
    )
    rows = [*connection.execute(waits).all(), *connection.execute(of_deals).all()]
    found = {str(state): int(units) for state, units in rows}
    found["charged"] = int(
        connection.execute(select(func.coalesce(func.sum(jobs.c.charged), 0))).scalar_one()
    )
    samples = (
        Sample(in_dollars(found.get(state, 0)), {"state": state})
        for state in ("free", "matching", "open", "disputed", "charged")
    )
    yield Family("money_dollars", "Of customers, by the state of what it buys.", tuple(samples))


def _workers(connection: Connection, now: float, silence_seconds: float) -> Family:
    found = connection.execute(
        select(
            func.count(),
            func.count().filter(workers.c.heartbeat_at > now - silence_seconds),
            func.count().filter(workers.c.heartbeat_at > now - silence_seconds, workers.c.draining),
            func.count().filter(workers.c.heartbeat_at > now - silence_seconds, workers.c.cool_until > now),
        ).select_from(workers)
    ).one()
    names = ("registered", "alive", "draining", "cooling")
    samples = tuple(Sample(str(count), {"state": name}) for name, count in zip(names, found, strict=True))
    return Family("workers", "Workers that are registered, and of those that are heard, by state.", samples)


# A part of the service that has figures of its own in the tables adds them here.
PARTS: Final[tuple[Part, ...]] = (_counts, _checks, _ages, _latencies, _money)
