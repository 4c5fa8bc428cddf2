"""Share links: who has one reads the files of one job, and nothing else, until it is over or taken back. Of a
link only its digest is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select

from marketplace.jobs import job_row
from marketplace.store.database import Store
from marketplace.store.share_tables import share_links
from marketplace.store.tables import jobs
from marketplace.tokens import digest_of, new_token
from prixfixe.errors import Conflict, InvalidInput, NotFound

DAYS: Final = (1, 7, 30)
_DAY: Final = 86_400
MOST_LINKS: Final = 20
"""Of one job."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a link opens: a job of that customer's. until: seconds of the service's clock."""

    job: str
    customer: str
    until: int


class ShareLinks:
    """Makes, opens and takes back links."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def make(self, customer: str, job: str, days: int, by: str) -> str:
        """A new link's token, told this once. by: who asks, for the books. NotFound for another's job."""
        if days not in DAYS:
            raise InvalidInput(f"a link is good for {', '.join(map(str, DAYS))} days, not {days}")
        now, token = int(self._clock()), new_token()
        with self._store.write() as connection:
            job_row(connection, job, customer)
            connection.execute(delete(share_links).where(share_links.c.expires_at <= now))
            known = select(func.count()).where(share_links.c.job == job)
            if connection.execute(known).scalar_one() >= MOST_LINKS:
                raise Conflict(
                    f"the job has {MOST_LINKS} links already",
                    code="too-many-links",
                    hint="take them back, and make new ones",
                )
            connection.execute(
                insert(share_links).values(
                    token_digest=digest_of(token),
                    job=job,
                    made_by=by,
                    created_at=now,
                    expires_at=now + days * _DAY,
                )
            )
        return token

    def count(self, customer: str, job: str) -> int:
        """How many links of a job are good now."""
        with self._store.read() as connection:
            job_row(connection, job, customer)
            query = select(func.count()).where(
                share_links.c.job == job, share_links.c.expires_at > int(self._clock())
            )
            return int(connection.execute(query).scalar_one())

    def take_back(self, customer: str, job: str) -> None:
        """End every link of a job. NotFound for another's."""
        with self._store.write() as connection:
            job_row(connection, job, customer)
            connection.execute(delete(share_links).where(share_links.c.job == job))

    def open(self, token: str) -> Shared:
        """What the link opens. NotFound for none, and for one that is over."""
        # By the digest: what an index lookup's timing could tell is nothing about the token.
        query = (
            select(share_links.c.job, jobs.c.customer, share_links.c.expires_at)
            .join(jobs, jobs.c.id == share_links.c.job)
            .where(
                share_links.c.token_digest == digest_of(token),
                share_links.c.expires_at > int(self._clock()),
            )
        )
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(
                "this link opens nothing: it is over, was taken back, or is not whole",
                code="link-over",
                hint="ask whoever sent it for a new one",
            )
        return Shared(row.job, row.customer, row.expires_at)
