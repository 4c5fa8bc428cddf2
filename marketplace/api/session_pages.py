"""The page of a person's sessions: which are open, and ending them."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import Response

from marketplace.api.access import ServicesDep
from marketplace.api.managed import forget_session, require_managed
from marketplace.api.visitors import Reading, Sending, account_page, account_router, gone_to

router = account_router()

_SESSIONS: Final = "/account/sessions"


@router.get(_SESSIONS)
def sessions(request: Request, services: ServicesDep, visitor: Reading) -> Response:
    """Where this person is signed in."""
    found = require_managed(services).sessions.listed(visitor)
    return account_page(request, services, visitor, "sessions.html", sessions=found)


@router.post(f"{_SESSIONS}/end-others")
def end_others(services: ServicesDep, visitor: Sending) -> Response:
    """End all but this one."""
    require_managed(services).sessions.end_others(visitor)
    return gone_to(_SESSIONS)


@router.post(f"{_SESSIONS}/{{session}}/end")
def end(services: ServicesDep, visitor: Sending, session: str) -> Response:
    """End one; who ends the own is signed out."""
    own = require_managed(services).sessions.end(visitor, session)
    answer = gone_to("/" if own else _SESSIONS)
    if own:
        forget_session(services, answer)
    return answer
