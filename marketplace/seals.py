"""Sealed secrets on their way from a job's customer to the workers that run it.

The service can neither open nor make them: it keeps what the customer sealed until the attempt is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import delete, exists, select

from marketplace.assignments import own_attempt
from marketplace.jobs import job_row
from marketplace.store.database import Store
from marketplace.store.tables import attempts, deals, sealed_secrets, sealing_keys
from marketplace.store.upsert import put
from prixfixe.errors import Conflict, NotFound
from prixfixe.protocol.secrets import Seal, SealedSecrets, SignedSealingKey

_WAITING = ("assigned", "running")
# A lost attempt may come back as long as its deal is open.
_OVER = delete(sealed_secrets).where(
    ~exists()
    .where(attempts.c.id == sealed_secrets.c.attempt, attempts.c.state.not_in(("succeeded", "failed")))
    .where(deals.c.id == attempts.c.deal, deals.c.opening == attempts.c.opening, deals.c.state == "open")
)


def topic(attempt: str) -> str:
    """What a worker waits for while its secrets are not there."""
    return f"seal:{attempt}"


class Seals:
    """The customer's side and the worker's."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def waiting(self, job: str, customer: str) -> tuple[Seal, ...]:
        """The attempts of a job that run now, with whom to seal to. NotFound for a stranger's job."""
        query = (
            select(
                attempts.c.id,
                attempts.c.worker,
                attempts.c.created_at,
                deals.c.id.label("deal_id"),
                deals.c.deal,
                deals.c.due,
                sealing_keys.c.signed,
                sealed_secrets.c.attempt.label("sealed"),
            )
            .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
            .outerjoin(sealing_keys, sealing_keys.c.worker == attempts.c.worker)
            .outerjoin(sealed_secrets, sealed_secrets.c.attempt == attempts.c.id)
            .where(attempts.c.job == job, attempts.c.state.in_(_WAITING), deals.c.state == "open")
            .order_by(attempts.c.created_at, attempts.c.id)
        )
        with self._store.read() as connection:
            job_row(connection, job, customer)
            rows = connection.execute(query).mappings().all()
        return tuple(
            Seal(
                attempt=row["id"],
                deal_id=row["deal_id"],
                deal=row["deal"],
                due=row["due"],
                worker=row["worker"],
                sealing=None if row["signed"] is None else SignedSealingKey.model_validate(row["signed"]),
                given=row["sealed"] is not None,
                since=row["created_at"],
            )
            for row in rows
        )

    def give(self, job: str, customer: str, attempt: str, secrets: SealedSecrets) -> None:
        """Keep what the customer sealed for an attempt; the newest counts. Conflict when it is over."""
        with self._store.write() as connection:
            job_row(connection, job, customer)
            query = select(attempts.c.state).where(attempts.c.id == attempt, attempts.c.job == job)
            state = connection.execute(query).scalar()
            if state is None:
                raise NotFound(f"the job has no attempt {attempt}")
            if state not in _WAITING:
                raise Conflict(f"the attempt is {state}: it takes no secrets", code="attempt-over")
            row = {"attempt": attempt, "sealed": secrets.sealed, "given_at": int(self._clock())}
            put(connection, sealed_secrets, row)
            self._store.notify(connection, topic(attempt))

    def take(self, attempt: str, key: str) -> SealedSecrets | None:
        """What was sealed for the worker's own attempt; None while nothing is there."""
        with self._store.read() as connection:
            own_attempt(connection, attempt, key)
            query = select(sealed_secrets.c.sealed).where(sealed_secrets.c.attempt == attempt)
            found = connection.execute(query).scalar()
        return None if found is None else SealedSecrets(sealed=found)

    def sweep(self) -> None:
        """Drop what was sealed for attempts that ended, or whose deal did."""
        with self._store.write() as connection:
            connection.execute(_OVER)
