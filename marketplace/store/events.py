"""A job's events: what its customer sees live, numbered from 1 without gaps, written with what they tell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, func, insert, select

from marketplace.store.database import notify, tell
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.tables import job_events
from marketplace.store.webhooks import jobs_told

Kind: TypeAlias = Literal["state", "progress", "log", "end"]

# Made once: making a statement takes longer than running it.
_NEWEST: Final = (
    select(job_events.c.job, func.max(job_events.c.sequence).label("newest"))
    .where(among(job_events.c.job, "jobs"))
    .group_by(job_events.c.job)
)
_INSERT: Final = insert(job_events)


def add_event(connection: Connection, job: str, kind: Kind, data: dict[str, Any]) -> None:
    """Append an event and wake who follows the job (topic `job:<id>`).

    data: `state` {state, stage, lot?, reason?}; `progress` {attempt, fraction, text}; `log` {attempt, offset,
    text}; `end` {state, charged, reason}, once, last.
    """
    add_events(connection, [(job, kind, data)])


def add_events(connection: Connection, told: Sequence[tuple[str, Kind, dict[str, Any]]]) -> None:
    """As `add_event`, for several at once, of one job or of many: (job, kind, data) of each, in their
    order."""
    if not told:
        return
    of = list(dict.fromkeys(job for job, _, _ in told))
    numbers = {row.job: row.newest for row in connection.execute(_NEWEST, {"jobs": of})}
    now, rows = int(time.time()), []
    for job, kind, data in told:
        number = numbers[job] = numbers.get(job, 0) + 1
        rows.append({"job": job, "sequence": number, "kind": kind, "data": data, "created_at": now})
    execute_each(connection, _INSERT, rows)
    jobs_told(connection, told)
    for job in of:
        notify(connection, f"job:{job}")
    for job, kind, data in told:
        if kind == "state" and data["stage"]:
            tell(connection, f"job {data['state']}: {data['stage']}", job=job)
        elif kind == "end":
            because = f" ({data['reason']['code']})" if data["reason"] else ""
            tell(connection, f"job ended {data['state']}{because}, charged {data['charged']}", job=job)
