"""Who asks with an API key or a signed-in browser: what routes of managed accounts depend on.

A browser's session is a cookie that no script reads. What changes something needs the session's CSRF token
beside it, in the header `X-CSRF-Token`: another site can make a browser send the cookie, and cannot read the
token. An `Authorization` header wins over the cookie, and needs no such token: no browser sends it by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyCookie, HTTPBearer

from marketplace.accounts.browsers import browser_name
from marketplace.accounts.identity import Identity
from marketplace.accounts.keys import PREFIX
from marketplace.accounts.managed import Managed
from marketplace.accounts.people import Session, is_csrf
from marketplace.services import Services
from prixfixe.errors import Forbidden, NotFound, Unauthorized
from prixfixe.protocol.accounts import Scope

COOKIE: Final = "prixfixe_session"
CSRF_HEADER: Final = "x-csrf-token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# They refuse nobody: they tell in the API's description what a call takes.
_BEARER: Final = HTTPBearer(auto_error=False, description="A wallet session's token, or an API key.")
_COOKIE: Final = APIKeyCookie(name=COOKIE, auto_error=False, description="A signed-in browser.")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


async def _credentials(
    bearer: Annotated[Any, Depends(_BEARER)], cookie: Annotated[Any, Depends(_COOKIE)]
) -> None:
    """Nothing: what a request brings is read where it is needed."""


Credentials = Annotated[None, Depends(_credentials)]


async def managed_of(request: Request) -> Managed:
    """NotFound where the operator keeps no accounts for others. Async, so that it costs no hop to a
    thread."""
    services: Services = request.app.state.services
    return require_managed(services)


ManagedDep = Annotated[Managed, Depends(managed_of)]


def require_managed(services: Services) -> Managed:
    if services.managed is None:
        raise NotFound(
            "this service keeps no accounts for others",
            code="no-managed-accounts",
            hint="sign your orders with a key of your own",
        )
    return services.managed


def bearer_of(request: Request) -> str | None:
    """The token of an Authorization header; None without one. Unauthorized for any other header."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("the Authorization header is not `Bearer TOKEN`", code="bad-authorization")
    return token.strip()


def identity_of(request: Request, services: Services) -> Identity | None:
    """Who asks at a managed account; None for who brings neither an API key nor a session's cookie.

    Unauthorized for a key or a session that is over, Forbidden without the CSRF token where one is needed.
    """
    if services.managed is None:
        return None
    token = bearer_of(request)
    if token is not None:
        return services.managed.keys.identity(token) if token.startswith(PREFIX) else None
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        return None
    identity = services.managed.people.identity(cookie)
    _require_csrf_header(request, cookie)
    return identity


def _require_csrf_header(request: Request, cookie: str) -> None:
    """Of what may change something."""
    if request.method not in SAFE_METHODS:
        require_csrf(cookie, request.headers.get(CSRF_HEADER))


def require_csrf(cookie: str, given: str | None) -> None:
    """For pages: `given` is the form's field `csrf`. Forbidden when it is not this session's."""
    if given is None or not is_csrf(cookie, given):
        raise Forbidden(
            "the request does not show that it comes from a page of this service",
            code="bad-csrf-token",
            hint="send the session's csrf token as X-CSRF-Token; GET /v1/account/session tells it",
        )


def allowed(scope: Scope) -> Callable[..., Identity]:
    """A dependency: who asks, with this scope."""

    def asker(request: Request, managed: ManagedDep, _: Credentials) -> Identity:
        found = identity_of(request, request.app.state.services)
        if found is None:
            raise Unauthorized(
                "the call needs an API key or a session",
                hint="sign in (POST /v1/account/session), or send Authorization: Bearer KEY",
            )
        return found.require(scope)

    return asker


Reader = Annotated[Identity, Depends(allowed("read"))]
Orderer = Annotated[Identity, Depends(allowed("order"))]
Manager = Annotated[Identity, Depends(allowed("manage"))]


def session_of(request: Request, managed: ManagedDep) -> Session:
    """The cookie's session, for what only a person at a browser does."""
    cookie = request.cookies.get(COOKIE)
    if cookie is None or request.headers.get("authorization") is not None:
        raise Unauthorized("this needs a session", hint="sign in (POST /v1/account/session)")
    session = managed.people.session(cookie)
    _require_csrf_header(request, cookie)
    return session


SessionDep = Annotated[Session, Depends(session_of)]


def browser_of(request: Request) -> str:
    """As the list of sessions shows it."""
    return browser_name(request.headers.get("user-agent", ""))


def keep_session(services: Services, response: Response, session: Session) -> None:
    """Give the browser its cookie. It leaves with `https` only, except where there is no network between."""
    response.set_cookie(
        COOKIE, session.token, max_age=services.settings.session_seconds, **_attributes(services)
    )
    response.headers["Cache-Control"] = "no-store"


def forget_session(services: Services, response: Response) -> None:
    response.delete_cookie(COOKIE, **_attributes(services))


def _attributes(services: Services) -> dict[str, Any]:
    secure = not is_loopback(services.settings.domain)
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": secure}


def is_loopback(domain: str) -> bool:
    """Whether a name, with its port or without, is this machine's own."""
    return (domain.rpartition(":")[0] or domain) in _LOOPBACK
