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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from marketplace.store.listening import Hearing
from marketplace.store.topics import Topics
from prixfixe.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_PIPE: Final = ".wake"
_EVERYTHING: Final = b"*"  # instead of a topic: look at everything again
_MOST_BYTES: Final = 4096  # of a message: what a pipe takes whole or not at all (PIPE_BUF)
_LOOK_SECONDS: Final = 0.0005  # between looks whether the turn is free; a write takes a few of them
_READ_BYTES: Final = 65_536
_CHECK_SECONDS: Final = 5.0  # between looks whether the own pipe is still there, while nobody says anything


def meeting(database: Path) -> Path:
    """The folder where the processes on a database meet, by whatever links they come; made if it is not
    there. ConfigurationError when it cannot be."""
    found = database.resolve()
    folder = found.with_name(found.name + ".processes")
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"processes cannot meet in {folder}: {error.strerror}",
            code="no-meeting",
            hint="this user makes files, locks and named pipes there; a whole service does without",
        ) from error


class Locked:
    """Who leads a duty holds the lock of a file; a process that is gone holds none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def leads(self, duty: str) -> bool:
        with self._lock:
            if not self._holds(duty):
                self._folder.mkdir(exist_ok=True)
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
        with self._lock:
            if not self._holds(duty):
                raise Unavailable(f"another process may lead the {duty} by now", code="not-leading")

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
        except OSError:  # nobody ever did, or it is nobody's whom this user may know
            return False
        try:
            return not _locked(file, fcntl.LOCK_SH)  # beside others that look
        finally:
            os.close(file)

    def _holds(self, duty: str) -> bool:
        """Whether the lock is held, and of the file that others find: somebody may delete the folder."""
        if (file := self._held.get(duty)) is None:
            return False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(self._path(duty))):
                return True
        os.close(self._held.pop(duty))
        log.warning("this process leads the %s no more: the lock's file is gone", duty)
        return False

    def _path(self, duty: str) -> Path:
        return self._folder / f"{duty}.duty"


class Pipes(Hearing):
    """What a process tells after its commits goes into the pipe of each other process. And the right to
    write, which one process has at a time.

    Nobody waits for a process that does not read: when its pipe is full it is taken away, and whoever finds
    its own gone makes another and looks at everything again. So does everybody when a process was killed,
    which may have left something untold.
    """

    def __init__(self, folder: Path, topics: Topics, name: str) -> None:
        super().__init__(topics)
        self._folder = folder
        self._name = name
        self._number = 0  # of the next pipe
        with _told(folder):
            self._turn: tuple[int, int] | None = (_opened(folder / "turn"), _opened(folder / "next"))
            os.close(self._made(folder / f"{name}.new"))
            (folder / f"{name}.new").unlink()
        self._untold = False

    def close(self) -> None:
        """Stop listening, and write nothing any more."""
        super().close()
        with self._lock:
            files, self._turn = self._turn or (), None
            for file in files:
                os.close(file)

    @contextmanager
    def turn(self, until: float) -> Iterator[None]:
        # SQLite's own way of waiting is to sleep for longer and longer. Who just had a turn stands behind
        # whoever is next.
        if (files := self._turn) is None:
            raise _no_turn("it is closed here")
        turn, next_ = files
        with ExitStack() as taken:
            for file in (next_, turn):
                _take(file, until)
                taken.callback(_let_go, file)
            _let_go(next_)
            yield

    def before_commit(self, connection: Connection, topics: Iterable[str]) -> None:
        pass

    def after_commit(self, topics: Iterable[str]) -> None:
        told = list(_parts(topic.encode() for topic in dict.fromkeys(topics)))
        if self._untold:
            self._untold, told = False, [_EVERYTHING + b"\n"]
        if self._tell(told):
            log.warning("a process on this database was killed: the others look at everything again")
            self._topics.deliver_all()
            self._tell([_EVERYTHING + b"\n"])

    def _tell(self, messages: Sequence[bytes]) -> bool:
        """Whether a process that is gone was found."""
        dead = False
        try:
            for name in os.listdir(self._folder):
                if name.endswith(_PIPE) and not name.startswith(self._name):
                    dead |= self._say(self._folder / name, messages)
        except OSError as error:  # what was written is written, and is made up for the next time
            log.warning("other processes are not told what was written: %s", error.strerror)
            self._untold = True
        return dead

    def _say(self, path: Path, messages: Sequence[bytes]) -> bool:
        """Whether the pipe is that of a process that is gone."""
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            with suppress(OSError):  # another user's, perhaps
                if error.errno == errno.ENXIO:  # nobody has it open
                    path.unlink()
                    return True
            return False
        try:
            for message in messages:
                os.write(pipe, message)
        except BlockingIOError:
            with suppress(OSError):  # somebody else was quicker; or it has read everything just before
                path.unlink()
                os.write(pipe, b"\n")
        except BrokenPipeError:
            pass  # it ended just now
        finally:
            os.close(pipe)
        return False

    def _made(self, path: Path) -> int:
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR)  # for writing too: so it never ends

    def _why(self, error: Exception) -> str:
        return str(error)

    def _hear(self, stopped: socket.socket) -> None:
        """Until the pipe is gone, or it is to stop."""
        # Never a name twice: whoever takes a pipe away may mean the one before.
        own = self._folder / f"{self._name}-{self._number}{_PIPE}"
        self._number += 1
        # It gets its name once it is open, as one that is not is what a killed process left.
        fresh = own.with_suffix(".new")
        self._folder.mkdir(exist_ok=True)
        pipe = self._made(fresh)
        try:
            fresh.rename(own)
            self._listens()
            heard = b""
            with selectors.DefaultSelector() as ready:
                ready.register(pipe, selectors.EVENT_READ)
                ready.register(stopped, selectors.EVENT_READ)
                while own.exists() and not self._stopping.is_set():
                    if pipe in (key.fd for key, _ in ready.select(_CHECK_SECONDS)):
                        *lines, heard = (heard + os.read(pipe, _READ_BYTES)).split(b"\n")
                        self._deliver(lines)
        finally:
            with suppress(OSError):
                own.unlink()  # before it is closed, which would look like a death
            os.close(pipe)

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


def _take(file: int, until: float) -> None:
    """Unavailable when another process has its lock until then."""
    try:
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise _no_turn("another process keeps writing")
            time.sleep(_LOOK_SECONDS)
    except OSError as error:
        raise _no_turn(str(error.strerror)) from error


def _let_go(file: int) -> None:
    with suppress(OSError):  # closed meanwhile, which ended it
        fcntl.flock(file, fcntl.LOCK_UN)


def _no_turn(why: str) -> Unavailable:
    log.warning("the store failed: %s", why)
    return Unavailable("the store does not answer", code="store-unavailable")


def _locked(file: int, how: int) -> bool:
    """Whether the file's lock was free, and is held from now on."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
