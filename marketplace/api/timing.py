"""Around every request: how long it took, by route, and the ids of its path bound to what it logs."""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prixfixe.logs import about
from prixfixe.metrics import Histogram

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_VERSION: Final = "/v1"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_NAMED: Final = {"jobs": "job", "attempts": "attempt", "cases": "deal"}


def request_times() -> Histogram:
    return Histogram("request_seconds", "Requests by route, until the answer's last byte.", _BOUNDS)


class Timing:
    """times: of `request_times`. A route is named by its template, and a method that HTTP does not know is
    `other`, so that nothing that a stranger makes up becomes a label: each is kept for ever."""

    def __init__(self, app: ASGIApp, times: Histogram) -> None:
        self._app = app
        self._times = times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with about(**_ids(scope["path"])):
                await self._app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._times.observe(seconds, method=method, route=_route(scope), status=str(status))


def _route(scope: Scope) -> str:
    """The template of the path, whichever of its routers names it."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "unknown"
    in_version = scope["path"].startswith(_VERSION) and not path.startswith(_VERSION)
    return f"{_VERSION}{path}" if in_version else str(path)


def _ids(path: str) -> dict[str, str]:
    """`/v1/jobs/ID/...` is about that job; likewise an attempt and a case."""
    parts = path.split("/", 4)  # "", "v1", "jobs", ID
    if len(parts) > 3 and parts[3] not in ("", "batch") and (name := _NAMED.get(parts[2])) is not None:
        return {name: parts[3][:80]}
    return {}
