"""`/v1/account`: managed accounts: people, their sessions, keys and teams."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response

from marketplace.api.access import ServicesDep
from marketplace.api.managed import (
    COOKIE,
    ManagedDep,
    Manager,
    Reader,
    SessionDep,
    browser_of,
    forget_session,
    keep_session,
)
from marketplace.api.shares import count_address
from marketplace.services import Services
from marketplace.tokens import digest_of
from prixfixe.errors import Unavailable
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.fields import Page

router = APIRouter(prefix="/account", tags=["account"])


@router.post("", status_code=201)
def sign_up(
    services: ServicesDep, managed: ManagedDep, body: wire.SignUp, request: Request, response: Response
) -> wire.Opened:
    """Open an account: its key is held by the operator, and its money leaves to one address only. The
    browser that asked is signed in."""
    count_passwords(services, body.email, request, response)
    session = managed.people.sign_up(body, browser_of(request))
    keep_session(services, response, session)
    standing = None
    if body.withdraw_to is not None:
        # The account is stored: while the chain is away it is handed over later.
        with suppress(Unavailable):
            standing = managed.withdrawals.standing(session.identity)
    return wire.Opened(signed_in=session.signed_in, standing=standing)


@router.post("/session")
def sign_in(
    services: ServicesDep, managed: ManagedDep, body: wire.SignIn, request: Request, response: Response
) -> wire.SignedIn:
    """A new session, whatever cookie the browser brought."""
    count_passwords(services, body.email, request, response)
    session = managed.people.sign_in(body, request.cookies.get(COOKIE), browser_of(request))
    keep_session(services, response, session)
    return session.signed_in


@router.get("/session")
def session(own: SessionDep, response: Response) -> wire.SignedIn:
    """Who is signed in, and the session's CSRF token."""
    response.headers["Cache-Control"] = "no-store"
    return own.signed_in


@router.put("/session")
def switch(
    services: ServicesDep, managed: ManagedDep, own: SessionDep, body: wire.Switch, response: Response
) -> wire.SignedIn:
    """A new session at another account of the same person."""
    session = managed.people.switch(own.token, body.account)
    keep_session(services, response, session)
    return session.signed_in


@router.delete("/session", status_code=204)
def sign_out(services: ServicesDep, managed: ManagedDep, own: SessionDep, response: Response) -> None:
    """End the session."""
    managed.people.sign_out(own.token)
    forget_session(services, response)


@router.get("/sessions")
def open_sessions(managed: ManagedDep, own: SessionDep) -> Page[wire.OpenSession]:
    """Where this person is signed in, at whichever account; the one that was used last first."""
    return Page(items=managed.sessions.listed(own))


@router.delete("/sessions", status_code=204)
def end_other_sessions(managed: ManagedDep, own: SessionDep) -> None:
    """End all of this person's sessions but the one that asks."""
    managed.sessions.end_others(own)


@router.delete("/sessions/{session}", status_code=204)
def end_session(
    services: ServicesDep, managed: ManagedDep, own: SessionDep, session: str, response: Response
) -> None:
    """End one of this person's sessions, at once."""
    if managed.sessions.end(own, session):
        forget_session(services, response)


@router.post("/password")
def change_password(
    services: ServicesDep,
    managed: ManagedDep,
    own: SessionDep,
    body: wire.ChangePassword,
    request: Request,
    response: Response,
) -> wire.SignedIn:
    """Another password. Every session of the person ends, and a new one begins here."""
    count_passwords(services, own.signed_in.email, request, response)
    session = managed.people.change_password(own.token, body)
    keep_session(services, response, session)
    return session.signed_in


@router.get("/keys")
def keys(managed: ManagedDep, identity: Manager) -> Page[wire.ApiKey]:
    """The account's API keys: never the keys themselves."""
    return Page(items=managed.keys.listed(identity))


@router.post("/keys", status_code=201)
def make_key(
    managed: ManagedDep, identity: Manager, body: wire.KeyRequest, response: Response
) -> wire.NewApiKey:
    """A new API key, shown this once."""
    response.headers["Cache-Control"] = "no-store"
    return managed.keys.make(identity, body)


@router.delete("/keys/{key}")
def revoke_key(managed: ManagedDep, identity: Manager, key: str) -> wire.ApiKey:
    """End a key for good."""
    return managed.keys.revoke(identity, key)


@router.get("/members")
def members(managed: ManagedDep, identity: Reader) -> Page[wire.Member]:
    """Who may use the account."""
    return Page(items=managed.teams.members(identity))


@router.put("/members/{person}")
def change_member(managed: ManagedDep, identity: Manager, person: str, body: wire.RoleChange) -> wire.Member:
    """Another role."""
    return managed.teams.change(identity, person, body.role)


@router.delete("/members/{person}", status_code=204)
def remove_member(managed: ManagedDep, identity: Reader, person: str) -> None:
    """No member any more: an owner removes anybody, anybody leaves."""
    managed.teams.remove(identity, person)


@router.get("/invites")
def invites(managed: ManagedDep, identity: Manager) -> Page[wire.Invite]:
    """Invites that nobody has used yet."""
    return Page(items=managed.teams.invites(identity))


@router.post("/invites", status_code=201)
def invite(
    managed: ManagedDep, identity: Manager, body: wire.InviteRequest, response: Response
) -> wire.NewInvite:
    """A word for the person with this e-mail address, shown this once, to be handed over."""
    response.headers["Cache-Control"] = "no-store"
    return managed.teams.invite(identity, body)


@router.delete("/invites/{invite}", status_code=204)
def take_invite_back(managed: ManagedDep, identity: Manager, invite: str) -> None:
    """An invite ends."""
    managed.teams.take_back(identity, invite)


@router.post("/invites/accept")
def accept_invite(
    services: ServicesDep,
    managed: ManagedDep,
    own: SessionDep,
    body: wire.AcceptInvite,
    request: Request,
    response: Response,
) -> wire.SignedIn:
    """Become a member, with a new session at that account."""
    count_address(services, "passwords", request, response)
    address = managed.teams.accept(own.identity, body.token)
    session = managed.people.switch(own.token, address)
    keep_session(services, response, session)
    return session.signed_in


def count_passwords(services: Services, email: str, request: Request, response: Response) -> None:
    """By the network address, and by the e-mail address whether there is such a person or not."""
    count_address(services, "passwords", request, response)
    services.shares.take("passwords", "person:" + digest_of(email.lower()))
