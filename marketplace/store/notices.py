"""What the customers of a worker's running tasks are told while they run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, select

from marketplace.store.tables import attempts, deals
from marketplace.store.transitions import stage_said


def stop_announced(
    connection: Connection, worker: str, name: str, running: Sequence[str], stops_at: int
) -> tuple[str, ...]:
    """Tell the jobs of these attempts that their worker is being stopped, and until when each has ended or is
    refunded: what still runs at `stops_at` is refused, and the deal's deadline ends it in any case. The
    attempts that were told of."""
    query = (
        select(attempts.c.id, attempts.c.job, deals.c.deadline)
        .join(deals, and_(deals.c.id == attempts.c.deal, deals.c.opening == attempts.c.opening))
        .where(attempts.c.worker == worker, attempts.c.state == "running", attempts.c.id.in_(running))
    )
    found = connection.execute(query).all()
    for row in found:
        by = datetime.fromtimestamp(min(stops_at, row.deadline), UTC).strftime("%H:%M:%S UTC")
        stage_said(
            connection, row.job, f"the worker {name} is being stopped; the task ends or is refunded by {by}"
        )
    return tuple(row.id for row in found)
