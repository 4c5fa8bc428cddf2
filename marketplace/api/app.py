"""The app: routes of version 1 over a `Services` value."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Response
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
    openapi,
    pages,
    problems,
    purse,
    purse_pages,
    quotes,
    run_pages,
    session_pages,
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
from marketplace.api.access import ServicesDep
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
    session_pages,
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
        openapi_url=None,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    problems.install(app)
    # Where other versions had it, too.
    for path in ("/openapi.json", "/v1/openapi.json"):
        app.add_api_route(path, _description, include_in_schema=False)
    pages.install(app)
    app.router.routes.extend(_routes())
    app.add_middleware(BodyLimit, max_bytes=services.settings.max_body_bytes)
    app.add_middleware(problems.Faults)
    app.state.times = request_times()
    app.add_middleware(Timing, times=app.state.times)
    return app


def _description(services: ServicesDep) -> Response:
    """The API's description."""
    text = json.dumps(api_description(services.market.version), ensure_ascii=False)
    return Response(text, media_type="application/json")


@cache
def api_description(version: str) -> dict[str, Any]:
    """What /openapi.json tells of this version; not to be changed by its reader."""
    return openapi.description([module.router for module in _ROUTERS], version)


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
