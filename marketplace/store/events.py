"""A job's events: what its customer sees live, numbered from 1 without gaps, written with what they tell."""

from __future__ import annotations

import time
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select

from marketplace.store.database import notify, tell
from marketplace.store.tables import job_events


def add_event(
    connection: Connection, job: str, kind: Literal["state", "progress", "log", "end"], data: dict[str, Any]
) -> int:
    """Append an event and wake who follows the job (topic `job:<id>`); its number.

    data: `state` {state, stage, lot?, reason?}; `progress` {attempt, fraction, text}; `log` {attempt, offset,
    text}; `end` {state, charged, reason}, once, last.
    """
    newest = select(func.coalesce(func.max(job_events.c.sequence), 0)).where(job_events.c.job == job)
    number = int(connection.execute(newest).scalar_one()) + 1
    connection.execute(
        insert(job_events).values(job=job, sequence=number, kind=kind, data=data, created_at=int(time.time()))
    )
    notify(connection, f"job:{job}")
    if kind == "state" and data["stage"]:
        tell(connection, f"job {data['state']}: {data['stage']}", job=job)
    elif kind == "end":
        because = f" ({data['reason']['code']})" if data["reason"] else ""
        tell(connection, f"job ended {data['state']}{because}, charged {data['charged']}", job=job)
    return number
