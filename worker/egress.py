"""A job's way out: an HTTP proxy that calls only the hosts of its manifest.

The job's container has no network but its own loopback; the proxy's listening socket is made inside of that
(`worker.holder`) and everything else of it is here, outside. It speaks `CONNECT` and plain HTTP with whole
URLs, looks names up itself, calls exactly the address that it checked, follows no redirect (the job would
have to ask again), and counts.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from prixfixe.errors import InvalidInput
from prixfixe.protocol.egress import Host, normal_name
from prixfixe.public_addresses import callable_addresses

log = logging.getLogger("prixfixe.worker")

MOST_BYTES: Final = 1 << 30  # of a task, both ways together
MOST_AT_ONCE: Final = 32
_HEAD_BYTES: Final = 65_536
_CHUNK: Final = 65_536
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 60.0
_MOST_NAMED: Final = 64  # different hosts in the account that the customer reads

Resolve = Callable[[str, int], Iterable[str]]


def look_up(name: str, port: int) -> list[str]:
    """The addresses of a name, by this machine's resolver. OSError when it has none."""
    return [str(each[4][0]) for each in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


class _Refused(Exception):
    """Not called. status: of the answer to the job."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the job asked for. first: bytes that go to the host before anything else."""

    name: str
    port: int
    tunnel: bool
    first: bytes


@dataclass(slots=True)
class _Moved:
    """at: when a call last moved bytes, either way, on the monotonic clock."""

    at: float


class Proxy:
    """One task's. Serves from `start` until `close`; `account` says in words whom it called."""

    def __init__(
        self,
        listener: socket.socket,
        hosts: Iterable[Host],
        *,
        resolve: Resolve = look_up,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._listener = listener
        self._hosts = tuple(hosts)
        self._resolve = resolve
        self._left = most_bytes
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_AT_ONCE)
        self._open: set[socket.socket] = set()
        self._called: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._closed = False

    def start(self) -> None:
        threading.Thread(target=self._accept, name="egress", daemon=True).start()

    def close(self) -> None:
        """Nothing goes out any more."""
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._open]
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def account(self) -> list[str]:
        """A line for each host that was called or refused, for the customer."""
        with self._lock:
            called, refused = sorted(self._called.items()), sorted(self._refused.items())
        lines = [f"egress: {name} called {times} time(s)" for name, times in called]
        return lines + [f"egress: {name} refused {times} time(s)" for name, times in refused]

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                job, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(job,), name="egress", daemon=True).start()

    def _serve(self, job: socket.socket) -> None:
        try:
            with closing(job):
                if self._hold(job):
                    self._answer(job)
        except OSError:
            pass  # either end went away
        finally:
            self._let_go(job)
            self._room.release()

    def _answer(self, job: socket.socket) -> None:
        job.settimeout(_IDLE_SECONDS)
        try:
            asked = _read_request(job)
            with closing(self._call(asked)) as host:
                if not self._hold(host):
                    return
                try:
                    if asked.tunnel:
                        job.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    host.sendall(asked.first)
                    self._join(job, host)
                finally:
                    self._let_go(host)
        except _Refused as refused:
            said = f"{refused}\n".encode()
            head = f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(said)}\r\n"
            job.sendall(head.encode() + b"Connection: close\r\n\r\n" + said)

    def _call(self, asked: _Asked) -> socket.socket:
        """A connection to a host that may be called."""
        where = f"{asked.name}:{asked.port}"
        if not any(host.admits(asked.name, asked.port) for host in self._hosts):
            self._count(self._refused, where)
            raise _Refused("403 Forbidden", f"{where} is not among the hosts that the job named")
        try:
            found = list(self._resolve(asked.name, asked.port))
        except (OSError, UnicodeError) as error:
            raise _Refused("502 Bad Gateway", f"{asked.name} has no address") from error
        addresses = callable_addresses(found)
        if not addresses:
            self._count(self._refused, where)
            raise _Refused("403 Forbidden", f"{asked.name} is not at a public address")
        for address in addresses:
            # An address, so nothing is looked up a second time.
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            host = socket.socket(family, socket.SOCK_STREAM)
            host.settimeout(_CONNECT_SECONDS)
            try:
                host.connect((address, asked.port))
            except OSError:
                host.close()
                continue
            host.settimeout(_IDLE_SECONDS)
            self._count(self._called, where)
            return host
        raise _Refused("502 Bad Gateway", f"{where} does not answer")

    def _join(self, job: socket.socket, host: socket.socket) -> None:
        moved = _Moved(time.monotonic())
        back = threading.Thread(target=self._pump, args=(host, job, moved), name="egress", daemon=True)
        back.start()
        self._pump(job, host, moved)
        back.join()

    def _pump(self, source: socket.socket, target: socket.socket, moved: _Moved) -> None:
        with suppress(OSError):
            while (data := _receive(source, moved)) and self._spend(len(data)):
                target.sendall(data)
                moved.at = time.monotonic()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _spend(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            return self._left >= 0

    def _count(self, counter: Counter[str], where: str) -> None:
        with self._lock:
            if where in counter or len(counter) < _MOST_NAMED:
                counter[where] += 1

    def _hold(self, one: socket.socket) -> bool:
        with self._lock:
            if not self._closed:
                self._open.add(one)
            return not self._closed

    def _let_go(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)


def _receive(source: socket.socket, moved: _Moved) -> bytes:
    """The next bytes. TimeoutError when the whole call is idle: one side of a long download says nothing, and
    many servers take its end for the call's."""
    while True:
        try:
            return source.recv(_CHUNK)
        except TimeoutError:
            if time.monotonic() - moved.at >= _IDLE_SECONDS:
                raise


def _read_request(job: socket.socket) -> _Asked:
    """The first request of a connection: `CONNECT name:port`, or a method with a whole URL."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = job.recv(_CHUNK)
        data += piece
        if not piece or len(data) > _HEAD_BYTES:
            raise _Refused("400 Bad Request", "the request has no end, or too much of a head")
    head, _, rest = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = line.split(" ")
        if method == "CONNECT":
            name, _, port = target.rpartition(":")
            return _Asked(normal_name(name), int(port), True, rest)
        url = urlsplit(target)
        if url.scheme != "http" or url.hostname is None or url.username is not None:
            raise _Refused("400 Bad Request", "ask for a whole http:// URL, or CONNECT")
        name, port_number = normal_name(url.hostname), url.port or 80
    except (ValueError, InvalidInput) as error:
        raise _Refused("400 Bad Request", "no name and port that could be called") from error
    # Its own Host and Connection do not count: one request a connection, for the host that was checked.
    kept = [f for f in fields if f.partition(":")[0].strip().lower() not in _NOT_PASSED_ON]
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = name if port_number == 80 else f"{name}:{port_number}"
    lines = [f"{method} {path} {version}", f"Host: {host}", "Connection: close", *kept, "", ""]
    return _Asked(name, port_number, False, "\r\n".join(lines).encode("latin-1") + rest)


_NOT_PASSED_ON: Final = frozenset({"host", "connection", "proxy-connection", "proxy-authorization"})
