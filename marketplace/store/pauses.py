"""How workers pause that failed by their own fault, and what counts as that."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, case, select, update

from marketplace.store.database import first_cool_down
from marketplace.store.listed import among
from marketplace.store.tables import workers
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.wire import Reason

# What a job's own bytes decide: an image that is not the one named or has volumes, a matrix with a hole.
_ALIKE_EVERYWHERE: Final = frozenset(
    {"bad-command", "bad-matrix", "image-mismatch", "image-no-command", "image-not-pulled", "image-volumes"}
)
LONGEST_COOL_DOWN_SECONDS: Final = 3600.0
_COOL_DOWN_GROWTH: Final = 3.0  # of the pause, with each failure in a row
# Made once: making a statement takes longer than running it.
_DID_WELL: Final = (
    update(workers).where(among(workers.c.key, "keys"), workers.c.failures > 0).values(failures=0)
)


def worker_cooled(connection: Connection, worker: str, seconds: float | None = None) -> None:
    """No new deal for a worker for `seconds` of the service's clock; for as long as after a first failure
    when none are given."""
    until = time.time() + (first_cool_down(connection) if seconds is None else seconds)
    connection.execute(
        update(workers).where(workers.c.key == worker, workers.c.cool_until < until).values(cool_until=until)
    )


def cool_down_seconds(failures: int, first: float) -> float:
    """The pause after so many failures in a row: `first`, then three times as long with each, an hour at
    most."""
    return min(first * _COOL_DOWN_GROWTH ** min(failures - 1, 10), LONGEST_COOL_DOWN_SECONDS)


def worker_failed(connection: Connection, worker: str) -> None:
    """An attempt of it failed by its own fault: it pauses, the longer the more failed in a row. In a pause it
    begins nothing, so what fails then was under way when it began: all of a silence or a crash is one
    failure, however many tasks ran."""
    same = (workers.c.failures > 0) & (workers.c.cool_until > time.time())
    counted = (
        update(workers)
        .where(workers.c.key == worker)
        .values(failures=workers.c.failures + case((same, 0), else_=1))
        .returning(workers.c.failures)
    )
    failures = connection.execute(counted).scalar_one_or_none()
    if failures is not None:
        worker_cooled(connection, worker, cool_down_seconds(failures, first_cool_down(connection)))


def workers_did_well(connection: Connection, keys: Iterable[str]) -> None:
    """They brought results: what failed before counts no more."""
    connection.execute(_DID_WELL, {"keys": list(keys)})


def provider_cooled(connection: Connection, provider: str, seconds: float | None = None) -> None:
    """The same for each worker of a provider."""
    for worker in connection.execute(select(workers.c.key).where(workers.c.provider == provider)).scalars():
        worker_cooled(connection, worker, seconds)


def fault_is_the_providers(status: int | None, reason: Reason | None) -> bool:
    """Whether a failed task is worth another worker: it did not start, or the provider says it was its
    fault. Not what every worker would find: it would cost each of them a pause, and the customer nothing."""
    if reason is not None and reason.code in _ALIKE_EVERYWHERE:
        return False
    if status == TaskStatus.COULD_NOT_START:
        return True
    return reason is not None and reason.fault == "provider"
