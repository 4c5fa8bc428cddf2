"""What an operation asks of its transport: the edge between the one logic and the two ways to do I/O.

An operation (`prixfixe.client.operations`) is a generator that yields calls and is sent their answers; it
never touches a socket, a file's bytes or a clock. A transport performs each call, blocking or awaiting, and
raises `Unavailable` when no whole answer came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from prixfixe.errors import PrixfixeError, Unavailable
from prixfixe.protocol.uploads import PartRange

if TYPE_CHECKING:
    from prixfixe.protocol.wire import JobEvent

T = TypeVar("T")

# Bytes done and bytes in all (None: not known).
Progress: TypeAlias = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP exchange whose answer is small. repeatable: sending it twice does what sending it once
    does."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Upload:
    """Send a file. The transport hashes what it sends and stops when that is not `sha256` and `size` any
    more."""

    path: str
    source: Path
    sha256: str
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """Send some bytes of a file to its upload. Never repeated as it is: after a lost answer the service is
    asked how far it is."""

    path: str
    source: Path
    range: PartRange
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """Receive a body into `target`, which appears whole and checked against `sha256`, or not at all."""

    path: str
    target: Path
    sha256: str
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before trying again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Follow:
    """Wait for a job's end across lost connections. hear: called with each of its events."""

    job: str
    hear: Callable[[JobEvent], None] | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Something that blocks but is no HTTP: hashing a file, asking a chain, a password prompt."""

    run: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (by any case of their names) and body of an exchange. The body of a successful download
    is in its file, and empty here."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; Unavailable when it is not, which a proxy's error page is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                "the service answered something that is no JSON", code="bad-answer", status=self.status
            ) from error

    def require_success(self) -> Answer:
        """Itself, or the error that the problem document describes."""
        if self.status < 400:
            return self
        problem: Any = None
        if "json" in self.headers.get("content-type", ""):
            try:
                problem = json.loads(self.body)
            except (ValueError, RecursionError):
                problem = None
        if not isinstance(problem, dict):
            problem = {"detail": f"the service answered HTTP {self.status}"}
        raise PrixfixeError.from_problem({"status": self.status, **problem})


Exchange: TypeAlias = Request | Upload | Part | Download
Call: TypeAlias = Exchange | Pause | Follow | Work
# Yields calls, is sent what each gave, returns its own value.
Operation: TypeAlias = Generator[Call, Any, T]
