"""Errors as RFC 9457 problems: ours, those of requests that do not parse, unknown routes, and faults of ours
that have no class, of which only a number to quote leaves the service."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketplace.shares import OverShare
from marketplace.uploads import OffsetMismatch
from prixfixe.errors import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    PrixfixeError,
    QuoteExpired,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from prixfixe.protocol.uploads import OFFSET

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger("prixfixe.api")

# What a route may answer, for the API's description: an error of each status.
PROBLEMS: Final[dict[int, PrixfixeError]] = {
    error.status: error
    for error in (
        InvalidInput("units: Input should be greater than 0", code="invalid-request", field="units"),
        TooLarge("the request's body has more than 1048576 bytes", hint="files go to PUT /v1/blobs/{sha256}"),
        InsufficientFunds("the account holds $1.00 and the price is $4.00"),
        QuoteExpired("the quote's time is over", hint="ask for a new quote"),
        NotFound("there is no such thing of yours"),
        Conflict("it is in a state that does not allow this"),
        Unauthorized("the call needs a session", hint="send Authorization: Bearer TOKEN"),
        Forbidden("this needs the scope manage", code="scope-missing"),
        Unavailable("the chain does not answer", code="chain-unavailable"),
        StorageFull("the service has no room for it"),
        TooManyRequests("no quotes are left in this minute", retry_after=2),
        PrixfixeError("the service failed; its log says more under 5f2c9e", code="internal", retryable=True),
    )
} | {400: PrixfixeError("There was an error parsing the body", code="http-error", fault="customer")}


def problem_example(status: int) -> dict[str, Any]:
    """A problem as a route answers it."""
    found = PROBLEMS[status].to_problem()
    if status == 400:
        found |= {"type": "urn:prixfixe:problem:http-error", "title": "Bad request", "status": 400}
    return found


def problem_response(error: PrixfixeError) -> Response:
    """The answer that tells of an error."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after if isinstance(error, TooManyRequests) else 1)
    if isinstance(error, OverShare) and error.left is not None:
        headers |= error.left.headers()
    if isinstance(error, OffsetMismatch):
        headers[OFFSET] = str(error.values["expected_offset"])
    body = json.dumps(error.to_problem(), ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status_code=error.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of a route with a problem."""
    app.add_exception_handler(PrixfixeError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, unknown)


def log_fault(request: Request, error: PrixfixeError) -> None:
    """What the operator should know of an error: that it is the service's own."""
    if error.status >= 500 and not isinstance(error, Unavailable):
        log.error("%s %s: %s", request.method, _logged(request.url.path), error, exc_info=error)


def _logged(path: str) -> str:
    """A path without what opens the files of a shared link: who reads the log may not have them."""
    return re.sub(r"^(/shared/)[^/]+", r"\1…", path)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, PrixfixeError)
    log_fault(request, error)
    return problem_response(error)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(malformed(request, error))


def malformed(request: Request, error: RequestValidationError) -> InvalidInput:
    """Names the field. What was sent is not repeated: it may be a secret."""
    faults = [{"field": _field(each["loc"]), "message": str(each["msg"])} for each in error.errors()[:10]]
    first = faults[0] if faults else {"field": "request", "message": "is not valid"}
    return InvalidInput(
        f"{first['field']}: {first['message']}",
        code="invalid-request",
        hint=f"see the API's description of {request.method} {request.url.path}",
        field=first["field"],
        faults=faults,
    )


def _field(location: Sequence[Any]) -> str:
    """`body.purchase.price` as `purchase.price`; a query or path parameter by its name."""
    parts = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(parts) or "body"


async def unknown(request: Request, error: Exception) -> Response:
    """What no route answers."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    told: Mapping[int, tuple[str, str]] = {
        404: ("unknown-route", f"there is nothing at {path}"),
        405: ("method-not-allowed", f"{request.method} is not possible at {path}"),
    }
    code, detail = told.get(error.status_code, ("http-error", str(error.detail)))
    answer = PrixfixeError(detail, code=code, fault="customer", hint="see /openapi.json").to_problem()
    answer |= {
        "type": f"urn:prixfixe:problem:{code}",
        "title": str(error.detail),
        "status": error.status_code,
    }
    return Response(
        json.dumps(answer), status_code=error.status_code, media_type=MEDIA_TYPE, headers=error.headers
    )


class Faults:
    """Around everything: what nobody caught is logged under a number, and only the number is told."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            number = secrets.token_hex(6)
            log.exception("fault %s at %s %s", number, scope["method"], _logged(scope["path"]))
            if begun:
                raise  # the connection is cut, so that nobody takes half an answer for a whole one
            error = PrixfixeError(
                f"the service failed; its log says more under {number}",
                code="internal",
                hint="try again; if it stays, tell the operator this number",
                retryable=True,
                instance_id=number,
            )
            await problem_response(error)(scope, receive, send)
