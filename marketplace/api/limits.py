"""No request makes the service hold more than a bounded body in memory. Files are streamed and have their
own limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketplace.api.problems import problem_response
from prixfixe.errors import InvalidInput, TooLarge
from prixfixe.protocol.canonical import require_storable_json

_STREAMED: Final = ("/v1/blobs/", "/v1/uploads/")
# Its body is bounded by the tasks of its lot, which only the route knows.
_REPORT: Final = ("/v1/attempts/", "/result")
_M = TypeVar("_M", bound=BaseModel)


class BodyLimit:
    """Refuses a JSON body above `max_bytes`, whether it says its length or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _has_own_limit(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" in headers:
            await self._buffered(scope, receive, send)
            return
        if length is not None and not length.isdigit():
            await problem_response(InvalidInput("Content-Length is no number"))(scope, receive, send)
            return
        if length is not None and int(length) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        if length is None or int(length) == 0:
            await self._app(scope, receive, send)
            return
        await self._buffered(scope, receive, send)

    async def _buffered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The body is read first, up to the limit, and refused when no table could hold what it says."""
        messages: list[Message] = []
        size = 0
        while not messages or messages[-1].get("more_body", False):
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
        try:
            require_storable_json(b"".join(message.get("body", b"") for message in messages))
        except InvalidInput as error:
            error.code = "invalid-request"
            await problem_response(error)(scope, receive, send)
            return
        waiting = iter(messages)

        async def replay() -> Message:
            return next(waiting, None) or await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await problem_response(_too_large(self._max_bytes))(scope, receive, send)


async def bounded_body(request: Request, most: int) -> bytes:
    """The body of a request that has a limit of its own; TooLarge, and no more of it read, beyond `most`
    bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def parse_body(model: type[_M], body: bytes) -> _M:
    """The model in such a body, refused as any other request that does not parse."""
    try:
        require_storable_json(body)
    except InvalidInput as error:
        error.code = "invalid-request"
        raise
    return _faults_told(model.model_validate_json, body)


def parsed(model: type[_M], document: Any) -> _M:
    """As `parse_body`, of a part of a body that was read as JSON."""
    return _faults_told(model.model_validate, document)


def _faults_told(read: Callable[[Any], _M], given: Any) -> _M:
    try:
        return read(given)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()[:10]]
        raise RequestValidationError(faults) from error


def _has_own_limit(path: str) -> bool:
    before, after = _REPORT
    return path.startswith(_STREAMED) or (path.startswith(before) and path.endswith(after))


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"the request's body has more than {most} bytes", hint="files go to PUT /v1/blobs/{sha256}"
    )
