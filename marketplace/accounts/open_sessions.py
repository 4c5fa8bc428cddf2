"""The sessions that a person has open, whichever of its accounts they are at, and how to end them. Nobody
else's can be told from one that does not exist."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import delete, select

from marketplace.accounts.people import Session
from marketplace.store.account_tables import accounts, person_sessions
from marketplace.store.database import Store
from marketplace.tokens import digest_of
from prixfixe.errors import NotFound
from prixfixe.protocol import accounts as wire


class OpenSessions:
    """For who has a session itself."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def listed(self, own: Session) -> tuple[wire.OpenSession, ...]:
        """All that are good now, the one that was used last first."""
        query = (
            select(person_sessions, accounts.c.address, accounts.c.name)
            .join(accounts, accounts.c.number == person_sessions.c.account)
            .where(
                person_sessions.c.person == own.identity.person,
                person_sessions.c.expires_at > int(self._clock()),
            )
            .order_by(person_sessions.c.used_at.desc(), person_sessions.c.created_at.desc())
        )
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            wire.OpenSession(
                id=row["id"],
                own=row["token_digest"] == digest_of(own.token),
                account=row["address"],
                account_name=row["name"],
                browser=row["browser"],
                created_at=row["created_at"],
                used_at=row["used_at"],
                expires_at=row["expires_at"],
            )
            for row in rows
        )

    def end(self, own: Session, session: str) -> bool:
        """End one, at once; whether it was the one that asks. NotFound for another person's."""
        found = next((each for each in self.listed(own) if each.id == session), None)
        if found is None:
            raise NotFound("there is no such session", hint="it may have ended already")
        with self._store.write() as connection:
            connection.execute(delete(person_sessions).where(person_sessions.c.id == session))
        return found.own

    def end_others(self, own: Session) -> None:
        """End all but the one that asks."""
        with self._store.write() as connection:
            connection.execute(
                delete(person_sessions).where(
                    person_sessions.c.person == own.identity.person,
                    person_sessions.c.token_digest != digest_of(own.token),
                )
            )
