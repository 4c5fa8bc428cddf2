"""What the two processes of a worker say to each other.

The daemon holds the hot key and talks to market and chain; the runner talks to the engine, makes the tasks'
disks and reads what tasks left. A call is one connected pair of sockets: the daemon makes the pair and hands
one end to the runner, so a call needs no number, ends with either process, and one that is slow holds up no
other. On it go frames: a kind, a length, and JSON of one of the values below, or bytes.

    daemon: REQUEST, then for an archive DATA..., END; while a task runs STOP
    runner: EVENT... while a task runs, DATA... of a file, then ANSWER or ERROR

Every call may be repeated: after a crash of either side it is.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from prixfixe.errors import EngineError, PrixfixeError
from prixfixe.protocol.outputs import OutputFile
from worker.cage import Cage
from worker.outputs import OutputLimits
from worker.scratch import Disk
from worker.settings import Limits, ScratchKind

REQUEST: Final = b"Q"
DATA: Final = b"D"
END: Final = b"Z"
STOP: Final = b"S"
EVENT: Final = b"E"
ANSWER: Final = b"A"
ERROR: Final = b"X"
# A list of 4,096 files with paths of 1,024 bytes fits; more is refused before it is read.
_MOST_BYTES: Final = 16 << 20
CHUNK_BYTES: Final = 1 << 20
_HEADER: Final = struct.Struct(">cI")


class RunnerLost(EngineError):
    """The runner went away in the middle of a call. It comes back by itself; the call is then repeated."""

    default_code = "runner-lost"
    default_retryable = True


@dataclass(frozen=True, slots=True)
class Description:
    """What the runner says of itself and its engine. user: its numeric id. scratch: how it bounds a task's
    disk. memory_mib: of the engine's machine. runtimes: those of the engine."""

    user: int
    scratch: ScratchKind
    memory_mib: int
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """-> Description. EngineError when the engine is silent, or may not be used for strangers' code."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Whether the engine answers: EngineError when it does not."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """-> the image's configuration, None when the engine has not got it."""

    image: str


@dataclass(frozen=True, slots=True)
class ImageSize:
    """-> its bytes."""

    image: str


@dataclass(frozen=True, slots=True)
class RemoveImage:
    """-> whether it is gone; False when a container has it."""

    image: str


@dataclass(frozen=True, slots=True)
class LoadImage:
    """Followed by the archive's bytes."""


@dataclass(frozen=True, slots=True)
class PullImage:
    image: str


@dataclass(frozen=True, slots=True)
class ListContainers:
    """-> {id: labels} of those that a worker's installation made."""

    installation: str


@dataclass(frozen=True, slots=True)
class InspectContainer:
    """-> ContainerState, None when there is no such container."""

    container: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container: str


@dataclass(frozen=True, slots=True)
class PrepareDisk:
    """Have one of this size ready."""

    size_mib: int


@dataclass(frozen=True, slots=True)
class TakeDisk:
    """-> Disk. When the answer is lost, so is the disk, until the next `SweepDisks`."""

    size_mib: int


@dataclass(frozen=True, slots=True)
class AdoptDisk:
    """-> Disk that an earlier process took, None when it is gone."""

    folder: Path
    size_mib: int


@dataclass(frozen=True, slots=True)
class ReleaseDisk:
    folder: Path


@dataclass(frozen=True, slots=True)
class SweepDisks:
    """Delete every disk that an earlier runner made, but these."""

    keep: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """-> id of a container that is made and not started."""

    cage: Cage


@dataclass(frozen=True, slots=True)
class Run:
    """Start a created container, or follow one that was started (`again`); EVENTs are `logs.Piece`.
    -> containers.Run once it is over."""

    container: str
    cage: Cage
    disk: Disk
    limits: Limits
    seconds: float
    again: bool


@dataclass(frozen=True, slots=True)
class Collect:
    """-> tuple of OutputFile: all that a task left."""

    folder: Path
    limits: OutputLimits


@dataclass(frozen=True, slots=True)
class Keep:
    """Copy collected files out of a task's disk, in place of what is there."""

    folder: Path
    files: tuple[OutputFile, ...]
    into: Path


@dataclass(frozen=True, slots=True)
class ReadOutput:
    """DATA with the bytes of a collected file."""

    folder: Path
    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class DeleteFolder:
    """Delete a folder of kept outputs."""

    folder: Path


Request: TypeAlias = (
    Describe
    | Ping
    | ImageConfig
    | ImageSize
    | RemoveImage
    | LoadImage
    | PullImage
    | ListContainers
    | InspectContainer
    | RemoveContainer
    | PrepareDisk
    | TakeDisk
    | AdoptDisk
    | ReleaseDisk
    | SweepDisks
    | Create
    | Run
    | Collect
    | Keep
    | ReadOutput
    | DeleteFolder
)
_BY_NAME: Final = {kind.__name__: kind for kind in get_args(Request)}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode(value: object) -> bytes:
    """A value of this module, or of those that it names, as JSON."""
    kind: Any = type(value)
    # A tuple does not know what it is of.
    return _adapter(tuple[OutputFile, ...] if kind is tuple else kind).dump_json(value)


def decode(kind: Any, data: bytes) -> Any:
    """A value of `kind`. EngineError when the bytes are none: the two sides are of different versions."""
    try:
        return _adapter(kind).validate_json(data)
    except ValidationError as error:
        raise EngineError("the worker's two processes do not understand each other") from error


def encode_request(request: Request) -> bytes:
    return json.dumps([type(request).__name__, encode(request).decode()]).encode()


def decode_request(data: bytes) -> Request:
    try:
        name, fields = json.loads(data)
        kind = _BY_NAME[name]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError("the worker's runner got a call that it does not know") from error
    request: Request = decode(kind, fields.encode())
    return request


def decode_error(payload: bytes) -> PrixfixeError:
    """What went wrong on the other side, of the same class."""
    return PrixfixeError.from_problem(json.loads(payload))


class Channel:
    """One end of a call. Many threads may send, one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """RunnerLost when the other side has gone."""
        if len(payload) > _MOST_BYTES:
            raise EngineError(f"{len(payload)} bytes are too many for one message to the worker's runner")
        try:
            with self._sending:  # a frame is never in the middle of another
                self._socket.sendall(_HEADER.pack(kind, len(payload)))
                self._socket.sendall(payload)
        except OSError as error:
            raise RunnerLost("the worker's runner went away") from error

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame. RunnerLost when the other side has gone."""
        kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if length > _MOST_BYTES:
            raise EngineError(f"{length} bytes are too many for one message of the worker's runner")
        return kind, self._exactly(length)

    def data(self) -> Iterator[bytes]:
        """The bytes of an archive until its end."""
        while (frame := self.receive())[0] == DATA:
            yield frame[1]

    def fail(self, error: PrixfixeError) -> None:
        self.send(ERROR, json.dumps(error.to_problem()).encode())

    def close(self) -> None:
        self._socket.close()

    def deafen(self) -> None:
        """End the reading of whoever reads here."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                part = self._socket.recv(min(size - len(found), CHUNK_BYTES))
            except OSError as error:
                raise RunnerLost("the worker's runner went away") from error
            if not part:
                raise RunnerLost("the worker's runner went away")
            found += part
        return bytes(found)
