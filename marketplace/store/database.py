"""The database: short transactions, and notifications that leave with their commit.

SQLite by default, in write-ahead mode with every commit flushed, so that what the service acknowledged is
there after a power cut. Readers never wait for the writer. Writers take turns: inside this process by a lock
(SQLite's own way of waiting is to sleep and try again), between processes by `BEGIN IMMEDIATE`, which asks
for the write lock first instead of failing in the middle.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from marketplace.store.topics import Topics
from prixfixe.errors import ConfigurationError, Unavailable

_BUSY_SECONDS: Final = 15.0
_WRITE: Final = "prixfixe_write"
_TOPICS: Final = "prixfixe_topics"


def notify(connection: Connection, topic: str) -> None:
    """Queue a wake-up for `topic`, delivered after the commit of this `Store.write`."""
    topics = connection.info.get(_TOPICS)
    if topics is None:
        raise RuntimeError("notify belongs into a write")
    topics.append(topic)


class Store:
    """The service's tables and wake-ups. One per process; used from any thread.

    url: an SQLAlchemy address, `sqlite:////var/lib/prixfixe/prixfixe.db` for a file. A database in memory is
    refused: each of its connections would see another one.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.url: Final = url
        self._sqlite: Final = parsed.get_backend_name() == "sqlite"
        if self._sqlite and parsed.database in (None, "", ":memory:"):
            raise ConfigurationError(
                "the store needs a file, not a database in memory",
                hint="use sqlite:////path/to/prixfixe.db",
            )
        self.engine: Final = _engine(url, self._sqlite)
        self._writing = threading.Lock()
        self._writer: int | None = None
        self._topics = Topics()

    @staticmethod
    def at(path: Path) -> Store:
        """The store in an SQLite file."""
        return Store(f"sqlite:///{path.absolute()}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write. Commits at the end, then delivers what `notify` queued; an exception
        rolls everything back, notifications included. Keep it short: writers take turns."""
        if self._writer == threading.get_ident():
            raise RuntimeError("a write inside a write of the same thread would wait for itself")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                topics: list[str] = []
                with self._connect() as connection:
                    writing = connection.execution_options(**{_WRITE: True})
                    writing.info[_TOPICS] = topics
                    try:
                        with writing.begin():
                            yield writing
                    finally:
                        writing.info.pop(_TOPICS, None)
            finally:
                self._writer = None
        if topics:
            self._topics.deliver(topics)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent state of all tables, rolled back at the end."""
        with self._connect() as connection:
            yield connection

    def notify(self, connection: Connection, topic: str) -> None:
        """Queue a wake-up for `topic`, delivered after the commit of this `write`."""
        notify(connection, topic)

    def sequence(self, topics: Iterable[str] = ()) -> int:
        """A mark for `wait(..., since=mark)`: take it, look at the tables, then wait."""
        return self._topics.sequence()

    def wait(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """Sleep until one of `topics` is notified after `since` (from now on, when None); those that were,
        or an empty set after `timeout` seconds. May return once too often, never too late."""
        return self._topics.wait(topics, timeout, since)

    async def wait_async(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """As `wait`, without holding a thread."""
        return await self._topics.wait_async(topics, timeout, since)

    def wake(self, topic: str) -> None:
        """Wake those who wait for `topic` without a write: at shutdown, or for what is outside the tables."""
        self._topics.deliver([topic])

    def migrate(self) -> None:
        """Bring the tables to this version of the service; nothing happens when they are."""
        if self._is_current():
            return
        # Alembic takes half a second to import, which only a start with something to migrate should pay.
        from marketplace.store.migrations import upgrade

        upgrade(self)

    def _is_current(self) -> bool:
        """Whether the tables are those of the newest migration, whose revision is its file's number."""
        files = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
        newest = max(file.name.partition("_")[0] for file in files)
        with self.read() as connection:
            try:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
            except DatabaseError:  # no such table yet
                return False
        return list(found) == [newest]

    def close(self) -> None:
        """Give the connections back. The store cannot be used afterwards."""
        self.engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            connection = self.engine.connect()
        except OperationalError as error:
            raise Unavailable("the store cannot be opened", code="store-unavailable") from error
        with connection:
            yield connection


def _engine(url: str, sqlite: bool) -> Engine:
    if not sqlite:
        return create_engine(url, pool_pre_ping=True, pool_size=20, max_overflow=20)
    engine = create_engine(
        url,
        pool_size=20,
        max_overflow=60,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own idea of when to begin is turned off; `_begin` below says it.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-16384",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options: Any = connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITE) else "BEGIN")

    return engine
