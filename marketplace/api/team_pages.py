"""Pages of a managed account's people and keys. What takes access away or gives it is asked again first."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from marketplace.accounts.people import Session
from marketplace.api.access import ServicesDep
from marketplace.api.managed import forget_session, keep_session, require_managed
from marketplace.api.shares import count_address
from marketplace.api.visitors import (
    Form,
    Reading,
    Sending,
    account_page,
    account_router,
    gone_to,
    parsed,
    validated,
)
from marketplace.services import Services
from prixfixe.errors import InvalidInput, NotFound, PrixfixeError
from prixfixe.protocol import accounts as wire

router = account_router()

_MEMBERS: Final = "/account/members"
_KEYS: Final = "/account/keys"


def _members_page(
    request: Request,
    services: Services,
    visitor: Session,
    fault: PrixfixeError | None = None,
    given: dict[str, str] | None = None,
    made: wire.NewInvite | None = None,
) -> Response:
    """made: an invite whose token is shown this once."""
    managed = require_managed(services)
    identity = visitor.identity
    values: dict[str, Any] = {
        "members": managed.teams.members(identity),
        "invites": managed.teams.invites(identity) if "manage" in identity.scopes else (),
        "given": given or {},
        "made": made,
    }
    return account_page(request, services, visitor, "members.html", fault, **values)


@router.get(_MEMBERS)
def members(request: Request, services: ServicesDep, visitor: Reading) -> Response:
    """Who may use the account, and who is invited."""
    return _members_page(request, services, visitor)


@router.post(_MEMBERS)
def invite(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """An invite; its token is in this answer and nowhere else."""
    identity = visitor.identity.require("manage")
    try:
        body = parsed(wire.InviteRequest, form, "email", "role")
        made = require_managed(services).teams.invite(identity, body)
    except PrixfixeError as error:
        return _members_page(request, services, visitor, error, form)
    return _members_page(request, services, visitor, made=made)


@router.post(f"{_MEMBERS}/{{person}}/role")
def change_role(
    request: Request, services: ServicesDep, visitor: Sending, form: Form, person: str
) -> Response:
    """Another role, once it was said twice."""
    identity = visitor.identity.require("manage")
    body = parsed(wire.RoleChange, form, "role")
    teams = require_managed(services).teams
    found = _member(teams.members(identity), person)
    if "sure" not in form:
        values = {"member": found, "role": body.role}
        return account_page(request, services, visitor, "role_sure.html", **values)
    try:
        teams.change(identity, person, body.role)
    except PrixfixeError as error:
        return _members_page(request, services, visitor, error)
    return gone_to(_MEMBERS)


@router.post(f"{_MEMBERS}/{{person}}/remove")
def remove(request: Request, services: ServicesDep, visitor: Sending, form: Form, person: str) -> Response:
    """No member any more, once it was said twice. Who leaves is signed out."""
    own = person == visitor.identity.person
    if not own:
        visitor.identity.require("manage")
    teams = require_managed(services).teams
    found = _member(teams.members(visitor.identity), person)
    if "sure" not in form:
        return account_page(request, services, visitor, "remove_sure.html", member=found, own=own)
    try:
        teams.remove(visitor.identity, person)
    except PrixfixeError as error:
        return _members_page(request, services, visitor, error)
    answer = gone_to("/sign-in" if own else _MEMBERS)
    if own:
        forget_session(services, answer)
    return answer


def _member(members: tuple[wire.Member, ...], person: str) -> wire.Member:
    for each in members:
        if each.id == person:
            return each
    raise NotFound("there is no such member")


@router.post("/account/invites/{invite}/end")
def take_invite_back(services: ServicesDep, visitor: Sending, invite: str) -> Response:
    """An invite ends; another can be made."""
    require_managed(services).teams.take_back(visitor.identity, invite)
    return gone_to(_MEMBERS)


@router.get("/account/invite")
def invite_page(request: Request, services: ServicesDep, visitor: Reading) -> Response:
    """Where who was invited enters the token."""
    return account_page(request, services, visitor, "invite.html")


@router.post("/account/invite")
def accept_invite(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """Become a member, and go to that account."""
    managed = require_managed(services)
    answer = gone_to("/account")
    try:
        count_address(services, "passwords", request, answer)
        body = parsed(wire.AcceptInvite, form, "token")
        address = managed.teams.accept(visitor.identity, body.token.strip())
    except PrixfixeError as error:
        return account_page(request, services, visitor, "invite.html", error)
    keep_session(services, answer, managed.people.switch(visitor.token, address))
    return answer


def _keys_page(
    request: Request,
    services: Services,
    visitor: Session,
    fault: PrixfixeError | None = None,
    given: dict[str, str] | None = None,
    made: wire.NewApiKey | None = None,
) -> Response:
    """made: a key that is shown this once."""
    keys = require_managed(services).keys
    values: dict[str, Any] = {
        "keys": keys.listed(visitor.identity),
        "now": keys.now(),
        "given": given or {},
        "made": made,
    }
    return account_page(request, services, visitor, "keys.html", fault, **values)


@router.get(_KEYS)
def keys(request: Request, services: ServicesDep, visitor: Reading) -> Response:
    """The account's API keys, and when each was used last."""
    return _keys_page(request, services, visitor)


@router.post(_KEYS)
def make_key(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """A new key; it is in this answer and nowhere else."""
    identity = visitor.identity.require("manage")
    try:
        made = require_managed(services).keys.make(identity, _key_request(form))
    except PrixfixeError as error:
        return _keys_page(request, services, visitor, error, form)
    return _keys_page(request, services, visitor, made=made)


def _key_request(form: dict[str, str]) -> wire.KeyRequest:
    days = form.get("days", "").strip()
    if not (days.isascii() and days.isdigit() and len(days) <= 5):
        raise InvalidInput("days: a whole number of days", code="invalid-request")
    scopes = ["read", *(scope for scope in ("order", "manage") if f"scope_{scope}" in form)]
    values = {"name": form.get("name", "").strip(), "scopes": scopes, "days": int(days)}
    request: wire.KeyRequest = validated(wire.KeyRequest, values)
    return request


@router.post(f"{_KEYS}/{{key}}/end")
def end_key(request: Request, services: ServicesDep, visitor: Sending, form: Form, key: str) -> Response:
    """End a key for good, once it was said twice."""
    keys = require_managed(services).keys
    found = next((each for each in keys.listed(visitor.identity) if each.id == key), None)
    if found is None:
        raise NotFound("there is no such key")
    if "sure" not in form:
        return account_page(request, services, visitor, "key_sure.html", key=found)
    keys.revoke(visitor.identity, key)
    return gone_to(_KEYS)
