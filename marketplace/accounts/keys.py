"""API keys: for programs that act for an account, with scopes, an end, and when they were last used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import Identity, new_id
from marketplace.accounts.uses import used
from marketplace.store.account_tables import accounts, api_keys, people
from marketplace.store.database import Store
from marketplace.tokens import digest_of, new_token
from prixfixe.errors import Conflict, NotFound, Unauthorized
from prixfixe.protocol import accounts as wire

PREFIX: Final = "pfx_"  # so that people and secret scanners know one when they see it
_MOST: Final = 100


class ApiKeys:
    """Keys of managed accounts. A key is stored as its SHA-256 only."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def make(self, identity: Identity, request: wire.KeyRequest) -> wire.NewApiKey:
        """A new key, shown this once. Only a person makes one, so that a stolen key cannot make others."""
        identity.require("manage")
        if identity.person is None:
            raise Conflict("a key cannot make keys", code="person-needed", hint="sign in and make it there")
        now = int(self._clock())
        token = new_token(PREFIX)
        row: dict[str, Any] = {
            "id": new_id(),
            "token_digest": digest_of(token),
            "account": identity.account,
            "name": request.name,
            "scopes": sorted({*request.scopes, "read"}),
            "made_by": identity.person,
            "created_at": now,
            "expires_at": now + request.days * 86_400,
        }
        with self._store.write() as connection:
            live = [each for each in _keys(connection, identity.account) if each["revoked_at"] is None]
            if len(live) >= _MOST:
                raise Conflict(
                    f"the account has {_MOST} keys",
                    code="too-many-keys",
                    hint="revoke some that are not used",
                )
            connection.execute(insert(api_keys).values(row))
            made = _key(connection, identity.account, row["id"])
        return wire.NewApiKey(token=token, key=_shown(made))

    def listed(self, identity: Identity) -> tuple[wire.ApiKey, ...]:
        """All keys of the account, the revoked too, newest first."""
        identity.require("manage")
        with self._store.read() as connection:
            return tuple(_shown(row) for row in _keys(connection, identity.account))

    def now(self) -> int:
        """The second by which keys end."""
        return int(self._clock())

    def revoke(self, identity: Identity, key: str) -> wire.ApiKey:
        """Ends a key for good, at once. NotFound for another account's."""
        identity.require("manage")
        with self._store.write() as connection:
            _key(connection, identity.account, key)
            connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=int(self._clock()))
            )
            return _shown(_key(connection, identity.account, key))

    def identity(self, token: str) -> Identity:
        """Whom a key stands for. Unauthorized, in the same words, for one unknown, over or revoked."""
        now = int(self._clock())
        query = (
            select(api_keys, accounts.c.address)
            .join(accounts, accounts.c.number == api_keys.c.account)
            .where(
                api_keys.c.token_digest == digest_of(token),
                api_keys.c.revoked_at.is_(None),
                api_keys.c.expires_at > now,
            )
        )
        with self._store.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise Unauthorized(
                "the API key is not known, was revoked or has expired",
                code="bad-api-key",
                hint="an owner of the account can make another",
            )
        used(self._store, api_keys, row["id"], row["used_at"], now)
        return Identity(row["account"], row["address"], frozenset(row["scopes"]), key=row["id"])


def _query() -> Any:
    return select(api_keys, people.c.email).join(people, people.c.id == api_keys.c.made_by)


def _keys(connection: Connection, account: int) -> list[RowMapping]:
    query = _query().where(api_keys.c.account == account)
    return list(
        connection.execute(query.order_by(api_keys.c.created_at.desc(), api_keys.c.id)).mappings().all()
    )


def _key(connection: Connection, account: int, key: str) -> RowMapping:
    query = _query().where(api_keys.c.account == account, api_keys.c.id == key)
    row: RowMapping | None = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("there is no such key")
    return row


def _shown(row: RowMapping) -> wire.ApiKey:
    return wire.ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        made_by=row["email"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )
