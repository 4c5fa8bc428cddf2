"""Links to a job's files: made and taken back on its page, opened at `/shared/TOKEN` by whoever has one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from marketplace.api.access import JobId, ServicesDep
from marketplace.api.account_pages import page_of_job
from marketplace.api.blobs import blob_response
from marketplace.api.managed import is_loopback
from marketplace.api.pages import Page, page
from marketplace.api.shares import share_of_address
from marketplace.api.visitors import Form, Sending, gone_to
from marketplace.services import Services
from prixfixe.errors import InvalidInput

router = APIRouter(include_in_schema=False, route_class=Page)

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{20,100}$")]


@router.post("/account/jobs/{job}/share")
def share(request: Request, services: ServicesDep, visitor: Sending, form: Form, job: JobId) -> Response:
    """A new link, shown this once."""
    who = visitor.identity.require("order")
    token = services.share_links.make(who.address, job, days_of(form), who.name)
    return page_of_job(request, services, visitor, job, link_to(request, services, token))


def days_of(form: dict[str, str]) -> int:
    """For how many days a form wants a link to be good."""
    days = form.get("days", "")
    if not (days.isascii() and days.isdigit()):
        raise InvalidInput("say for how many days the link is good", code="invalid-request")
    return int(days[:4])


def link_to(request: Request, services: Services, token: str) -> str:
    """At this service as the browser reached it, if that is one of its own names; in clear only where nobody
    listens, since who has the link has the files, and a proxy may end the TLS."""
    domains = services.settings.domains
    asked = request.url.netloc
    named = asked if asked in domains else domains[0]
    return f"{'http' if is_loopback(named) else 'https'}://{named}/shared/{token}"


@router.post("/account/jobs/{job}/unshare")
def unshare(services: ServicesDep, visitor: Sending, job: JobId) -> Response:
    """End every link of the job."""
    services.share_links.take_back(visitor.identity.require("order").address, job)
    return gone_to(f"/account/jobs/{job}")


@router.get("/shared/{token}", dependencies=[share_of_address("quotes")])
def shared(request: Request, services: ServicesDep, token: Token) -> Response:
    """The job's state and files, to be read."""
    opened = services.share_links.open(token)
    found = services.jobs.get(opened.job, opened.customer)
    return page(request, "shared.html", job=found, until=opened.until, token=token)


@router.get("/shared/{token}/outputs/{path:path}")
def shared_file(request: Request, services: ServicesDep, token: Token, path: str) -> Response:
    """One file of it."""
    opened = services.share_links.open(token)
    found = services.jobs.output(opened.job, path, opened.customer)
    return blob_response(request, found.blob, found.name)
