"""What a worker says of tasks that run: how far they are, what they print, which are over.

None of it is a state: only the report of the whole lot is.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store.attempting import attempt_row, worker_name
from marketplace.store.events import add_event
from marketplace.store.tables import jobs, lots, task_logs, tasks
from marketplace.store.transitions import stage_said
from marketplace.store.upsert import put

PROGRESS_STEP: Final = 0.001  # of a task, and of a job: less is no news
_HUNDRED: Final = 100  # tasks up to which each one that is over is told


def progress_reported(connection: Connection, attempt: str, task: int, fraction: float) -> None:
    """How far task `task` of the job is, 0..1, as its application says. The job's progress is the mean over
    its tasks.

    It never goes back, and less than a thousandth of news is none: so that no worker and no application
    fills the table, and one that reads its log again does not run backwards before the customer's eyes.
    """
    row = attempt_row(connection, attempt)
    if row["state"] in ("assigned", "running"):
        _progressed(connection, row, task, fraction, over=False)


def task_ended(connection: Connection, attempt: str, task: int) -> None:
    """Task `task` of the job is over, says the worker, whatever became of it."""
    row = attempt_row(connection, attempt)
    if row["state"] in ("assigned", "running"):
        _progressed(connection, row, task, 1.0, over=True)


def _progressed(connection: Connection, row: RowMapping, task: int, fraction: float, *, over: bool) -> None:
    of_task = (tasks.c.job == row["job"], tasks.c.position == task, tasks.c.lot == row["lot"])
    known = connection.execute(select(tasks.c.progress, tasks.c.over).where(*of_task)).one_or_none()
    if known is None:
        return
    ends = over and not known.over
    if not ends and (fraction <= known.progress or known.progress + PROGRESS_STEP > fraction < 1):
        return
    fraction = max(fraction, known.progress)
    connection.execute(update(tasks).where(*of_task).values(progress=fraction, over=known.over or over))
    connection.execute(
        update(lots)
        .where(lots.c.job == row["job"], lots.c.lot == row["lot"])
        .values(progress=lots.c.progress + fraction - known.progress, over=lots.c.over + int(ends))
    )
    together, done, count = connection.execute(
        select(func.sum(lots.c.progress), func.sum(lots.c.over), func.sum(lots.c["count"])).where(
            lots.c.job == row["job"]
        )
    ).one()
    if ends and count == 1:
        return  # its report comes with it
    _mean(connection, row, round(together / count, 6))
    if ends and (count <= _HUNDRED or done * _HUNDRED // count > (done - 1) * _HUNDRED // count):
        stage_said(connection, row["job"], f"{done:,} of {count:,} tasks done")


def _mean(connection: Connection, row: RowMapping, fraction: float) -> None:
    known = connection.execute(select(jobs.c.progress).where(jobs.c.id == row["job"])).scalar_one()
    if known is not None and (fraction <= known or known + PROGRESS_STEP > fraction < 1):
        return
    connection.execute(
        update(jobs).where(jobs.c.id == row["job"], jobs.c.state == "running").values(progress=fraction)
    )
    add_event(connection, row["job"], "progress", {"attempt": row["id"], "fraction": fraction, "text": ""})


def log_bytes(connection: Connection, attempt: str, task: int) -> int:
    """How much of a task's log has come."""
    query = select(task_logs.c.bytes).where(task_logs.c.attempt == attempt, task_logs.c.task == task)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def log_appended(connection: Connection, attempt: str, task: int, offset: int, text: str) -> None:
    """Text of a task's log, `offset` bytes from its start, which grows it."""
    row = attempt_row(connection, attempt)
    size = offset + len(text.encode("utf-8"))
    if size > log_bytes(connection, attempt, task):
        put(connection, task_logs, {"attempt": attempt, "task": task, "bytes": size})
    data = {
        "attempt": attempt,
        "task": task,
        "worker": worker_name(connection, row["worker"]),
        "offset": offset,
        "text": text,
    }
    add_event(connection, row["job"], "log", data)
