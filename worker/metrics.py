"""A worker's figures for Prometheus, in its text format, version 0.0.4.

Written here in a few lines rather than by a library: the worker's machine needs no more packages for it, and
money stays exact (a float would round it).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Final

from prixfixe.errors import ConfigurationError, PrixfixeError
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money

log = logging.getLogger("prixfixe.worker")

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
FRESH_SECONDS: Final = 15.0  # what costs a call to the service or the engine is asked no oftener


@dataclass(frozen=True, slots=True)
class Sample:
    """value: as it is written. labels: name -> value."""

    value: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name, without its prefix."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def number(name: str, help: str, value: float | int | bool) -> Family:
    """A family of one sample."""
    return Family(name, help, (Sample(f"{value:.3f}" if isinstance(value, float) else str(int(value))),))


def dollars(name: str, help: str, value: Money) -> Family:
    """Money in dollars, exact."""
    whole, rest = divmod(value.units, UNITS_PER_DOLLAR)
    return Family(name, help, (Sample(f"{whole}.{rest:06d}"),))


def render(families: Iterable[Family]) -> str:
    lines = []
    for family in families:
        name = f"prixfixe_worker_{family.name}"
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} gauge"]
        for sample in family.samples:
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
            lines.append(f"{name}{{{labels}}} {sample.value}" if labels else f"{name} {sample.value}")
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


def parse_place(text: str) -> tuple[str, int]:
    """HOST:PORT. ConfigurationError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(
            f"{text!r} is no place for metrics", hint="HOST:PORT, such as 127.0.0.1:9464", fault="provider"
        )
    return host.strip("[]"), int(port)


@contextmanager
def serving(place: str | None, families: Callable[[], Iterable[Family]]) -> Iterator[str | None]:
    """Answer GET /metrics at HOST:PORT while the block lasts; gives the URL. Nothing when place is None.
    ConfigurationError when the place is taken."""
    if place is None:
        yield None
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            try:
                content = render(families()).encode()
            except Exception:
                log.exception("metrics")
                self.send_error(500)
                return
            self.send_response(200)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line."""

    host, port = parse_place(place)

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
            fault="provider",
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
