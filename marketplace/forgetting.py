"""Which of a job's files its customer may have deleted before their time, and which other orders name too."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import blob_owners, cases, deals, jobs, reruns, workers
from prixfixe.errors import Conflict
from prixfixe.protocol.deals import Fact

Named: TypeAlias = Callable[[Connection, str], Iterable[str]]  # the digests that a job names

_OVER: Final = ("settled", "refunded")
_PART: Final = 500  # databases bound the number of parameters


def with_reruns(connection: Connection, job: str) -> list[RowMapping]:
    """A job and what the service bought to check it, which has the same inputs."""
    bought = select(reruns.c.job).join(
        deals, (deals.c.id == reruns.c.deal) & (deals.c.opening == reruns.c.opening)
    )
    wanted = (jobs.c.id == job) | jobs.c.id.in_(bought.where(deals.c.job == job))
    return list(connection.execute(select(jobs).where(wanted)).mappings())


def require_over(connection: Connection, found: Sequence[RowMapping], now: int, window: int) -> None:
    """Conflict while a job is not over, a case about it is open, or one can be opened. now: of the chain.
    window: seconds in which a result can be challenged."""
    if any(row["state"] not in _OVER for row in found):
        raise Conflict(
            "the job is not over",
            code="job-not-over",
            hint="wait for its end, or cancel it: `prixfixe jobs cancel JOB`",
            retryable=True,
        )
    ids = [row["id"] for row in found]
    if connection.execute(select(cases.c.deal).where(cases.c.job.in_(ids), cases.c.state == "open")).first():
        raise Conflict(
            "a result of it is disputed, and the arbiter may need its files",
            code="case-open",
            hint="try again when the case is over",
            retryable=True,
        )
    settled = select(deals.c.fact).where(
        deals.c.job.in_(ids), deals.c.state == "settled", deals.c.deal["disputable"].as_boolean()
    )
    facts = connection.execute(settled).scalars()
    until = max((Fact.unpack(int(fact)).time + window for fact in facts), default=0)
    if now <= until:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(until))
        raise Conflict(
            f"its result can be challenged for {until - now + 1} s more, until {moment} UTC on the chain",
            code="window-open",
            hint="try again after that: until then the arbiter may need its files",
            retryable=True,
            until=until,
        )


def named_elsewhere(
    connection: Connection, digests: Collection[str], found: Sequence[RowMapping], named: Named
) -> tuple[set[str], set[str]]:
    """Those of the digests that other jobs of their customers name, and those that are somebody else's too.
    found: the job and its re-runs."""
    customers = {row["customer"] for row in found}
    ids = {row["id"] for row in found}
    others = select(jobs.c.id).where(jobs.c.customer.in_(customers), jobs.c.forgotten_at.is_(None))
    own: set[str] = set()
    for job in connection.execute(others).scalars().all():
        if job not in ids:
            own.update(digest for digest in named(connection, job) if digest in digests)
    strangers: set[str] = set()
    for part in _parts(digests):
        # A worker that brought an output keeps no claim to it; whom it was for has one of its own.
        query = select(blob_owners.c.sha256).where(
            blob_owners.c.sha256.in_(part),
            blob_owners.c.address.not_in(customers),
            blob_owners.c.address.not_in(select(workers.c.key)),
        )
        strangers.update(connection.execute(query).scalars())
    return own, strangers


def disowned(connection: Connection, digests: Collection[str], found: Sequence[RowMapping]) -> None:
    """The customers have no claim to these files any more, which stay for others."""
    customers = {row["customer"] for row in found}
    for part in _parts(digests):
        gone: Any = delete(blob_owners).where(
            blob_owners.c.sha256.in_(part), blob_owners.c.address.in_(customers)
        )
        connection.execute(gone)


def _parts(digests: Collection[str]) -> Iterable[list[str]]:
    names = sorted(digests)
    return (names[start : start + _PART] for start in range(0, len(names), _PART))
