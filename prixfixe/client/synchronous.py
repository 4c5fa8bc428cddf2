"""`Client`: the market from ordinary, blocking Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from prixfixe.client.calls import (
    Answer,
    Call,
    Download,
    Follow,
    Operation,
    Part,
    Pause,
    Request,
    Upload,
)
from prixfixe.client.contexts import Context
from prixfixe.client.events import EventParser
from prixfixe.client.files import IncomingFile, body_of
from prixfixe.client.jobs import id_of
from prixfixe.client.setup import (
    EVENTS_READ_SECONDS,
    RECONNECT_SECONDS,
    SILENCE_SECONDS,
    event_headers,
    http_options,
    lost,
    make_operations,
    request_options,
)
from prixfixe.client.surface import Surface
from prixfixe.errors import Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol import wire

T = TypeVar("T")


class Client(Surface):
    """A customer of one market.

        with Client() as client:  # the current context and its key
            result = client.run("pivot", "sales.csv", parameters=..., out="results/")

    or step by step, with the price before the yes:

            quote = client.quote("pivot", parameters=..., inputs=["sales.csv"], units=1000)
            job = client.wait(client.buy(quote))
            client.download(job, "results/")

    context: a Context, the name of one, or None for the current one. signer: who signs; by default the
    context's key. api_key: of a managed account, for which the service signs; also in PRIXFIXE_API_KEY.
    Errors are those of `prixfixe.errors`."""

    def __init__(
        self,
        context: Context | str | None = None,
        *,
        signer: Signer | Callable[[], Signer] | None = None,
        api_key: str | None = None,
        keep_sessions: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.operations = make_operations(context, signer, keep_sessions=keep_sessions, api_key=api_key)
        self._http = httpx.Client(transport=transport, **http_options(self.context))

    @classmethod
    def from_context(cls, name: str | None = None) -> Self:
        """A client of a named context, or of the current one."""
        return cls(name)

    @property
    def address(self) -> str:
        """The customer's address; opens the key when the context does not tell it."""
        return self.perform(self.operations.address())

    def events(self, job: str | wire.Job, after: int = 0) -> Iterator[wire.JobEvent]:
        """The job's events from number `after` + 1 to its end, across lost connections.

        Unavailable when the service stays silent for `SILENCE_SECONDS`.
        """
        parser = EventParser(after)
        heard = time.monotonic()
        while True:
            header = self.perform(self.operations.authorization())
            try:
                with self._http.stream(
                    "GET",
                    f"/v1/jobs/{id_of(job)}/events",
                    headers=event_headers(header, parser.last_id),
                    timeout=httpx.Timeout(10.0, read=EVENTS_READ_SECONDS),
                ) as response:
                    if response.status_code >= 400:
                        response.read()
                        self._answer(response).require_success()
                    if response.status_code == 204:  # the job is over, and nothing was missed
                        return
                    for line in response.iter_lines():
                        heard = time.monotonic()
                        event = parser.feed(line)
                        if event is not None:
                            yield event
                            if event.kind == "end":
                                return
            except (httpx.TransportError, Unavailable) as error:
                parser.reset()
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise lost(self.context, error) from error
            time.sleep(RECONNECT_SECONDS)

    def close(self) -> None:
        self.operations.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def perform(self, operation: Operation[T]) -> T:
        """Perform an operation's calls one after the other; its value."""
        try:
            call = next(operation)
            while True:
                try:
                    answer = self._answer_to(call)
                except Exception as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    def _answer_to(self, call: Call) -> Any:
        if isinstance(call, Pause):
            return time.sleep(call.seconds)
        if isinstance(call, Follow):
            for event in self.events(call.job):
                if call.hear is not None:
                    call.hear(event)
            return None
        if not isinstance(call, Request | Upload | Part | Download):
            return call.run()
        try:
            if isinstance(call, Download):
                return self._download(call)
            content = None if isinstance(call, Request) else body_of(call)
            return self._answer(self._http.request(**request_options(call, content)))
        except httpx.TransportError as error:
            raise lost(self.context, error) from error

    def _download(self, call: Download) -> Answer:
        with self._http.stream("GET", call.path, headers=dict(call.headers)) as response:
            if response.status_code >= 400:
                response.read()
                return self._answer(response)
            with IncomingFile(call) as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                file.finish()
            return Answer(response.status_code, response.headers, b"")

    @staticmethod
    def _answer(response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.headers, response.content)
