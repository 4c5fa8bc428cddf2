"""Who sits at the browser that asks for a page of an account, and the forms that it sends."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.routing import APIRouter
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from marketplace.accounts.people import Session
from marketplace.api.access import ServicesDep
from marketplace.api.managed import COOKIE, require_csrf, require_managed
from marketplace.api.pages import Page, form_of, page
from marketplace.services import Services
from prixfixe.errors import Forbidden, InvalidInput, PrixfixeError, Unauthorized, Unavailable
from prixfixe.protocol.accounts import channel_of
from prixfixe.protocol.money import Money


class SignInFirst(Exception):
    """Nobody is signed in here: the page is one of an account."""


class AccountPage(Page):
    """Sends who is not signed in to where that is done, and back."""

    def get_route_handler(self) -> Any:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except SignInFirst:
                return to_sign_in(request)

        return handle


def account_router() -> APIRouter:
    """For pages of an account."""
    return APIRouter(include_in_schema=False, route_class=AccountPage)


def to_sign_in(request: Request) -> Response:
    return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", status_code=303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of this service sent."""
    # Where there is no session yet, a form of another site could sign somebody in as somebody else.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("the form was sent by another site", code="other-site", hint="open the page here")
    return await form_of(request)


Form = Annotated[dict[str, str], Depends(_form)]


def visitor_of(request: Request, services: ServicesDep) -> Session | None:
    """Who is signed in at this browser."""
    managed = require_managed(services)
    token = request.cookies.get(COOKIE)
    if token is None:
        return None
    try:
        return managed.people.session(token)
    except Unauthorized:
        return None


Visiting = Annotated[Session | None, Depends(visitor_of)]


def _reader(visitor: Visiting) -> Session:
    if visitor is None:
        raise SignInFirst
    visitor.identity.require("read")
    return visitor


# Who looks at a page of an account; others are asked to sign in.
Reading = Annotated[Session, Depends(_reader)]


def checked(visitor: Session | None, form: dict[str, str]) -> Session:
    """Who sent a form; Unauthorized and Forbidden as the API says them."""
    if visitor is None:
        raise Unauthorized("you are not signed in", hint="sign in again", code="session-expired")
    require_csrf(visitor.token, form.get("csrf"))
    return visitor


def _sender(visitor: Visiting, form: Form) -> Session:
    return checked(visitor, form)


# Who sent the form of a page of an account, with this session's token.
Sending = Annotated[Session, Depends(_sender)]


def sign_up_values(services: Services, channel: str = "", next: str = "/account") -> dict[str, Any]:
    """Of the form with which an account is opened. channel: as a link named it, left out when no account can
    have it."""
    return {
        "given": {"channel": channel_of(channel)},
        "next": next,
        "play": Money(services.settings.play_money_units),
    }


def parsed(kind: Any, form: dict[str, str], *names: str) -> Any:
    """The message that a form makes; an empty field counts as left out. InvalidInput names the field."""
    return validated(kind, {name: form[name] for name in names if form.get(name)})


def validated(kind: Any, values: dict[str, Any]) -> Any:
    """The message of these values. InvalidInput names the field, and repeats nothing of what was given."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][-1] if first["loc"] else "form"
        raise InvalidInput(f"{place}: {first['msg']}", code="invalid-request") from None


def account_page(
    request: Request,
    services: Services,
    visitor: Session,
    template: str,
    fault: PrixfixeError | None = None,
    **values: Any,
) -> Response:
    """A page of the visitor's account, with a word when little is left to spend. fault: what was wrong with
    the form that it answers."""
    status = 200 if fault is None else fault.status
    low = _is_low(services, visitor)
    return page(request, template, status, visitor=visitor, low=low, fault=fault, **values)


def _is_low(services: Services, visitor: Session) -> bool:
    """False while the chain does not tell: the page itself may need nothing of it."""
    try:
        return require_managed(services).balances.of(visitor.identity).low
    except Unavailable:
        return False


def gone_to(place: str) -> Response:
    """After a form was done: a page that can be loaded anew without sending it again."""
    return RedirectResponse(place, status_code=303)
