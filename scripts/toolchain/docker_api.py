"""The Docker engine's HTTP interface, as far as the scripts need it.

The engine is asked, never the `docker` client: a client may be there without an engine, and an engine
without a client.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

DEFAULT_SOCKET = "/var/run/docker.sock"


class EngineError(Exception):
    """The engine did not answer, or answered with an error; `forbidden` when this user may not ask it."""

    def __init__(self, message: str, *, status: int = 0, forbidden: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.forbidden = forbidden


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def address() -> str:
    """Where the engine listens: DOCKER_HOST, else the system's socket, else this user's rootless one."""
    named = os.environ.get("DOCKER_HOST")
    if named:
        return named
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"
    if not Path(DEFAULT_SOCKET).exists() and rootless.exists():
        return f"unix://{rootless}"
    return f"unix://{DEFAULT_SOCKET}"


@dataclass(frozen=True)
class Engine:
    """One engine, by address (`unix://PATH` or `tcp://HOST:PORT`)."""

    address: str
    timeout: float = 10.0

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, timeout)
        if parts.scheme == "tcp" and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=timeout)
        raise EngineError(f"DOCKER_HOST={self.address} is not understood: use unix://PATH or tcp://HOST:PORT")

    def request(
        self, method: str, path: str, body: Iterable[bytes] | None = None, *, timeout: float | None = None
    ) -> bytes:
        """One call; returns the body. Raises EngineError for a silent engine or a status of 400 and more."""
        connection = self._connection(timeout or self.timeout)
        try:
            headers = {"Content-Type": "application/x-tar"} if body is not None else {}
            connection.request(method, path, body=body, headers=headers, encode_chunked=body is not None)
            answer = connection.getresponse()
            content = answer.read()
        except PermissionError as error:
            raise EngineError(f"not allowed to use {self.address}", forbidden=True) from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"no engine answers at {self.address}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise EngineError(_reason(content) or f"status {answer.status}", status=answer.status)
        return content

    def version(self) -> str:
        """The engine's version, such as 20.10.24. Raises EngineError when it does not answer."""
        told: dict[str, Any] = json.loads(self.request("GET", "/version", timeout=5.0))
        return str(told["Version"])

    def answers(self) -> bool:
        try:
            self.version()
        except EngineError:
            return False
        return True

    def image(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of an image, or None when it has none of that name."""
        try:
            found: dict[str, Any] = json.loads(self.request("GET", f"/images/{quote(name)}/json"))
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return found

    def import_archive(self, archive: Path, name: str, tag: str, changes: Iterable[str]) -> None:
        """Make an image of one layer from a root file system's tar, streamed."""
        query = [("fromSrc", "-"), ("repo", name), ("tag", tag), *(("changes", change) for change in changes)]
        with archive.open("rb") as content:
            blocks = iter(lambda: content.read(1 << 20), b"")
            answer = self.request("POST", f"/images/create?{urlencode(query)}", blocks, timeout=600.0)
        # Errors after the first byte come in the stream of progress, under status 200.
        for line in answer.splitlines():
            told = json.loads(line) if line.strip() else {}
            if "error" in told:
                raise EngineError(str(told["error"]))


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()[:300]
