"""Figures of a service or a worker for Prometheus, in its text format, version 0.0.4.

Written here in a few lines rather than by a library: a worker's machine needs no more packages for it, and
money stays exact (a float would round it).
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, Literal

from prixfixe.errors import ConfigurationError, Fault, PrixfixeError
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money

log = logging.getLogger(__name__)

# What a page beside the figures answers: its HTTP status, and a value that is written as JSON.
Page = Callable[[], tuple[int, dict[str, Any]]]

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NO_PAGES: Final[Mapping[str, Page]] = {}
FRESH_SECONDS: Final = 15.0  # what costs a call to the service or the engine is asked no oftener


@dataclass(frozen=True, slots=True)
class Sample:
    """value: as it is written. labels: name -> value. suffix: of its name, in a histogram."""

    value: str
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name, without its prefix."""

    name: str
    help: str
    samples: tuple[Sample, ...]
    kind: Literal["gauge", "counter", "histogram"] = "gauge"


def number(name: str, help: str, value: float | int | bool) -> Family:
    """A family of one sample."""
    return Family(name, help, (Sample(written(value)),))


def written(value: float | int | bool) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(int(value))


def dollars(name: str, help: str, value: Money) -> Family:
    """Money in dollars, exact."""
    return Family(name, help, (Sample(in_dollars(value.units)),))


def in_dollars(units: int) -> str:
    """An amount of the token's smallest unit, in dollars, exact."""
    whole, rest = divmod(abs(units), UNITS_PER_DOLLAR)
    return f"{'-' if units < 0 else ''}{whole}.{rest:06d}"


class Histogram:
    """How long something took, by labels. bounds: seconds, upper and included, rising."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._help = help
        self._bounds = tuple(bounds)
        self._lock = threading.Lock()
        # Of each set of labels: how many fell below each bound and above the last; their sum.
        self._counts: dict[tuple[tuple[str, str], ...], list[int]] = {}
        self._sums: dict[tuple[tuple[str, str], ...], float] = {}

    def observe(self, seconds: float, **labels: str) -> None:
        key = tuple(labels.items())
        place = bisect_left(self._bounds, seconds)
        with self._lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = [0] * (len(self._bounds) + 1)
            counts[place] += 1
            self._sums[key] = self._sums.get(key, 0.0) + seconds

    def family(self) -> Family:
        with self._lock:
            taken = [(key, list(counts), self._sums[key]) for key, counts in self._counts.items()]
        samples = []
        for key, counts, total in taken:
            labels, below = dict(key), 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                below += count
                samples.append(Sample(str(below), {**labels, "le": bound}, "_bucket"))
            samples.append(Sample(f"{total:.6f}", labels, "_sum"))
            samples.append(Sample(str(below), labels, "_count"))
        return Family(self._name, self._help, tuple(samples), "histogram")


def render(families: Iterable[Family], prefix: str) -> str:
    """The text. prefix: of every name, with its last underscore."""
    lines = []
    for family in families:
        name = prefix + family.name
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
        for sample in family.samples:
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
            named = name + sample.suffix
            lines.append(f"{named}{{{labels}}} {sample.value}" if labels else f"{named} {sample.value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Cached:
    """Families that cost a call elsewhere: asked anew at most every `FRESH_SECONDS`, in the scrape's own
    thread; none while who is asked does not answer."""

    def __init__(self, ask: Callable[[], list[Family]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._known: list[Family] = []

    def get(self) -> list[Family]:
        with self._lock:
            if self._clock() - self._asked >= FRESH_SECONDS:
                try:
                    self._known = self._ask()
                except PrixfixeError as error:
                    log.debug("metrics: %s", error)
                    self._known = []
                self._asked = self._clock()
            return self._known


def parse_place(text: str, fault: Fault = "provider") -> tuple[str, int]:
    """HOST:PORT. ConfigurationError for anything else. fault: whose option it is."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(
            f"{text!r} is no place for metrics", hint="HOST:PORT, such as 127.0.0.1:9464", fault=fault
        )
    return host.strip("[]"), int(port)


@contextmanager
def serving(
    place: str | None,
    families: Callable[[], Iterable[Family]],
    prefix: str,
    fault: Fault = "provider",
    pages: Mapping[str, Page] = _NO_PAGES,
) -> Iterator[str | None]:
    """Answer GET /metrics at HOST:PORT while the block lasts; gives the URL. Nothing when place is None.
    ConfigurationError when the place is taken. prefix: as in `render`. fault: whose option the place is.
    pages: more of them, by path."""
    if place is None:
        yield None
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path != "/metrics" and path not in pages:
                self.send_error(404)
                return
            try:
                if path in pages:
                    (status, answer), kind = pages[path](), "application/json"
                    content = json.dumps(answer).encode()
                else:
                    status, kind = 200, _CONTENT_TYPE
                    content = render(families(), prefix).encode()
            except Exception:
                log.exception("%s", path)
                self.send_error(500)
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line."""

    host, port = parse_place(place, fault)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def server_bind(self) -> None:
            """Without looking up the machine's name, which may take long and which nobody needs."""
            TCPServer.server_bind(self)
            self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be served at {place}: {error.strerror}",
            hint="choose another place with --metrics",
            fault=fault,
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="metrics", daemon=True
    )
    thread.start()
    try:
        shown = f"[{server.server_name}]" if ":" in host else server.server_name
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
