"""Pages of a managed account: signing up and in, balance, jobs. What they do is what `/v1/account` and
`/v1/jobs` do; forms bring the session's CSRF token in the field `csrf`."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from marketplace.accounts.people import Session
from marketplace.api.access import JobId, ServicesDep
from marketplace.api.accounts import count_passwords
from marketplace.api.managed import COOKIE, forget_session, keep_session, require_csrf, require_managed
from marketplace.api.pages import Page, form_of, inside, page
from marketplace.services import Services
from prixfixe.errors import Forbidden, InvalidInput, PrixfixeError, Unauthorized
from prixfixe.protocol import accounts as wire

router = APIRouter(include_in_schema=False, route_class=Page)

_JOBS: Final = 50


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of this service sent."""
    # Where there is no session yet, a form of another site could sign somebody in as somebody else.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("the form was sent by another site", code="other-site", hint="open the page here")
    return await form_of(request)


Form = Annotated[dict[str, str], Depends(_form)]


def _visitor(request: Request, services: ServicesDep) -> Session | None:
    """Who is signed in at this browser."""
    managed = require_managed(services)
    token = request.cookies.get(COOKIE)
    if token is None:
        return None
    try:
        return managed.people.session(token)
    except Unauthorized:
        return None


Visiting = Annotated[Session | None, Depends(_visitor)]


def _to_sign_in(request: Request) -> Response:
    return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", status_code=303)


def _checked(visitor: Session | None, form: dict[str, str]) -> Session:
    """Who sent a form; Unauthorized and Forbidden as the API says them."""
    if visitor is None:
        raise Unauthorized("you are not signed in", hint="sign in again", code="session-expired")
    require_csrf(visitor.token, form.get("csrf"))
    return visitor


@router.get("/sign-up")
def sign_up_page(request: Request, services: ServicesDep) -> Response:
    """Where an account is opened, and what that means."""
    require_managed(services)
    return page(request, "sign_up.html", given={})


@router.post("/sign-up")
async def sign_up(request: Request, services: ServicesDep, form: Form) -> Response:
    """Open an account and go to it."""
    managed = require_managed(services)

    def opened(answer: Response) -> Session:
        body = _parsed(wire.SignUp, form, "email", "password", "name", "withdraw_to")
        count_passwords(services, body.email, request, answer)
        return managed.people.sign_up(body)

    return await _entered(request, services, form, "sign_up.html", opened, "/account")


@router.get("/sign-in")
def sign_in_page(request: Request, services: ServicesDep, next: str = "/account") -> Response:
    """Where people with an account come in."""
    require_managed(services)
    return page(request, "sign_in.html", given={}, next=inside(next))


@router.post("/sign-in")
async def sign_in(request: Request, services: ServicesDep, form: Form) -> Response:
    """Come in, and go on to where one wanted to be."""
    managed = require_managed(services)

    def entered(answer: Response) -> Session:
        body = _parsed(wire.SignIn, form, "email", "password")
        count_passwords(services, body.email, request, answer)
        return managed.people.sign_in(body, old=request.cookies.get(COOKIE))

    place = inside(form.get("next", "/account"))
    return await _entered(request, services, form, "sign_in.html", entered, place)


async def _entered(
    request: Request, services: Services, form: dict[str, str], template: str, enter: Any, place: str
) -> Response:
    """A session in the browser and on to `place`, or the form again with what is wrong, without the
    password."""
    answer = RedirectResponse(place, status_code=303)
    try:
        session = await run_in_threadpool(enter, answer)
    except PrixfixeError as error:
        given = {name: value for name, value in form.items() if name != "password"}
        return page(request, template, error.status, given=given, next=place, fault=error)
    keep_session(services, answer, session)
    return answer


def _parsed(kind: Any, form: dict[str, str], *names: str) -> Any:
    """The message that a form makes; an empty field counts as left out. InvalidInput names the field."""
    try:
        return kind.model_validate({name: form[name] for name in names if form.get(name)})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{first['loc'][-1]}: {first['msg']}", code="invalid-request") from None


@router.post("/sign-out")
def sign_out(services: ServicesDep, visitor: Visiting, form: Form) -> Response:
    """Leave; who left already is out too."""
    answer = RedirectResponse("/", status_code=303)
    if visitor is not None:
        require_managed(services).people.sign_out(_checked(visitor, form).token)
    forget_session(services, answer)
    return answer


@router.get("/account")
def account(
    request: Request, services: ServicesDep, visitor: Visiting, cursor: str | None = None
) -> Response:
    """Balance, limits and jobs."""
    if visitor is None:
        return _to_sign_in(request)
    found = require_managed(services).balances.account(visitor.identity)
    jobs, following = services.jobs.page(visitor.identity.address, cursor, _JOBS)
    return page(request, "account.html", visitor=visitor, account=found, jobs=jobs, next=following)


@router.get("/account/jobs/{job}")
def job_page(request: Request, services: ServicesDep, visitor: Visiting, job: JobId) -> Response:
    """One job: how far it is, its files, its receipt. It follows what happens."""
    if visitor is None:
        return _to_sign_in(request)
    found = services.jobs.get(job, visitor.identity.require("read").address)
    return page(request, "job.html", visitor=visitor, job=found)


@router.post("/account/jobs/{job}/cancel")
def cancel(services: ServicesDep, visitor: Visiting, form: Form, job: JobId) -> Response:
    """Take back what no worker has started."""
    services.jobs.cancel(job, _checked(visitor, form).identity.require("order").address)
    return RedirectResponse(f"/account/jobs/{job}", status_code=303)
