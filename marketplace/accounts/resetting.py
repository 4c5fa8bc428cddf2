"""A forgotten password: the operator gives a new one, to be changed by who gets it."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import delete, select, update

from marketplace.accounts.passwords import Passwords
from marketplace.store.account_tables import people, person_sessions
from marketplace.store.database import Store
from prixfixe.errors import NotFound

_BYTES: Final = 15  # 120 random bits, 20 letters


def reset_password(store: Store, email: str, passwords: Passwords | None = None) -> str:
    """The new password of a person, whose sessions all end. NotFound when there is no such person."""
    password = secrets.token_urlsafe(_BYTES)
    stored = (passwords or Passwords()).hash(password)
    with store.write() as connection:
        found = connection.execute(select(people.c.id).where(people.c.email == email.lower()))
        person = found.scalar_one_or_none()
        if person is None:
            raise NotFound(f"nobody signs in as {email[:254]}", hint="see `prixfixe admin accounts`")
        connection.execute(update(people).where(people.c.id == person).values(password=stored))
        connection.execute(delete(person_sessions).where(person_sessions.c.person == person))
    return password
