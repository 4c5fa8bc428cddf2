"""Pages of a managed account: signing up and in, balance, jobs. What they do is what `/v1/account` and
`/v1/jobs` do; forms bring the session's CSRF token in the field `csrf`."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from marketplace.accounts.people import Session
from marketplace.api.access import JobId, ServicesDep
from marketplace.api.accounts import count_passwords
from marketplace.api.managed import COOKIE, browser_of, forget_session, keep_session, require_managed
from marketplace.api.pages import inside, job_values, page
from marketplace.api.visitors import (
    Form,
    Reading,
    Sending,
    Visiting,
    account_page,
    account_router,
    checked,
    gone_to,
    parsed,
    sign_up_values,
)
from marketplace.services import Services
from prixfixe.errors import PrixfixeError
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.wire import JobState

router = account_router()

_NEWEST: Final = 10  # jobs on the account's first page; all are on the next
_PAGE: Final = 50
_STATES: Final = get_args(JobState)


@router.get("/sign-up")
def sign_up_page(
    request: Request, services: ServicesDep, next: str = "/account", channel: str = ""
) -> Response:
    """Where an account is opened, and what that means. next: where it leads. channel: by which link one
    came."""
    require_managed(services)
    return page(request, "sign_up.html", **sign_up_values(services, channel, inside(next)))


@router.post("/sign-up")
async def sign_up(request: Request, services: ServicesDep, form: Form) -> Response:
    """Open an account, and go on to where one wanted to be."""
    managed = require_managed(services)

    def opened(answer: Response) -> Session:
        body = parsed(wire.SignUp, form, "email", "password", "name", "withdraw_to", "channel")
        count_passwords(services, body.email, request, answer)
        return managed.people.sign_up(body, browser_of(request))

    return await _entered(request, services, form, "sign_up.html", opened)


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
        body = parsed(wire.SignIn, form, "email", "password")
        count_passwords(services, body.email, request, answer)
        return managed.people.sign_in(body, request.cookies.get(COOKIE), browser_of(request))

    return await _entered(request, services, form, "sign_in.html", entered)


async def _entered(
    request: Request, services: Services, form: dict[str, str], template: str, enter: Any
) -> Response:
    """A session in the browser and on to where the form says, or the form again with what is wrong, without
    the password."""
    place = inside(form.get("next", "/account"))
    answer = RedirectResponse(place, status_code=303)
    try:
        session = await run_in_threadpool(enter, answer)
    except PrixfixeError as error:
        given = {name: value for name, value in form.items() if name != "password"}
        values = {**sign_up_values(services, next=place), "given": given}
        return page(request, template, error.status, **values, fault=error)
    keep_session(services, answer, session)
    return answer


@router.post("/sign-out")
def sign_out(services: ServicesDep, visitor: Visiting, form: Form) -> Response:
    """Leave; who left already is out too."""
    answer = RedirectResponse("/", status_code=303)
    if visitor is not None:
        require_managed(services).people.sign_out(checked(visitor, form).token)
    forget_session(services, answer)
    return answer


@router.get("/account")
def account(request: Request, services: ServicesDep, visitor: Reading) -> Response:
    """Balance, limits and the newest jobs."""
    found = require_managed(services).balances.account(visitor.identity)
    jobs, following = services.jobs.page(visitor.identity.address, None, _NEWEST)
    return account_page(request, services, visitor, "account.html", account=found, jobs=jobs, next=following)


@router.post("/account/switch")
def switch(services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """To another account of the same person."""
    body = parsed(wire.Switch, form, "account")
    answer = gone_to("/account")
    keep_session(services, answer, require_managed(services).people.switch(visitor.token, body.account))
    return answer


@router.get("/account/password")
def password_page(
    request: Request, services: ServicesDep, visitor: Reading, changed: bool = False
) -> Response:
    """Where another password is chosen."""
    return account_page(request, services, visitor, "password.html", changed=changed)


@router.post("/account/password")
def change_password(request: Request, services: ServicesDep, visitor: Sending, form: Form) -> Response:
    """Another password: every other session of the person ends."""
    answer = gone_to("/account/password?changed=yes")
    try:
        count_passwords(services, visitor.signed_in.email, request, answer)
        body = parsed(wire.ChangePassword, form, "old", "new")
        session = require_managed(services).people.change_password(visitor.token, body)
    except PrixfixeError as error:
        return account_page(request, services, visitor, "password.html", error, changed=False)
    keep_session(services, answer, session)
    return answer


@router.get("/account/jobs")
def jobs_page(
    request: Request,
    services: ServicesDep,
    visitor: Reading,
    cursor: str | None = None,
    state: JobState | Literal[""] = "",
) -> Response:
    """All jobs, newest first, by pages; those of one state where one is chosen."""
    found, following = services.jobs.page(visitor.identity.address, cursor, _PAGE, state or None)
    values: dict[str, Any] = {
        "jobs": found,
        "next": following,
        "cursor": cursor,
        "state": state,
        "states": _STATES,
    }
    return account_page(request, services, visitor, "jobs.html", **values)


@router.get("/account/jobs/{job}")
def job_page(request: Request, services: ServicesDep, visitor: Reading, job: JobId) -> Response:
    """One job: how far it is, its files, its receipt. It follows what happens."""
    return page_of_job(request, services, visitor, job)


def page_of_job(
    request: Request, services: Services, visitor: Session, job: str, link: str | None = None
) -> Response:
    """As `job_values` draws it."""
    values = job_values(services, visitor.identity.address, job, link)
    return account_page(request, services, visitor, "job.html", **values)


@router.post("/account/jobs/{job}/cancel")
def cancel(services: ServicesDep, visitor: Sending, job: JobId) -> Response:
    """Take back what no worker has started."""
    services.jobs.cancel(job, visitor.identity.require("order").address)
    return gone_to(f"/account/jobs/{job}")
