"""Which of a bag's last lots take much longer than the others did."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final

from sqlalchemy import Connection, func, select

from marketplace.store.tables import attempts, deals, lots, workers

_LEAST_DONE: Final = 4  # lots that must be settled before any is called slow
_LEAST_SECONDS: Final = 30.0  # that it takes longer than the median, whatever the factor says
_LAST_PART: Final = 4  # of the lots a quarter at most is still open, and none waits


@dataclass(frozen=True, slots=True)
class Straggler:
    """An attempt that runs. name: its worker's. deadline: of its deal, chain's seconds. tries: its lot's."""

    attempt: str
    name: str
    deadline: int
    tries: int


def stragglers(connection: Connection, clock: float, factor: float) -> list[Straggler]:
    """Of the open deals of one leg. clock: the service's, seconds. factor: of the median."""
    long = select(attempts.c.job).where(
        attempts.c.state == "running", attempts.c.started_at < clock - _LEAST_SECONDS
    )
    found = []
    for job in connection.execute(long.distinct()).scalars().all():
        counted = select(lots.c.state, func.count()).where(lots.c.job == job).group_by(lots.c.state)
        counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
        alive = sum(counts.get(state, 0) for state in ("free", "matching", "open"))
        waiting = alive - counts.get("open", 0)
        if (
            counts.get("settled", 0) >= _LEAST_DONE
            and not waiting
            and alive * _LAST_PART <= sum(counts.values())
        ):
            found += _slow(connection, job, clock, factor)
    return found


def _slow(connection: Connection, job: str, clock: float, factor: float) -> list[Straggler]:
    took = select(attempts.c.ended_at - attempts.c.started_at).where(
        attempts.c.job == job, attempts.c.state == "succeeded"
    )
    usual = median([each for each in connection.execute(took).scalars() if each is not None] or [0])
    since = clock - max(usual * factor, usual + _LEAST_SECONDS)
    running = connection.execute(
        select(attempts.c.id, deals.c.deal, deals.c.deadline, lots.c.tries, workers.c.name)
        .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
        .join(lots, (lots.c.job == attempts.c.job) & (lots.c.lot == attempts.c.lot))
        .join(workers, workers.c.key == attempts.c.worker)
        .where(
            attempts.c.job == job,
            attempts.c.state == "running",
            attempts.c.started_at < since,
            deals.c.state == "open",
        )
    )
    return [
        Straggler(row.id, row.name, row.deadline, row.tries) for row in running if len(row.deal["legs"]) == 1
    ]
