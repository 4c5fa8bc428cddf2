"""What is to be expected of an order, from what runs and has run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from marketplace.store.listed import among
from marketplace.store.tables import attempts, deals, jobs
from prixfixe.protocol import wire

_SAMPLE: Final = 200  # newest runs of an image that tell how long it takes
# Made once: making a statement takes longer than running it.
_FIRST_DEADLINE: Final = (
    select(func.min(deals.c.deadline))
    .join(attempts, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
    .where(deals.c.state == "open", among(attempts.c.worker, "keys"))
)
_NEWEST_RUNS: Final = (
    select(attempts.c.seconds)
    .join(jobs, jobs.c.id == attempts.c.job)
    .where(
        jobs.c.image == bindparam("image"), attempts.c.state == "succeeded", attempts.c.seconds.is_not(None)
    )
    .order_by(jobs.c.number.desc())
    .limit(_SAMPLE)
)


def busy_until(connection: Connection, keys: Sequence[str]) -> int | None:
    """Deadline of the open deal that ends first on one of these workers."""
    first: int | None = connection.execute(_FIRST_DEADLINE, {"keys": keys}).scalar_one()
    return first


def past_runs(connection: Connection, image: str) -> wire.PastRuns | None:
    """How long the newest runs of an image took; None when it has not run here."""
    rows = connection.execute(_NEWEST_RUNS, {"image": image})
    taken = sorted(round(seconds * 1000) for seconds in rows.scalars())
    if not taken:
        return None
    last = len(taken) - 1
    return wire.PastRuns(low_ms=taken[last // 10], high_ms=taken[-(-last * 9 // 10)], sample=len(taken))
