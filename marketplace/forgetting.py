"""Which of a job's files its customer may have deleted before their time, and which other orders name too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, delete, select
from sqlalchemy.engine import RowMapping

from marketplace.store.tables import blob_owners, cases, checks, deals, jobs, reruns, workers
from marketplace.store.upsert import parts
from prixfixe.errors import Conflict
from prixfixe.protocol.deals import Fact
from prixfixe.protocol.statements import utc

Named: TypeAlias = Callable[[Connection, ColumnElement[bool]], Iterable[str]]  # the digests that jobs name

_OVER: Final = ("settled", "refunded")


def reruns_of(connection: Connection, job: str) -> list[RowMapping]:
    """What the service bought to check a job's results and has its inputs; a canary has its own."""
    bought = (
        select(reruns.c.job)
        .join(deals, (deals.c.id == reruns.c.deal) & (deals.c.opening == reruns.c.opening))
        .outerjoin(checks, (checks.c.deal == reruns.c.deal) & (checks.c.opening == reruns.c.opening))
        .where(deals.c.job == job, checks.c.canary.is_(None))
    )
    return list(connection.execute(select(jobs).where(jobs.c.id.in_(bought))).mappings())


def require_over(connection: Connection, job: RowMapping, now: int, window: int) -> None:
    """Conflict while a job is not over, a case about it is open, or one can be opened. What the service
    bought to check it has no say: who asks would learn who was drawn. now: of the chain. window: seconds in
    which a result can be challenged."""
    if job["state"] not in _OVER:
        raise Conflict(
            "the job is not over",
            code="job-not-over",
            hint="wait for its end, or cancel it: `prixfixe jobs cancel JOB`",
            retryable=True,
        )
    if _is_disputed(connection, [job]):
        raise Conflict(
            "a result of it is disputed, and the arbiter may need its files",
            code="case-open",
            hint="try again when the case is over",
            retryable=True,
        )
    until = _disputable_until(connection, [job], window)
    if now <= until:
        raise Conflict(
            f"its result can be challenged for {until - now + 1} s more, until {utc(until)} UTC on the chain",
            code="window-open",
            hint="try again after that: until then the arbiter may need its files",
            retryable=True,
            until=until,
        )


def require_reruns_over(connection: Connection, bought: Sequence[RowMapping], now: int, window: int) -> None:
    """Conflict while a re-run of a job is as `require_over` says. To be asked when that has passed: nobody
    gains then by knowing that the job was drawn."""
    if (
        any(row["state"] not in _OVER for row in bought)
        or _is_disputed(connection, bought)
        or now <= _disputable_until(connection, bought, window)
    ):
        raise Conflict(
            "the service runs it again to check its result, which needs its files",
            code="rerun-not-over",
            hint="try again when that run is over, and its own window with it",
            retryable=True,
        )


def _is_disputed(connection: Connection, found: Sequence[RowMapping]) -> bool:
    ids = [row["id"] for row in found]
    disputed = select(cases.c.deal).where(cases.c.job.in_(ids), cases.c.state == "open")
    return connection.execute(disputed.limit(1)).first() is not None


def _disputable_until(connection: Connection, found: Sequence[RowMapping], window: int) -> int:
    """The last second of the chain in which a result of these jobs can be challenged; 0: none ever."""
    settled = select(deals.c.fact).where(
        deals.c.job.in_([row["id"] for row in found]),
        deals.c.state == "settled",
        deals.c.deal["disputable"].as_boolean(),
    )
    facts = connection.execute(settled).scalars()
    return max((Fact.unpack(int(fact)).time + window for fact in facts), default=0)


def named_elsewhere(
    connection: Connection, digests: Collection[str], found: Sequence[RowMapping], named: Named
) -> tuple[set[str], set[str]]:
    """Those of the digests that other jobs of their customers name, and those that are somebody else's too.
    found: the job and its re-runs."""
    customers = {row["customer"] for row in found}
    ids = {row["id"] for row in found}
    others = and_(jobs.c.customer.in_(customers), jobs.c.forgotten_at.is_(None), jobs.c.id.not_in(ids))
    own = {digest for digest in named(connection, others) if digest in digests}
    strangers: set[str] = set()
    for part in parts(sorted(digests)):
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
    for part in parts(sorted(digests)):
        gone: Any = delete(blob_owners).where(
            blob_owners.c.sha256.in_(part), blob_owners.c.address.in_(customers)
        )
        connection.execute(gone)
