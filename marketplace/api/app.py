"""The app: routes of version 1 over a `Services` value."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from marketplace.api import (
    account_pages,
    accounts,
    batches,
    blobs,
    book,
    bundles,
    cases,
    certificates,
    desk,
    inspections,
    jobs,
    market,
    pages,
    problems,
    purse,
    purse_pages,
    quotes,
    run_pages,
    sessions,
    shared_pages,
    statement_pages,
    team_pages,
    trades,
    uploads,
    verification,
    wallet_pages,
    webhooks,
    workers,
)
from marketplace.api.limits import BodyLimit
from marketplace.api.timing import Timing, request_times
from marketplace.services import Services

_MARKET = (quotes, jobs, certificates, cases, trades, desk, batches, book, verification)
_ROUTERS = (
    *(market, sessions, accounts, purse, bundles, blobs, uploads, inspections),
    *_MARKET,
    webhooks,
    workers,
)
_PAGES = (
    pages,
    account_pages,
    team_pages,
    purse_pages,
    statement_pages,
    run_pages,
    shared_pages,
    wallet_pages,
)


def create_app(services: Services) -> FastAPI:
    """The ASGI application. It starts and stops nothing: its maker owns store, chain and duties, and calls
    `services.close_streams()` before it stops the server."""
    app = FastAPI(
        title="Prixfixe",
        version=services.market.version,
        description="Containers at a flat price that is known before it is paid.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    problems.install(app)
    pages.install(app)
    app.router.routes.extend(_routes())
    app.add_middleware(BodyLimit, max_bytes=services.settings.max_body_bytes)
    app.add_middleware(problems.Faults)
    app.state.times = request_times()
    app.add_middleware(Timing, times=app.state.times)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Every route, made once a process: working out what each of them takes costs more than most requests,
    and nothing of it depends on the services behind an app."""
    parent = APIRouter(redirect_slashes=False)
    for module in _ROUTERS:
        parent.include_router(module.router, prefix="/v1")
    for module in _PAGES:
        parent.include_router(module.router)
    return parent.routes
