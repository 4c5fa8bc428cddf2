"""A forgotten password: the operator gives a new one, to be changed by who gets it."""

from __future__ import annotations

import secrets
from typing import Final

from marketplace.accounts.passwords import Passwords
from marketplace.accounts.people import person_of, replace_password
from marketplace.store.database import Store
from prixfixe.errors import NotFound

_BYTES: Final = 15  # 120 random bits, 20 letters


def reset_password(store: Store, email: str, passwords: Passwords | None = None) -> str:
    """The new password of a person, whose sessions all end. NotFound when there is no such person."""
    password = secrets.token_urlsafe(_BYTES)
    stored = (passwords or Passwords()).hash(password)
    with store.write() as connection:
        person = person_of(connection, email)
        if person is None:
            raise NotFound(f"nobody signs in as {email[:254]}", hint="see `prixfixe admin accounts`")
        replace_password(connection, person["id"], stored)
    return password
