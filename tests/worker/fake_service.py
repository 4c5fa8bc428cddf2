"""A market's service over real HTTP, as small as the worker's side of it: it hands out what a test puts in.

It checks what the real one checks of a worker (session, signature of the sign-in) and remembers all it was
told.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prixfixe.errors import Conflict, NotFound, PrixfixeError, Unauthorized, Unavailable
from prixfixe.protocol import siwe, wire
from prixfixe.protocol.lot_batch import (
    Assignments,
    LotReports,
    NamedReport,
    ReportAnswers,
    Reported,
    StartAnswers,
    Started,
    Starting,
)
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.signatures import message_digest, parse_signature, recover


@dataclass
class FakeService:
    """State and doors. `down`: answer 503 to everything. `answers`: what heartbeats are told. `old`: it knows
    no calls for several lots. `calls`: of a worker, as they came. `missed`: paths of those that came
    while it was down."""

    market: wire.Market
    products: tuple[Any, ...] = ()
    down: bool = False
    old: bool = False
    forget_sessions: bool = False
    refuse_report: Callable[[LotReport], PrixfixeError | None] = lambda report: None
    sessions: dict[str, str] = field(default_factory=dict)
    registrations: list[wire.WorkerRegistration] = field(default_factory=list)
    beats: list[wire.Heartbeat] = field(default_factory=list)
    asks: dict[bytes, wire.SignedAsk] = field(default_factory=dict)
    assignments: deque[wire.Assignment] = field(default_factory=deque)
    calls: list[tuple[str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    stop: set[str] = field(default_factory=set)
    logs: dict[str, bytes] = field(default_factory=dict)
    ended: dict[str, dict[int, int]] = field(default_factory=dict)
    progress: dict[str, float] = field(default_factory=dict)
    reports: dict[str, LotReport] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    condition: threading.Condition = field(default_factory=threading.Condition)
    closing: bool = False

    def until(self, happened: Callable[[], Any], timeout: float = 60.0) -> None:
        """Wait for something that the worker does; AssertionError when it does not."""
        with self.condition:
            assert self.condition.wait_for(happened, timeout), "the worker did not do it in time"

    def assign(self, assignment: wire.Assignment) -> None:
        with self.condition:
            self.assignments.append(assignment)
            self.condition.notify_all()

    def put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        self.blobs[name] = content
        return name

    # ---------------------------------------------------------------------------------------------- answers

    def handle(self, method: str, path: str, query: str, token: str | None, body: bytes) -> tuple[int, bytes]:
        if self.down:
            self.missed.append(path)
            raise Unavailable("the service is down for a test")
        match method, path.strip("/").split("/")[1:]:
            case "GET", ["market"]:
                return self._json(self.market)
            case "GET", ["sessions", "nonce"]:
                return self._json(wire.Nonce(nonce="abcdefgh12345678", domain="127.0.0.1"))
            case "POST", ["sessions"]:
                return self._session(wire.SessionRequest.model_validate_json(body))
        address = self.sessions.get(token or "")
        if address is None or self.forget_sessions:
            self.forget_sessions = False
            raise Unauthorized("no such session")
        with self.condition:
            try:
                return self._worker(method, path.strip("/").split("/")[1:], query, address, body)
            finally:
                self.condition.notify_all()

    def _worker(
        self, method: str, parts: list[str], query: str, address: str, body: bytes
    ) -> tuple[int, bytes]:
        self.calls.append((method, "/".join(parts)))
        match method, parts:
            case "GET", ["assignments", "batch"] if not self.old:
                asked = dict(each.split("=") for each in query.split("&"))
                self._wait(float(asked["wait"]))
                if not self.assignments:
                    return 204, b""
                return self._json(Assignments(items=tuple(self.assignments)[: int(asked["most"])]))
            case "POST", ["attempts", "start"] if not self.old:
                attempts = Starting.model_validate_json(body).attempts
                self._start(*attempts)
                return self._json(StartAnswers(items=tuple(Started(attempt=each) for each in attempts)))
            case "POST", ["attempts", "results"] if not self.old:
                reports = LotReports.model_validate_json(body).reports
                return self._json(ReportAnswers(items=tuple(map(self._answer, reports))))
            case "POST", ["workers"]:
                self.registrations.append(wire.WorkerRegistration.model_validate_json(body))
                return self._json(self._status(address))
            case "POST", ["workers", "heartbeat"]:
                return self._beat(wire.Heartbeat.model_validate_json(body))
            case "GET", ["assignments"]:
                wait = float(query.partition("wait=")[2] or 0)
                self._wait(wait)
                if not self.assignments:
                    return 204, b""
                return self._json(self.assignments[0])
            case "POST", ["attempts", attempt, "start"]:
                self._start(attempt)
                return 204, b""
            case "POST", ["attempts", attempt, "log"]:
                self._log(attempt, wire.LogChunk.model_validate_json(body))
                return 204, b""
            case "POST", ["attempts", attempt, "result"]:
                return self._report(attempt, LotReport.model_validate_json(body))
            case "GET" | "HEAD", ["blobs", name]:
                if name not in self.blobs:
                    raise NotFound("no such blob")
                return 200, self.blobs[name]
            case "PUT", ["blobs", name]:
                assert hashlib.sha256(body).hexdigest() == name
                self.blobs[name] = body
                return 201, b""
            case "GET", ["workers", _]:
                return self._json(self._status(address))
        raise NotFound(f"{method} {parts}")

    def _wait(self, seconds: float) -> None:
        self.condition.wait_for(lambda: self.assignments or self.closing or self.down, seconds)

    def _start(self, *attempts: str) -> None:
        self.started += attempts
        self.assignments = deque(each for each in self.assignments if each.attempt not in attempts)

    def _answer(self, given: NamedReport) -> Reported:
        try:
            self._report(given.attempt, given.report)
        except PrixfixeError as error:
            return Reported(attempt=given.attempt, problem=error.to_problem())
        return Reported(attempt=given.attempt, answer=wire.ReportAnswer(accepted=True))

    def _session(self, request: wire.SessionRequest) -> tuple[int, bytes]:
        message = siwe.SignIn.parse(request.message)
        signer = recover(message_digest(request.message), parse_signature(request.signature))
        assert signer == message.address
        token = f"token-{len(self.sessions)}"
        self.sessions[token] = signer
        return self._json(wire.Session(token=token, address=signer, expires_at=2**33))

    def _beat(self, beat: wire.Heartbeat) -> tuple[int, bytes]:
        self.beats.append(beat)
        for signed in beat.asks:
            self.asks[signed.ask.product] = signed
        stop = tuple(self.stop & set(beat.running))
        return self._json(wire.HeartbeatAnswer(stop=stop, products=self.products, refused=()))

    def _log(self, attempt: str, chunk: wire.LogChunk) -> None:
        if chunk.status is not None:
            self.ended.setdefault(attempt, {})[chunk.task] = chunk.status
            return
        if chunk.task:  # of a lot of several
            attempt = f"{attempt}/{chunk.task}"
        known = self.logs.get(attempt, b"")
        if chunk.offset > len(known):
            raise Conflict("gap", code="log-gap")
        self.logs[attempt] = known[: chunk.offset] + chunk.text.encode()
        if chunk.progress is not None:
            self.progress[attempt] = chunk.progress

    def _report(self, attempt: str, report: LotReport) -> tuple[int, bytes]:
        refusal = self.refuse_report(report)
        if refusal is not None:
            raise refusal
        for file in (file for task in report.tasks for file in task.outputs.files):
            assert file.sha256 in self.blobs, "reported before it was uploaded"
        self.reports[attempt] = report
        return self._json(wire.ReportAnswer(accepted=True))

    def _status(self, address: str) -> wire.WorkerStatus:
        provider = self.registrations[-1].provider if self.registrations else address
        return wire.WorkerStatus(
            key=address, provider=provider, name="w1", alive=True, free="5000000", held="0", surety="5000000",
            running=0, settled=0, failed=0, lost=0, earned="0",
        )  # fmt: skip

    @staticmethod
    def _json(model: Any) -> tuple[int, bytes]:
        return 200, model.model_dump_json().encode()


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """The base URL of the service while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            path, _, query = self.path.partition("?")
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, content = service.handle(self.command, path, query, token, body)
            except PrixfixeError as error:
                problem = error.to_problem()
                status, content = problem["status"], json.dumps(problem).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD" and status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = _any

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read assertions, not access logs."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A worker that went away in the middle of an answer is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        with service.condition:
            service.closing = True
            service.condition.notify_all()
        server.shutdown()
        server.server_close()
        thread.join()
