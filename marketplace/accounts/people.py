"""People: signing up, in and out. A session is a random token in a cookie, stored as its hash only."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import SCOPES, Identity, new_id
from marketplace.accounts.passwords import Passwords
from marketplace.accounts.top_ups import give_play_money
from marketplace.accounts.traces import has_past
from marketplace.accounts.uses import used
from marketplace.chain import ChainReader
from marketplace.store.account_tables import accounts, members, people, person_sessions
from marketplace.store.database import Store
from marketplace.tokens import digest_of, new_token
from prixfixe.errors import Conflict, Forbidden, NotFound, Unauthorized, Unavailable
from prixfixe.protocol import accounts as wire
from prixfixe.seeds import Seed

WARN_BELOW: Final = 10_000_000  # $10: an account that did not say otherwise is then low
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Session:
    """An open session. token: for the cookie, known to nobody else."""

    token: str
    signed_in: wire.SignedIn
    identity: Identity


class People:
    """Who may sign in. seed: gives every account its address. seconds: how long a session lasts. play_units:
    of the operator's tokens, that a new account is given."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        seed: Seed,
        seconds: int,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
        play_units: int = 0,
    ) -> None:
        self._store = store
        self._chain = chain
        self._seed = seed
        self._seconds = seconds
        self._passwords = passwords or Passwords()
        self._clock = clock
        self._play_units = play_units

    def sign_up(self, request: wire.SignUp, browser: str = "") -> Session:
        """A new person, owner of a new account, signed in. browser: as its session shows it. Conflict when
        the e-mail address has an account, Unavailable, with nothing stored, when the chain does not tell that
        the account is new to it."""
        now = int(self._clock())
        person: dict[str, Any] = {
            "id": new_id(),
            "email": request.email.lower(),
            "password": self._passwords.hash(request.password),
            "created_at": now,
        }
        for _ in range(_TRIES):
            with self._store.read() as connection:
                newest = _newest_number(connection)
            # Outside of the transaction: an external signer and the chain take their time.
            number, address = self._unused(newest)
            with self._store.write() as connection:
                if _newest_number(connection) != newest:
                    continue  # another one was quicker
                if person_of(connection, request.email) is not None:
                    raise Conflict(
                        "this e-mail address has an account already",
                        code="email-taken",
                        hint="sign in, or use another address",
                    )
                connection.execute(insert(people).values(person))
                connection.execute(
                    insert(accounts).values(
                        number=number,
                        address=address,
                        name=request.name or request.email.lower()[:100],
                        channel=request.channel,
                        created_at=now,
                        warn_below=WARN_BELOW,
                        withdraw_to=request.withdraw_to,
                    )
                )
                connection.execute(
                    insert(members).values(account=number, person=person["id"], role="owner", since=now)
                )
                if self._play_units:
                    give_play_money(connection, number, address, self._play_units)
                return self._open(connection, person["id"], number, browser)
        raise Unavailable("too many people sign up at once")

    def sign_in(self, request: wire.SignIn, old: str | None = None, browser: str = "") -> Session:
        """A new session for who knows the password. old: a session that this one takes the place of. browser:
        as in `sign_up`.

        Unauthorized, in the same words and after the same time, for an unknown address and a wrong password.
        """
        with self._store.read() as connection:
            person = person_of(connection, request.email)
        stored = None if person is None else str(person["password"])
        if not self._passwords.is_right(stored, request.password) or person is None or stored is None:
            raise _wrong_password()
        fresh = self._passwords.hash(request.password) if self._passwords.is_outdated(stored) else None
        with self._store.write() as connection:
            _require_unchanged(connection, person["id"], stored)
            if fresh is not None:
                _store_password(connection, person["id"], fresh)
            if old is not None:
                _close(connection, old)
            number = _account_of(connection, person["id"], request.account)
            return self._open(connection, person["id"], number, browser)

    def sign_out(self, token: str) -> None:
        """End a session; nothing happens when there is none."""
        with self._store.write() as connection:
            _close(connection, token)

    def switch(self, token: str, account: str) -> Session:
        """A new session at another account of the same person. NotFound when it is not one of its own."""
        with self._store.write() as connection:
            row = self._session(connection, token)
            number = _account_of(connection, row["person"], account)
            _close(connection, token)
            return self._open(connection, row["person"], number, row["browser"])

    def change_password(self, token: str, request: wire.ChangePassword) -> Session:
        """A new password; all the person's sessions end, and a new one begins."""
        with self._store.read() as connection:
            row = self._session(connection, token)
        if not self._passwords.is_right(row["password"], request.old):
            raise Forbidden("the old password is wrong", code="wrong-password")
        fresh = self._passwords.hash(request.new)
        with self._store.write() as connection:
            _require_unchanged(connection, row["person"], row["password"])
            replace_password(connection, row["person"], fresh)
            return self._open(connection, row["person"], row["account"], row["browser"])

    def identity(self, token: str) -> Identity:
        """Who a session stands for; Unauthorized when nobody, or no longer."""
        with self._store.read() as connection:
            row = self._session(connection, token)
        self._used(row)
        return _identity(row)

    def session(self, token: str) -> Session:
        """The session with this token, and what its person may know of it; Unauthorized as `identity`."""
        with self._store.read() as connection:
            row = self._session(connection, token)
            session = _opened(connection, row, token)
        self._used(row)
        return session

    def _used(self, row: RowMapping) -> None:
        used(self._store, person_sessions, row["id"], row["used_at"], int(self._clock()))

    def _unused(self, newest: int) -> tuple[int, str]:
        """The first number after `newest` whose key nobody had, and its address. The table may have
        forgotten accounts (an older backup was restored): whose key has a past is not given to another."""
        number = newest
        while True:
            number += 1
            address = self._seed.signer(number).address
            account = self._chain.look(accounts=(address,)).accounts[address]
            with self._store.read() as connection:
                if not has_past(connection, address, account):
                    return number, address

    def _session(self, connection: Connection, token: str) -> RowMapping:
        """With the person and its role; who is no member any more has no session."""
        now = int(self._clock())
        query = (
            select(person_sessions, people.c.email, people.c.password, members.c.role, accounts.c.address)
            .join(people, people.c.id == person_sessions.c.person)
            .join(accounts, accounts.c.number == person_sessions.c.account)
            .join(
                members,
                (members.c.person == person_sessions.c.person)
                & (members.c.account == person_sessions.c.account),
            )
            # By the digest: what an index lookup's timing could tell is nothing about the token.
            .where(person_sessions.c.token_digest == digest_of(token), person_sessions.c.expires_at > now)
        )
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise Unauthorized("the session is not known or has expired", code="session-expired")
        return row

    def _open(self, connection: Connection, person: str, number: int, browser: str) -> Session:
        now = int(self._clock())
        token = new_token()
        connection.execute(delete(person_sessions).where(person_sessions.c.expires_at <= now))
        connection.execute(
            insert(person_sessions).values(
                token_digest=digest_of(token),
                person=person,
                account=number,
                created_at=now,
                expires_at=now + self._seconds,
                id=new_id(),
                browser=browser,
                used_at=now,
            )
        )
        return _opened(connection, self._session(connection, token), token)


def csrf_of(token: str) -> str:
    """What a page sends back to show that it was made for this session: no other site can read it."""
    return hmac.digest(token.encode("utf-8", "replace"), b"prixfixe csrf", "sha256").hex()


def is_csrf(token: str, given: str) -> bool:
    return hmac.compare_digest(csrf_of(token).encode(), given.encode("utf-8", "replace"))


def _opened(connection: Connection, row: RowMapping, token: str) -> Session:
    return Session(token, _signed_in(connection, row, token), _identity(row))


def _identity(row: RowMapping) -> Identity:
    return Identity(row["account"], row["address"], SCOPES[row["role"]], person=row["person"])


def _signed_in(connection: Connection, row: RowMapping, token: str) -> wire.SignedIn:
    own = (
        select(accounts.c.address, accounts.c.name, members.c.role)
        .join(members, members.c.account == accounts.c.number)
        .where(members.c.person == row["person"])
        .order_by(accounts.c.number)
    )
    return wire.SignedIn(
        email=row["email"],
        account=row["address"],
        role=row["role"],
        csrf=csrf_of(token),
        expires_at=row["expires_at"],
        accounts=tuple(
            wire.Membership(account=each.address, name=each.name, role=each.role)
            for each in connection.execute(own)
        ),
    )


def _newest_number(connection: Connection) -> int:
    """0 before the first. Accounts are never deleted, so that no number is used twice."""
    newest = select(func.coalesce(func.max(accounts.c.number), 0))
    return int(connection.execute(newest).scalar_one())


def person_of(connection: Connection, email: str) -> RowMapping | None:
    """Who signs in with this e-mail address."""
    return connection.execute(select(people).where(people.c.email == email.lower())).mappings().one_or_none()


def _account_of(connection: Connection, person: str, address: str | None) -> int:
    query = (
        select(members.c.account)
        .join(accounts, accounts.c.number == members.c.account)
        .where(members.c.person == person)
        .order_by(members.c.account)
    )
    if address is not None:
        query = query.where(accounts.c.address == address)
    number = connection.execute(query.limit(1)).scalar_one_or_none()
    if number is None:
        raise NotFound(
            "there is no such account for you", hint="see the accounts that you have when signed in"
        )
    return int(number)


def _wrong_password() -> Unauthorized:
    return Unauthorized(
        "the e-mail address or the password is wrong",
        code="wrong-password",
        hint="check both; nobody but you can change the password",
    )


def _require_unchanged(connection: Connection, person: str, stored: str) -> None:
    """Hashing takes its time: a password that was replaced meanwhile opens nothing and comes not back."""
    now = connection.execute(select(people.c.password).where(people.c.id == person)).scalar_one()
    if now != stored:
        raise _wrong_password()


def replace_password(connection: Connection, person: str, fresh: str) -> None:
    """A new password, hashed; all the person's sessions end."""
    _store_password(connection, person, fresh)
    connection.execute(delete(person_sessions).where(person_sessions.c.person == person))


def _store_password(connection: Connection, person: str, fresh: str) -> None:
    connection.execute(update(people).where(people.c.id == person).values(password=fresh))


def _close(connection: Connection, token: str) -> None:
    connection.execute(delete(person_sessions).where(person_sessions.c.token_digest == digest_of(token)))
