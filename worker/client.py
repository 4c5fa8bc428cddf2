"""The market's service as the worker sees it: HTTP with a session, retries and streams.

Every call here may be repeated: the service takes the same report, log chunk, blob or registration twice
for once. So a lost connection or a restarting service is waited out, with growing pauses, for as long as
the caller says. Times of the service come from its `Date` headers; the host's clock is only compared with
them.
"""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from prixfixe.connections import connection_options
from prixfixe.errors import (
    ConfigurationError,
    PrixfixeError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from prixfixe.keys import Signer
from prixfixe.protocol import siwe, wire
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.benchmarks import SignedBenchmark
from prixfixe.protocol.inspections import InspectionAnswer, InspectionTask
from prixfixe.protocol.lot_batch import (
    Assignments,
    LotReports,
    ReportAnswers,
    Reported,
    StartAnswers,
    Started,
    Starting,
)
from prixfixe.protocol.prices import Earnings, PriceIndex, WorkerWhy
from prixfixe.protocol.product import Product
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.secrets import SealedSecrets
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.uploads import SMALL_BYTES, PartRange, UploadState, upload_path

log = logging.getLogger("prixfixe.worker")

_M = TypeVar("_M", bound=BaseModel)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
# A worker whose clock is off by more than this is told: sign-in and TLS certificates depend on clocks.
SKEW_SECONDS: Final = 30.0
_POLL_MARGIN_SECONDS: Final = 15.0
_UPLOAD_TIMEOUT: Final = httpx.Timeout(120.0, connect=5.0)


class Stopped(PrixfixeError):
    """The worker is stopping and no longer waits for the service."""

    default_code = "stopped"
    default_fault = "provider"


class ServiceClient:
    """One service, one session. Safe for many threads.

    stopping: set when waiting for a silent service makes no sense any more.
    """

    def __init__(
        self, base_url: str, *, stopping: threading.Event | None = None, connections: int = 32
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            **connection_options(base_url),
        )
        self._base_url = base_url
        self._stopping = stopping or threading.Event()
        self._signer: Signer | None = None
        self._token: str | None = None
        self._lock = threading.Lock()
        self.skew_seconds = 0.0

    def close(self) -> None:
        self._http.close()

    def sign_in(self, signer: Signer) -> None:
        """Sign in with this key now, and again whenever the service no longer knows the session."""
        self._signer = signer
        try:
            self._renew(None)
        except httpx.HTTPError as error:
            raise self._silent(error) from error

    # ------------------------------------------------------------------------------------------------ calls

    def market(self, wait: float = 0.0) -> wire.Market:
        return self._model(wire.Market, "GET", "/v1/market", wait=wait)

    def register(self, registration: wire.WorkerRegistration, wait: float = 0.0) -> wire.WorkerStatus:
        return self._model(wire.WorkerStatus, "POST", "/v1/workers", registration, wait=wait)

    def heartbeat(self, beat: wire.Heartbeat) -> wire.HeartbeatAnswer:
        """Not repeated here: the next beat is due anyway."""
        return self._model(wire.HeartbeatAnswer, "POST", "/v1/workers/heartbeat", beat)

    def benchmark(self, signed: SignedBenchmark) -> None:
        self._call("POST", "/v1/workers/benchmark", signed)

    def assignment(self, wait_seconds: float) -> wire.Assignment | None:
        """The next assignment, waited for at the service; None when none came."""
        return self._poll(wire.Assignment, "/v1/assignments", wait_seconds)

    def start(self, attempt: str, wait: float = 10.0) -> None:
        self._call("POST", f"/v1/attempts/{attempt}/start", wait=wait)

    def assignment_batch(self, most: int, wait_seconds: float) -> tuple[wire.Assignment, ...]:
        """As many as there are, the first waited for at the service. NotFound from a service that is older
        than calls for several."""
        found = self._poll(Assignments, "/v1/assignments/batch", wait_seconds, most=str(most))
        return () if found is None else found.items

    def start_batch(self, starting: Starting, wait: float = 10.0) -> tuple[Started, ...]:
        return self._model(StartAnswers, "POST", "/v1/attempts/start", starting, wait=wait).items

    def report_batch(self, reports: LotReports) -> tuple[Reported, ...]:
        return self._model(ReportAnswers, "POST", "/v1/attempts/results", reports).items

    def log(self, attempt: str, chunk: wire.LogChunk, wait: float = 10.0) -> None:
        self._call("POST", f"/v1/attempts/{attempt}/log", chunk, wait=wait)

    def report(self, attempt: str, report: LotReport, wait: float) -> wire.ReportAnswer:
        return self._model(wire.ReportAnswer, "POST", f"/v1/attempts/{attempt}/result", report, wait=wait)

    def case(self, deal: str) -> wire.CaseFile:
        """The file of an open case; for the arbiter only."""
        return self._model(wire.CaseFile, "GET", f"/v1/cases/{deal}")

    def inspection(self, wait_seconds: float) -> InspectionTask | None:
        """The next file to look at, waited for at the service; None when none came."""
        return self._poll(InspectionTask, "/v1/inspections/next", wait_seconds)

    def answer_inspection(self, inspection: str, answer: InspectionAnswer, wait: float) -> None:
        self._call("POST", f"/v1/inspections/{inspection}/answer", answer, wait=wait)

    def secrets(self, attempt: str, wait_seconds: float) -> SealedSecrets | None:
        """What the job's customer sealed to this worker, waited for at the service; None when none came."""
        return self._poll(SealedSecrets, f"/v1/attempts/{attempt}/secrets", wait_seconds, wait=10.0)

    def commit(self, attempt: str, request: wire.CommitRequest, wait: float) -> None:
        self._call("POST", f"/v1/attempts/{attempt}/commit", request, wait=wait)

    def open(self, attempt: str, request: wire.OpenRequest, wait: float) -> None:
        self._call("POST", f"/v1/attempts/{attempt}/open", request, wait=wait)

    def round(self, attempt: str, after: str, wait_seconds: float, wait: float) -> wire.Round:
        """How its replicas stand, waited for at the service while the state is `after`."""
        path = f"/v1/attempts/{attempt}/round"
        found = self._poll(wire.Round, path, wait_seconds, wait=wait, after=after)
        if found is None:
            raise Unavailable(f"the answer to {path} is empty", code="service-answer", retryable=False)
        return found

    def status(self, key: str) -> wire.WorkerStatus:
        return self._model(wire.WorkerStatus, "GET", f"/v1/workers/{key}")

    def earnings(self, key: str, days: int) -> Earnings:
        return _parsed(Earnings, self._call("GET", f"/v1/workers/{key}/earnings", params={"days": days}))

    def why(self, key: str, limit: int) -> WorkerWhy:
        return _parsed(WorkerWhy, self._call("GET", f"/v1/workers/{key}/why", params={"limit": limit}))

    def index(self, product: Product) -> PriceIndex:
        """The price index of a product."""
        return self._model(PriceIndex, "GET", f"/v1/index/{product.name}")

    def blob_size(self, sha256: str) -> int:
        """Bytes of a blob that this worker may read."""
        return int(self._call("HEAD", f"/v1/blobs/{sha256}").headers["Content-Length"])

    def bundles(self) -> list[wire.BundleListing]:
        """What is published, retired ones among it."""
        found: list[wire.BundleListing] = []
        asked: dict[str, str] = {"limit": "200"}
        while True:
            page = _parsed(_Listings, self._call("GET", "/v1/bundles", params=asked))
            found += page.items
            if page.next is None:
                return found
            asked = {**asked, "cursor": page.next}

    @contextmanager
    def download(self, sha256: str, offset: int = 0) -> Iterator[Iterable[bytes]]:
        """The bytes of a blob from `offset` on as they come; the caller checks them against the name."""
        headers = {**self._headers(), **({"Range": f"bytes={offset}-"} if offset else {})}
        try:
            with self._http.stream("GET", f"/v1/blobs/{sha256}", headers=headers) as answer:
                if answer.status_code == 416:  # nothing comes after that
                    yield ()
                    return
                if answer.status_code >= 400:
                    answer.read()
                    raise _problem(answer)
                # A service, or a proxy before it, that knows no ranges sends everything.
                yield _after(answer.iter_bytes(1 << 20), 0 if answer.status_code == 206 else offset)
        except httpx.HTTPError as error:
            raise self._silent(error) from error

    def upload(
        self, sha256: str, size: int, content: Callable[[PartRange], Iterable[bytes]], wait: float
    ) -> None:
        """Store a blob; a large one in parts that go on where an earlier try stopped. content: opens those
        bytes of it anew for each try."""
        if size > SMALL_BYTES:
            self._upload_in_parts(sha256, size, content, wait)
            return
        self._call(
            "PUT",
            f"/v1/blobs/{sha256}",
            wait=wait,
            stream=lambda: content(PartRange(0, size, size)),
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
            timeout=_UPLOAD_TIMEOUT,
        )

    def _upload_in_parts(
        self, sha256: str, size: int, content: Callable[[PartRange], Iterable[bytes]], wait: float
    ) -> None:
        until = time.monotonic() + wait
        while True:
            left = max(until - time.monotonic(), 0.0)
            state = UploadState.read(self._call("HEAD", upload_path(sha256), wait=left).headers)
            if state.complete:
                return
            if state.offset > size:  # of another file that was sent under this name
                self._call("DELETE", upload_path(sha256), wait=left)
                continue
            try:
                self._send_from(state.offset, sha256, size, content)
                return
            except PrixfixeError as error:  # also bytes that were lost on the way: they are sent anew
                if not error.retryable or time.monotonic() > until:
                    raise
            self._pause(_LONGEST_PAUSE)

    def _send_from(
        self, offset: int, sha256: str, size: int, content: Callable[[PartRange], Iterable[bytes]]
    ) -> None:
        part = PartRange.next(offset, size)
        while True:
            self._call(
                "PATCH",
                upload_path(sha256),
                stream=partial(content, part),
                headers=part.headers(),
                timeout=_UPLOAD_TIMEOUT,
            )
            if part.last:
                return
            part = PartRange.next(part.end, size)

    # ----------------------------------------------------------------------------------------------- inside

    def _model(
        self, model: type[_M], method: str, path: str, body: BaseModel | None = None, *, wait: float = 0.0
    ) -> _M:
        return _parsed(model, self._call(method, path, body, wait=wait))

    def _poll(
        self, model: type[_M], path: str, wait_seconds: float, *, wait: float = 0.0, **params: str
    ) -> _M | None:
        """What the service says once there is something, waited for at the service; None when there was
        not."""
        answer = self._call(
            "GET",
            path,
            wait=wait,
            params={**params, "wait": f"{wait_seconds:g}"},
            timeout=httpx.Timeout(wait_seconds + _POLL_MARGIN_SECONDS, connect=5.0),
        )
        return None if answer.status_code == 204 else _parsed(model, answer)

    def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        wait: float = 0.0,
        stream: Callable[[], Iterable[bytes]] | None = None,
        headers: dict[str, str] | None = None,
        accept: frozenset[int] | set[int] = frozenset(),
        **options: Any,
    ) -> httpx.Response:
        """One answer, waiting out a service that is silent or busy for `wait` seconds in all."""
        until = time.monotonic() + wait
        pause = _FIRST_PAUSE
        renewed = False
        while True:
            token = self._token
            content = stream() if stream is not None else body.model_dump_json() if body is not None else None
            sent = {**self._headers(), **(headers or {})}
            if body is not None:
                sent["Content-Type"] = "application/json"
            try:
                answer = self._http.request(method, path, content=content, headers=sent, **options)
                self._watch_clock(answer)
                if answer.status_code < 400 or answer.status_code in accept:
                    return answer
                failure: PrixfixeError = _problem(answer)
                if isinstance(failure, Unauthorized) and self._signer is not None and not renewed:
                    self._renew(token)
                    renewed = True
                    continue
            except httpx.HTTPError as error:
                failure = self._silent(error)
                failure.__cause__ = error
            if not failure.retryable or time.monotonic() + pause > until:
                raise failure
            # A service that is asked too often says when to come back.
            told = failure.retry_after if isinstance(failure, TooManyRequests) else 0.0
            self._pause(max(pause, min(told, max(until - time.monotonic(), 0.0))))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds * random.uniform(0.7, 1.3)):
            raise Stopped(f"stopped while waiting for the service at {self._base_url}")

    def _silent(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"the service at {self._base_url} does not answer ({type(error).__name__})", code="service-silent"
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _renew(self, stale: str | None) -> None:
        """A new session, unless another thread has already replaced the stale one."""
        with self._lock:
            if self._signer is None or (stale is not None and self._token != stale):
                return
            answer = self._http.get("/v1/sessions/nonce")
            if answer.status_code >= 400:
                raise _problem(answer)
            self._watch_clock(answer)
            nonce = _parsed(wire.Nonce, answer)
            market = _parsed(wire.Market, self._http.get("/v1/market"))
            # The service's own time, so that a host with a wrong clock can still sign in.
            issued = datetime.fromtimestamp(time.time() + self.skew_seconds, UTC)
            message = siwe.SignIn(
                domain=nonce.domain,
                address=self._signer.address,
                uri=self._base_url,
                chain_id=market.chain_id,
                nonce=nonce.nonce,
                issued_at=issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
            ).compose()
            signature = "0x" + self._signer.sign_digest(message_digest(message)).hex()
            request = wire.SessionRequest(message=message, signature=signature)
            answer = self._http.post(
                "/v1/sessions",
                content=request.model_dump_json(),
                headers={"Content-Type": "application/json"},
            )
            if answer.status_code >= 400:
                raise _problem(answer)
            self._token = _parsed(wire.Session, answer).token

    def _watch_clock(self, answer: httpx.Response) -> None:
        """Compare the host's clock with the service's, which are the same when no one is wrong."""
        told = answer.headers.get("date")
        if not told:
            return
        try:
            service = email.utils.parsedate_to_datetime(told).timestamp()
        except ValueError:
            return
        skew = service - time.time()
        if abs(skew) > SKEW_SECONDS and abs(self.skew_seconds) <= SKEW_SECONDS:
            log.warning(
                "this machine's clock is %.0f s %s the service's: set it (timedatectl set-ntp true)",
                abs(skew),
                "behind" if skew > 0 else "ahead of",
            )
        # The header has whole seconds: below two, nothing is known.
        self.skew_seconds = skew if abs(skew) >= 2 else 0.0


def require_market(market: wire.Market, contract: str | None) -> None:
    """ConfigurationError when the service is of another market than the one that was meant."""
    if contract is not None and market.contract != parse_address(contract, name="contract"):
        raise ConfigurationError(
            f"the service is of the market {market.contract}, not of {contract}",
            hint="check --service and --contract",
            fault="provider",
        )


class _Listings(BaseModel):
    items: tuple[wire.BundleListing, ...]
    next: str | None = None


def _after(chunks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """The chunks without their first `offset` bytes."""
    for chunk in chunks:
        skipped = min(offset, len(chunk))
        offset -= skipped
        if skipped < len(chunk):
            yield chunk[skipped:]


def _parsed(model: type[_M], answer: httpx.Response) -> _M:
    try:
        return model.model_validate_json(answer.content)
    except (ValidationError, PrixfixeError) as error:
        raise Unavailable(
            f"the answer to {answer.request.url.path} is not a {model.__name__}: {str(error)[:300]}",
            code="service-answer",
            hint="worker and service may be of different versions",
            retryable=False,
        ) from error


def _problem(answer: httpx.Response) -> PrixfixeError:
    try:
        told = answer.json()
    except ValueError:
        told = None
    document = told if isinstance(told, dict) else {}
    return PrixfixeError.from_problem({"status": answer.status_code, **document})
