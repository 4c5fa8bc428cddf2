"""Who leads a duty: of all processes on one database, one at a time.

On SQLite a whole service is alone on its data folder and leads everything; parts of one share the locks of
files (`marketplace.store.beside`). On PostgreSQL a process leads while a connection of its own holds the
duty's advisory lock: the server gives it to another as soon as that connection is gone, however the process
ended. A leader whose connection broke may not know yet; so each of its writes asks first, within its turn to
write, whether the lock is still its own.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterable
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, text

from marketplace.store.faults import FAULTS
from prixfixe.errors import Unavailable

log = logging.getLogger(__name__)

_CLASS: Final = 0x70726978  # "prix": of the advisory locks, those of duties
_HELD: Final = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND granted AND pid = :pid"
    " AND classid = :class AND objid = :duty AND objsubid = 2)"
)
_ALL_HELD: Final = text(
    "SELECT objid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND granted AND classid = :class"
    " AND objsubid = 2"
)


class Leading(Protocol):
    """What a duty asks."""

    def leads(self, duty: str) -> bool:
        """Whether this process leads the duty, from now on if nobody does."""

    def is_elsewhere(self, duty: str) -> bool:
        """Whether another process leads it, as the database says; False while that is away."""

    def require(self, connection: Connection, duty: str) -> None:
        """Unavailable unless it still does, as this write sees it."""

    def led(self, connection: Connection, duties: Iterable[str]) -> set[str]:
        """Those of the duties that this or another process leads now."""

    def release(self, duty: str) -> None:
        """Let another process lead it."""

    def close(self) -> None:
        """Lead nothing any more."""


class Alone:
    """Nobody else is there."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def leads(self, duty: str) -> bool:
        self._held.add(duty)
        return True

    def is_elsewhere(self, duty: str) -> bool:
        return False

    def require(self, connection: Connection, duty: str) -> None:
        pass

    def led(self, connection: Connection, duties: Iterable[str]) -> set[str]:
        return self._held.intersection(duties)

    def release(self, duty: str) -> None:
        self._held.discard(duty)

    def close(self) -> None:
        pass


class Elected:
    """Among the processes on a PostgreSQL database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Any = None  # the driver's own, apart from the pool
        self._pooled: Any = None
        self._pid = 0
        self._held: set[str] = set()

    def leads(self, duty: str) -> bool:
        with self._lock:
            try:
                if self._connection is None:
                    self._connect()
                if duty in self._held:
                    self._connection.execute("SELECT 1")
                    return True
                asked = self._connection.execute(
                    "SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, _number(duty))
                )
                if not asked.fetchone()[0]:
                    return False
            except (*FAULTS, self._engine.dialect.loaded_dbapi.Error):
                self._drop()
                return False
            self._held.add(duty)
            log.info("this process leads the %s", duty)
            return True

    def is_elsewhere(self, duty: str) -> bool:
        with self._lock:
            return self._connection is not None and duty not in self._held

    def require(self, connection: Connection, duty: str) -> None:
        held = {"pid": self._pid, "class": _CLASS, "duty": _number(duty)}
        if not connection.execute(_HELD, held).scalar_one():
            raise Unavailable(f"another process may lead the {duty} by now", code="not-leading")

    def led(self, connection: Connection, duties: Iterable[str]) -> set[str]:
        held = set(connection.execute(_ALL_HELD, {"class": _CLASS}).scalars())
        return {duty for duty in duties if _number(duty) in held}

    def release(self, duty: str) -> None:
        with self._lock:
            if duty in self._held:
                self._held.discard(duty)
                try:
                    self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_CLASS, _number(duty)))
                except self._engine.dialect.loaded_dbapi.Error:
                    self._drop()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _connect(self) -> None:
        pooled = self._engine.raw_connection()
        own: Any = pooled.driver_connection
        pooled.detach()  # the pool makes itself another one
        own.autocommit = True
        self._pooled = pooled  # closes it when nobody knows of it any more
        self._connection, self._pid = own, own.info.backend_pid

    def _drop(self) -> None:
        if self._held:
            log.warning("this process leads no more: %s", ", ".join(sorted(self._held)))
        self._held.clear()
        if self._pooled is not None:
            self._pooled.close()
            self._pooled = self._connection = None


def _number(duty: str) -> int:
    return zlib.crc32(duty.encode("ascii")) & 0x7FFFFFFF
