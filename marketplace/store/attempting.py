"""What becomes of attempts while they run: they start, and are lost. How they end is in `reports` and
`rounds`, how they begin in `openings`.

As in `transitions`, a function is a transition's, and takes the connection of a `Store.write()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.engine import RowMapping

from marketplace.store import states
from marketplace.store.database import notify
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.moves import move, move_each, moving
from marketplace.store.pauses import worker_failed
from marketplace.store.tables import attempts, jobs, tasks, workers
from marketplace.store.transitions import UNSTARTED, stage_said, stages_said
from prixfixe.errors import Conflict, NotFound
from prixfixe.protocol.wire import Reason

Fault: TypeAlias = Literal["none", "customer", "provider", "platform"]
ALIVE: Final = states.ATTEMPT_LOST.sources  # attempts whose worker is at it
# Made once: making a statement takes longer than running it.
_NAMES: Final = select(workers.c.key, workers.c.name).where(among(workers.c.key, "keys"))
_ATTEMPT: Final = select(attempts).where(attempts.c.id == bindparam("attempt"))
_STARTING: Final = (
    select(
        *(attempts.c[name] for name in ("id", "state", "deal", "opening", "job", "lot", "worker")),
        jobs.c.cancelled_at,
        jobs.c.replicas,
        jobs.c.order["lot"].as_integer().label("lot_tasks"),
        workers.c.name,
    )
    .join(jobs, jobs.c.id == attempts.c.job)
    .outerjoin(workers, workers.c.key == attempts.c.worker)
    .where(among(attempts.c.id, "attempts"))
)
# By position: no index knows a lot's tasks, and a job may have many.
_START_TASKS: Final = moving(states.TASK_STARTED).where(
    tasks.c.job == bindparam("of"),
    tasks.c.position >= bindparam("first"),
    tasks.c.position < bindparam("after"),
)


def attempt_started(connection: Connection, attempt: str, worker: str | None = None) -> None:
    """assigned -> running, and its tasks queued -> running. Starting a running attempt again is no error.
    NotFound when it is not `worker`'s; Conflict when it is over (code `attempt-over`), or its customer took
    it back before (code `job-cancelled`)."""
    for refused in attempts_started(connection, [attempt], worker).values():
        raise refused


def attempts_started(
    connection: Connection, wanted: Sequence[str], worker: str | None = None
) -> dict[str, NotFound | Conflict]:
    """As `attempt_started`, of several; of those that cannot start why, which undoes nothing of the
    others."""
    found = {row.id: row for row in connection.execute(_STARTING, {"attempts": list(wanted)})}
    refused = {
        attempt: why
        for attempt in wanted
        if (why := _not_to_start(connection, attempt, found.get(attempt), worker)) is not None
    }
    going = [row for attempt, row in found.items() if attempt not in refused and row.state != "running"]
    if not going:
        return refused
    now = {"started_at": int(time.time())}
    move_each(connection, states.ATTEMPT_STARTED, [{"id": row.id} for row in going], [now] * len(going))
    firsts = [(row.job, row.lot * row.lot_tasks, row.lot_tasks) for row in going]
    execute_each(
        connection,
        _START_TASKS,
        [{"of": job, "first": first, "after": first + tasks} for job, first, tasks in firsts],
    )
    running = {
        row.job: [row.name or row.worker]
        if row.replicas == 1
        else _running_names(connection, row.deal, row.opening)
        for row in going
    }
    stages_said(connection, {job: f"running on {', '.join(names)}" for job, names in running.items()})
    return refused


def _not_to_start(
    connection: Connection, attempt: str, row: Any, worker: str | None
) -> NotFound | Conflict | None:
    """Why an attempt cannot start; None when it can, or did."""
    if row is None or worker not in (None, row.worker):
        return attempt_unknown(attempt, worker)
    if row.state not in ("assigned", "running"):
        return Conflict(f"the attempt is {row.state}: it cannot start", code="attempt-over", fault="provider")
    took_back = row.state == "assigned" and row.cancelled_at is not None
    if took_back and _is_unstarted(connection, row.deal, row.opening):
        return Conflict(
            "its customer cancelled it before it was started",
            code="job-cancelled",
            hint="refuse it, so that the money goes back at once",
            fault="customer",
        )
    return None


def _is_unstarted(connection: Connection, deal: str, opening: int) -> bool:
    """Whether no worker of a deal has started, or those that had are lost."""
    others = connection.execute(
        select(attempts.c.state).where(attempts.c.deal == deal, attempts.c.opening == opening)
    ).scalars()
    return all(state in UNSTARTED for state in others)


def attempt_lost(
    connection: Connection, attempt: str, why: str, fault: Fault = "provider", code: str = "worker-lost"
) -> None:
    """assigned, running, committed or opened -> lost; its worker cools down if it was its provider's fault,
    and its tasks are queued again unless replicas of it live. It may still come back."""
    row = attempt_row(connection, attempt)
    reason = Reason(code=code, message=why, fault=fault)
    move(
        connection,
        states.ATTEMPT_LOST,
        {"id": attempt},
        reason=reason.model_dump(mode="json"),
        ended_at=int(time.time()),
    )
    replicas = select(attempts.c.id).where(
        attempts.c.deal == row["deal"], attempts.c.opening == row["opening"], attempts.c.state.in_(ALIVE)
    )
    if connection.execute(replicas).first() is None:
        tasks_left(connection, row["job"], row["lot"])
    if fault == "provider":
        worker_failed(connection, row["worker"])
    stage_said(connection, row["job"], why)
    notify(connection, f"worker:{row['worker']}")


def tasks_left(connection: Connection, job: str, lot: int) -> None:
    """running -> queued: nobody is at this lot's tasks any more."""
    connection.execute(
        moving(states.TASK_QUEUED_AGAIN).where(
            tasks.c.job == job, tasks.c.lot == lot, tasks.c.state == "running"
        )
    )


def worker_name(connection: Connection, key: str) -> str:
    """What people call a worker; its key when it never registered."""
    return worker_names(connection, [key])[key]


def worker_names(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    """As `worker_name`, of several."""
    names = {key: key for key in keys}
    found = connection.execute(_NAMES, {"keys": list(names)}) if names else ()
    return names | {row.key: str(row.name or row.key) for row in found}


def _running_names(connection: Connection, deal: str, opening: int) -> list[str]:
    """The workers that run a deal now: several with replicas."""
    query = (
        select(attempts.c.worker)
        .where(attempts.c.deal == deal, attempts.c.opening == opening, attempts.c.state == "running")
        .order_by(attempts.c.started_at, attempts.c.id)
    )
    return sorted(worker_names(connection, connection.execute(query).scalars()).values())


def attempt_row(connection: Connection, attempt: str) -> RowMapping:
    """An attempt; NotFound when there is none."""
    row = connection.execute(_ATTEMPT, {"attempt": attempt}).mappings().one_or_none()
    if row is None:
        raise attempt_unknown(attempt)
    return row


def attempt_unknown(attempt: str, worker: str | None = None) -> NotFound:
    """There is no such attempt, of this worker if it is given."""
    of = f" of worker {worker}" if worker else ""
    return NotFound(f"there is no attempt {attempt[:80]!r}{of}", code="attempt-unknown", fault="provider")
