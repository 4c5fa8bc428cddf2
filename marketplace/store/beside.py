"""Several processes of one machine on one SQLite file: whose turn it is, who leads, and how they wake each
other.

All of it is files in a folder beside the database and ends with the process, however it ends: locks are the
kernel's (`flock`), and each process that waits for something hears the others by a named pipe of its own.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from marketplace.store.engines import PATIENCE_SECONDS
from marketplace.store.topics import Topics
from prixfixe.errors import Unavailable

log = logging.getLogger(__name__)

_PIPE: Final = ".wake"
_EVERYTHING: Final = b"*"  # instead of a topic: look at everything again
_MOST_BYTES: Final = 4096  # of a message: what a pipe takes whole or not at all (PIPE_BUF)
_LOOK_SECONDS: Final = 0.0005  # between looks whether the turn is free; a write takes a few of them
_READ_BYTES: Final = 65_536


def meeting(database: Path) -> Path:
    """The folder where the processes on a database meet, made if it is not there."""
    folder = database.with_name(database.name + ".processes")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Locked:
    """Who leads a duty holds the lock of a file; a process that is gone holds none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def leads(self, duty: str) -> bool:
        with self._lock:
            if duty not in self._held:
                file = _opened(self._path(duty))
                if not _locked(file, fcntl.LOCK_EX):
                    os.close(file)
                    return False
                self._held[duty] = file
                log.info("this process leads the %s", duty)
            return True

    def is_elsewhere(self, duty: str) -> bool:
        with self._lock:
            return duty not in self._held

    def require(self, connection: Connection, duty: str) -> None:
        pass  # the lock of a process that lives is taken by nobody

    def led(self, connection: Connection, duties: Iterable[str]) -> set[str]:
        return {duty for duty in duties if self._is_led(duty)}

    def release(self, duty: str) -> None:
        with self._lock:
            if (file := self._held.pop(duty, None)) is not None:
                os.close(file)

    def close(self) -> None:
        for duty in list(self._held):
            self.release(duty)

    def _is_led(self, duty: str) -> bool:
        with self._lock:
            if duty in self._held:
                return True
        try:
            file = os.open(self._path(duty), os.O_RDONLY)
        except FileNotFoundError:  # nobody ever did
            return False
        try:
            return not _locked(file, fcntl.LOCK_SH)  # beside others that look
        finally:
            os.close(file)

    def _path(self, duty: str) -> Path:
        return self._folder / f"{duty}.duty"


class Pipes:
    """What a process tells after its commits goes into the pipe of each other process. And the right to
    write, which one process has at a time.

    Nobody waits for a process that does not read: when its pipe is full it is taken away, and whoever finds
    its own gone makes another and looks at everything again. So does everybody when a process was killed,
    which may have left something untold.
    """

    def __init__(self, folder: Path, topics: Topics, name: str) -> None:
        self._folder = folder
        self._topics = topics
        self._own = folder / (name + _PIPE)
        self._turn = _opened(folder / "turn")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stop: socket.socket | None = None

    def start(self) -> None:
        """Begin to listen, once."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._stop, stopped = socket.socketpair()
                self._thread = threading.Thread(
                    target=self._hear, args=(self._make(), stopped), name="listener", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Stop listening, and write nothing any more."""
        with self._lock:
            self._stopping.set()
            if self._thread is not None and self._stop is not None:
                self._own.unlink(missing_ok=True)  # before it is closed, which would look like a death
                self._stop.close()
                self._thread.join()
                self._own.unlink(missing_ok=True)  # it may just have made another
                self._thread = None
            if self._turn >= 0:
                os.close(self._turn)
                self._turn = -1

    @contextmanager
    def turn(self) -> Iterator[None]:
        # SQLite's own way of waiting is to sleep for longer and longer.
        until = time.monotonic() + PATIENCE_SECONDS
        while not _locked(self._turn, fcntl.LOCK_EX):
            if time.monotonic() > until:
                log.warning("the store failed: another process has written for %d s", PATIENCE_SECONDS)
                raise Unavailable("the store does not answer", code="store-unavailable")
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def before_commit(self, connection: Connection, topics: Iterable[str]) -> None:
        pass

    def after_commit(self, topics: Iterable[str]) -> None:
        try:
            self._tell(list(_parts(topic.encode() for topic in dict.fromkeys(topics))))
        except OSError as error:  # what was written is written
            log.warning("other processes are not told what was written: %s", error.strerror)

    def _tell(self, messages: Sequence[bytes]) -> None:
        for name in os.listdir(self._folder):
            if name.endswith(_PIPE) and name != self._own.name:
                self._say(self._folder / name, messages)

    def _say(self, path: Path, messages: Sequence[bytes]) -> None:
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody has it open
                raise
            path.unlink(missing_ok=True)
            log.warning("a process on this database was killed: the others look at everything again")
            self._topics.deliver_all()
            self._tell([_EVERYTHING + b"\n"])
            return
        try:
            for message in messages:
                os.write(pipe, message)
        except BlockingIOError:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # it may have read everything just before
                os.write(pipe, b"\n")
        except BrokenPipeError:
            pass  # it ended just now
        finally:
            os.close(pipe)

    def _make(self) -> int:
        """An empty pipe of one's own. It gets its name once it is open, as one that is not is what a killed
        process left."""
        fresh = self._own.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        os.mkfifo(fresh, 0o600)
        pipe = os.open(fresh, os.O_RDWR)  # for writing too: so it never ends
        fresh.rename(self._own)
        return pipe

    def _hear(self, pipe: int, stopped: socket.socket) -> None:
        heard = b""
        while True:
            with selectors.DefaultSelector() as ready:
                ready.register(pipe, selectors.EVENT_READ)
                ready.register(stopped, selectors.EVENT_READ)
                while self._own.exists() and not self._stopping.is_set():
                    ready.select()
                    if not self._stopping.is_set():
                        *lines, heard = (heard + os.read(pipe, _READ_BYTES)).split(b"\n")
                        self._deliver(lines)
            os.close(pipe)
            if self._stopping.is_set():
                break
            pipe, heard = self._make(), b""
            self._topics.deliver_all()
        stopped.close()

    def _deliver(self, lines: Sequence[bytes]) -> None:
        if _EVERYTHING in lines:
            self._topics.deliver_all()
        else:
            self._topics.deliver(line.decode() for line in lines)


def _parts(topics: Iterable[bytes]) -> Iterator[bytes]:
    """A topic a line, as many as one message takes."""
    message = b""
    for topic in topics:
        if message and len(message) + len(topic) + 1 > _MOST_BYTES:
            yield message
            message = b""
        message += topic + b"\n"
    if message:
        yield message


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _locked(file: int, how: int) -> bool:
    """Whether the file's lock was free, and is held from now on."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
