"""Wake-ups between processes: what a store asks of the others, and how it is on PostgreSQL, where each hears
what the others' commits notify (`marketplace.store.beside` has it for SQLite).

A notification is part of the transaction (`pg_notify`), so it leaves with the commit and never without it. A
process hears its own at once, without the database. Whenever the listening connection was away, something may
have been said meanwhile: then everybody who waits looks again.
"""

from __future__ import annotations

import json
import logging
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, text

from marketplace.store.topics import Topics

log = logging.getLogger(__name__)

_CHANNEL: Final = "prixfixe"
_MOST_BYTES: Final = 7000  # of a payload, which PostgreSQL bounds at 7,999
_NOTIFY: Final = text(f"SELECT pg_notify('{_CHANNEL}', :told)")
_FIRST_PAUSE_SECONDS: Final = 0.1
_LAST_PAUSE_SECONDS: Final = 2.0


class Neighbours(Protocol):
    """The other processes on a database."""

    def start(self) -> None:
        """Hear of what they write, from now on."""

    def turn(self, until: float) -> AbstractContextManager[None]:
        """While it lasts none of them writes. Unavailable when one of them does until then (by the monotonic
        clock)."""

    def before_commit(self, connection: Connection, topics: Iterable[str]) -> None:
        """Within a write that is about to be committed."""

    def after_commit(self, topics: Iterable[str]) -> None:
        """They have heard of the topics once both were called."""

    def close(self) -> None:
        """Have nothing to do with them any more."""


def _parts(topics: Iterable[str]) -> Iterator[list[str]]:
    """What fits one notification, and so on."""
    part: list[str] = []
    size = 0
    for topic in topics:
        if part and size + len(topic) > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(topic)
        size += len(topic) + 4
    if part:
        yield part


class Hearing:
    """A thread that brings what other processes tell to this process's topics. A subclass gives `_hear`."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stop: socket.socket | None = None
        self._pause = 0.0  # seconds, after it failed

    def start(self) -> None:
        """Begin to listen, once. Until it listens nothing is missed: it wakes everybody when it does."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._stop, stopped = socket.socketpair()
                self._thread = threading.Thread(
                    target=self._loop, args=(stopped,), name="listener", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            self._stopping.set()
            if self._thread is not None and self._stop is not None:
                self._stop.close()
                self._thread.join()

    def _hear(self, stopped: socket.socket) -> None:
        """Call `_listens`, then hear until `stopped` can be read, or until it has to begin anew."""
        raise NotImplementedError

    def _listens(self) -> None:
        if self._pause:
            log.info("other processes are heard again")
        self._pause = 0.0
        self._topics.deliver_all()  # nobody knows what was said before

    def _why(self, error: Exception) -> str:
        return type(error).__name__

    def _loop(self, stopped: socket.socket) -> None:
        while not self._stopping.wait(self._pause):
            try:
                self._hear(stopped)
            except Exception as error:  # without this thread nobody would hear anything any more
                if not self._pause:
                    log.warning("other processes are not heard: %s; trying again", self._why(error))
                self._pause = min(2 * self._pause + _FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS)
        stopped.close()


class Listener(Hearing):
    """On PostgreSQL, on a connection of its own. name: of this process, by which it knows its own
    notifications."""

    def __init__(self, engine: Engine, topics: Topics, name: str) -> None:
        super().__init__(topics)
        self._engine = engine
        self._name = name

    def turn(self, until: float) -> AbstractContextManager[None]:
        return nullcontext()  # each transaction that writes begins with the database's lock

    def before_commit(self, connection: Connection, topics: Iterable[str]) -> None:
        for part in _parts(dict.fromkeys(topics)):
            connection.execute(_NOTIFY, {"told": json.dumps([self._name, *part])})

    def after_commit(self, topics: Iterable[str]) -> None:
        pass

    def _hear(self, stopped: socket.socket) -> None:
        with self._engine.connect() as pooled:
            connection: Any = pooled.connection.driver_connection
            pooled.detach()  # the pool makes itself another one
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            self._listens()
            with selectors.DefaultSelector() as ready:
                ready.register(connection.fileno(), selectors.EVENT_READ)
                ready.register(stopped, selectors.EVENT_READ)
                while not self._stopping.is_set():
                    ready.select()
                    for heard in connection.notifies(timeout=0):
                        self._deliver(heard.payload)

    def _deliver(self, payload: str) -> None:
        told: Sequence[str] = json.loads(payload)
        if told[0] != self._name:
            self._topics.deliver(told[1:])
