"""No request makes the service hold more than a bounded body in memory. Files are streamed and have their
own limit."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketplace.api.problems import problem_response
from prixfixe.errors import InvalidInput, TooLarge
from prixfixe.protocol.canonical import require_storable_json

_STREAMED = ("/v1/blobs/", "/v1/uploads/")


class BodyLimit:
    """Refuses a JSON body above `max_bytes`, whether it says its length or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_STREAMED):
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
        error = TooLarge(
            f"the request's body has more than {self._max_bytes} bytes",
            hint="files go to PUT /v1/blobs/{sha256}",
        )
        await problem_response(error)(scope, receive, send)
