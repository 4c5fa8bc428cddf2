"""Teams: who else may use an account, and as what. An account always has an owner."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import SCOPES, Identity, new_id, person_name
from marketplace.store.account_tables import accounts, api_keys, invites, members, people, person_sessions
from marketplace.store.database import Store
from marketplace.store.share_tables import share_links
from marketplace.store.tables import jobs
from marketplace.tokens import digest_of, new_token
from prixfixe.errors import Conflict, NotFound
from prixfixe.protocol import accounts as wire

_INVITE_SECONDS: Final = 7 * 86_400
_MOST: Final = 200  # members and invites of one account


class Teams:
    """Members and invites of managed accounts."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def members(self, identity: Identity) -> tuple[wire.Member, ...]:
        """Everybody, the oldest first."""
        identity.require("read")
        with self._store.read() as connection:
            return _members(connection, identity.account)

    def change(self, identity: Identity, person: str, role: wire.Role) -> wire.Member:
        """Another role: keys and invites of this person that are beyond it end. NotFound for who is no
        member, Conflict for the only owner."""
        identity.require("manage")
        with self._store.write() as connection:
            _member(connection, identity.account, person)
            connection.execute(_of(update(members), identity.account, person).values(role=role))
            _require_owner(connection, identity.account)
            self._take_beyond(connection, identity.account, person, SCOPES[role])
            return _member(connection, identity.account, person)

    def remove(self, identity: Identity, person: str) -> None:
        """No member any more: its sessions here, and the keys and invites that it made, end too."""
        if identity.person != person:  # anybody may leave
            identity.require("manage")
        with self._store.write() as connection:
            _member(connection, identity.account, person)
            connection.execute(_of(delete(members), identity.account, person))
            _require_owner(connection, identity.account)
            connection.execute(
                delete(person_sessions).where(
                    person_sessions.c.person == person, person_sessions.c.account == identity.account
                )
            )
            self._take_beyond(connection, identity.account, person, frozenset())

    def invite(self, identity: Identity, request: wire.InviteRequest) -> wire.NewInvite:
        """A word for one person, good for a week, that the owner hands over."""
        identity.require("manage")
        if identity.person is None:
            raise Conflict("a key invites nobody", code="person-needed", hint="sign in and invite from there")
        now, token = int(self._clock()), new_token()
        row = {
            "id": new_id(),
            "token_digest": digest_of(token),
            "account": identity.account,
            "role": request.role,
            "email": request.email.lower(),
            "invited_by": identity.person,
            "created_at": now,
            "expires_at": now + _INVITE_SECONDS,
        }
        with self._store.write() as connection:
            connection.execute(delete(invites).where(invites.c.expires_at <= now))
            together = len(_members(connection, identity.account)) + len(self._invites(connection, identity))
            if together >= _MOST:
                raise Conflict(f"the account has {_MOST} members and invites", code="too-many-members")
            connection.execute(insert(invites).values(row))
            made = next(each for each in self._invites(connection, identity) if each.id == row["id"])
        return wire.NewInvite(token=token, invite=made)

    def invites(self, identity: Identity) -> tuple[wire.Invite, ...]:
        """Those that wait, newest first."""
        identity.require("manage")
        with self._store.read() as connection:
            return self._invites(connection, identity)

    def take_back(self, identity: Identity, invite: str) -> None:
        """An invite ends. NotFound for another account's."""
        identity.require("manage")
        with self._store.write() as connection:
            gone = connection.execute(
                delete(invites).where(invites.c.id == invite, invites.c.account == identity.account)
            )
            if gone.rowcount != 1:
                raise NotFound("there is no such invite")

    def accept(self, identity: Identity, token: str) -> str:
        """The person is a member from now on; the account's address. NotFound, in the same words, for an
        invite that is unknown, over, used or somebody else's."""
        now = int(self._clock())
        with self._store.write() as connection:
            row = (
                connection.execute(
                    select(invites, accounts.c.address)
                    .join(accounts, accounts.c.number == invites.c.account)
                    .join(people, people.c.email == invites.c.email)
                    .where(
                        invites.c.token_digest == digest_of(token),
                        invites.c.expires_at > now,
                        people.c.id == identity.person,
                    )
                )
                .mappings()
                .one_or_none()
            )
            if row is None:
                raise NotFound(
                    "there is no such invite for you",
                    hint="an invite is for one e-mail address, for a week, and once",
                )
            connection.execute(delete(invites).where(invites.c.id == row["id"]))
            here = select(members.c.role).where(
                members.c.account == row["account"], members.c.person == identity.person
            )
            if connection.execute(here).first() is not None:
                raise Conflict("you are a member already", code="already-a-member")
            connection.execute(
                insert(members).values(
                    account=row["account"], person=identity.person, role=row["role"], since=now
                )
            )
            return str(row["address"])

    def _take_beyond(
        self, connection: Connection, account: int, person: str, scopes: frozenset[wire.Scope]
    ) -> None:
        """End what a person made here that these scopes do not let it make: nothing outlasts a role that was
        taken."""
        made = select(api_keys.c.id, api_keys.c.scopes).where(
            api_keys.c.made_by == person, api_keys.c.account == account, api_keys.c.revoked_at.is_(None)
        )
        beyond = [row.id for row in connection.execute(made) if not scopes.issuperset(row.scopes)]
        connection.execute(
            update(api_keys).where(api_keys.c.id.in_(beyond)).values(revoked_at=int(self._clock()))
        )
        if "order" not in scopes:
            shared = select(jobs.c.id).join(accounts, accounts.c.address == jobs.c.customer)
            connection.execute(
                delete(share_links).where(
                    share_links.c.made_by == person_name(person),
                    share_links.c.job.in_(shared.where(accounts.c.number == account)),
                )
            )
        if "manage" not in scopes:
            connection.execute(
                delete(invites).where(invites.c.invited_by == person, invites.c.account == account)
            )

    def _invites(self, connection: Connection, identity: Identity) -> tuple[wire.Invite, ...]:
        query = (
            select(invites, people.c.email.label("inviter"))
            .join(people, people.c.id == invites.c.invited_by)
            .where(invites.c.account == identity.account, invites.c.expires_at > int(self._clock()))
            .order_by(invites.c.created_at.desc(), invites.c.id)
        )
        return tuple(
            wire.Invite(
                id=row["id"],
                email=row["email"],
                role=row["role"],
                invited_by=row["inviter"],
                created_at=row["created_at"],
                expires_at=row["expires_at"],
            )
            for row in connection.execute(query).mappings()
        )


def _of(statement: Any, account: int, person: str) -> Any:
    return statement.where(members.c.account == account, members.c.person == person)


def _members(connection: Connection, account: int) -> tuple[wire.Member, ...]:
    query = (
        select(members, people.c.email)
        .join(people, people.c.id == members.c.person)
        .where(members.c.account == account)
        .order_by(members.c.since, people.c.email)
    )
    return tuple(_shown(row) for row in connection.execute(query).mappings())


def _member(connection: Connection, account: int, person: str) -> wire.Member:
    for each in _members(connection, account):
        if each.id == person:
            return each
    raise NotFound("there is no such member")


def _shown(row: RowMapping) -> wire.Member:
    return wire.Member(id=row["person"], email=row["email"], role=row["role"], since=row["since"])


def _require_owner(connection: Connection, account: int) -> None:
    owners = select(func.count()).where(members.c.account == account, members.c.role == "owner")
    if connection.execute(owners).scalar_one() == 0:
        raise Conflict(
            "an account needs an owner", code="last-owner", hint="make another member an owner first"
        )
