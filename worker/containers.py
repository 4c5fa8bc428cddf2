"""What an engine says of its containers and how it refuses, as plain values without an engine's library.

The process that holds the worker's key knows containers by these only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from prixfixe.errors import EngineError

CONTAINER_PREFIX: Final = "prixfixe-"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine says about a container. status: created, running, exited, dead... exit_code: of its
    main process once exited. oom_killed: the kernel killed one of its processes for memory. started_at: the
    engine's clock, ISO text."""

    id: str
    status: str
    exit_code: int
    oom_killed: bool
    error: str
    started_at: str

    @property
    def over(self) -> bool:
        return self.status in ("exited", "dead")


@dataclass(frozen=True, slots=True)
class Run:
    """Facts of one run. exit_code: of the main process; None when there never was one. seconds: wall clock
    from start to end. stopped_for: why the worker killed it: "time", "log", "disk", "drain"; None: it did
    not. error: the object of stderr's last line. last_line: for a reason without anything better."""

    exit_code: int | None
    seconds: float
    oom_killed: bool = False
    stopped_for: str | None = None
    error: dict[str, Any] | None = None
    last_line: str = ""


def container_name(attempt: str, task: int = 0) -> str:
    """One name a task of an attempt: a second container for it cannot exist."""
    return f"{CONTAINER_PREFIX}{attempt}-{task}"


def holder_name(container: str) -> str:
    """Of the container that holds the network namespace of the one with this name."""
    return f"{container}-net"


class NotThere(EngineError):
    default_code = "engine-not-there"


class ImageMissing(NotThere):
    default_code = "engine-image-missing"


class NameTaken(EngineError):
    default_code = "engine-name-taken"


class Refused(EngineError):
    """The engine understood and said no (409 and the like)."""

    default_code = "engine-refused"


class EngineLost(EngineError):
    """The engine does not answer: it is stopped, restarting, or this user may not ask it."""

    default_code = "engine-lost"
    default_retryable = True
    default_hint = "see that `docker info` works for this user"
