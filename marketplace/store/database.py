"""The database: short transactions, and notifications that leave with their commit.

SQLite by default, in write-ahead mode with every commit flushed that says nothing else, so that what the
service acknowledged is there after a power cut; PostgreSQL by address, for several processes. On both readers
never wait for the writer, and writers take turns: inside this process by a lock (SQLite's own way of waiting
is to sleep and try again), between processes by the database. So what a writer read stays true until it
commits, and no transaction fails half-way for what another one did. A flush to the disk takes longer than
what most writers do: those that wait for the same one can share it (`Store.together`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from marketplace.store import engines, faults, leading, listening
from marketplace.store.topics import Topics

T = TypeVar("T")

log = logging.getLogger(__name__)

_TOPICS: Final = "prixfixe_topics"


def notify(connection: Connection, topic: str) -> None:
    """Queue a wake-up for `topic`, delivered after the commit of this `Store.write`."""
    topics = connection.info.get(_TOPICS)
    if topics is None:
        raise RuntimeError("notify belongs into a write")
    topics.append(topic)


@dataclass(slots=True, eq=False)
class _Wish:
    """Work for the writer, and what became of it."""

    work: Callable[[Connection], Any]
    flush: bool
    result: Any = None
    error: Exception | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Raised:
    """What a work raised instead of giving something."""

    error: Exception


def _within(connection: Connection, wish: _Wish, topics: list[str]) -> None:
    """Work beside others' in one transaction. What is raised here is the end of the transaction."""
    before = len(topics)
    try:
        with connection.begin_nested():
            wish.result = wish.work(connection)
    except Exception as error:
        wish.error = faults.told(error) if isinstance(error, faults.FAULTS) else error
        del topics[before:]
        if connection.invalidated:  # the database is gone, and the transaction with it
            raise
        # SQLite ends the whole transaction where, say, the disk is full.
        driver: Any = connection.connection.dbapi_connection
        if not getattr(driver, "in_transaction", True):
            raise


class Store:
    """The service's tables and wake-ups. One per process; used from any thread.

    url: an SQLAlchemy address: `sqlite:////var/lib/prixfixe/prixfixe.db` for a file (a database in memory is
    refused: each of its connections would see another one), `postgresql+psycopg://USER@HOST/DATABASE` for
    PostgreSQL. ConfigurationError for any other.
    """

    def __init__(self, url: str) -> None:
        parsed = engines.parse(url)
        self.url: Final = url
        self.engine: Final[Engine] = engines.connect(parsed)
        self._writing = threading.Lock()
        self._writer: int | None = None
        self._wishes: deque[_Wish] = deque()
        self._topics = Topics()
        self._name = secrets.token_hex(8)
        self._fences = threading.local()
        self.leading: leading.Leading = leading.Alone()
        self._listener: listening.Listener | None = None
        if parsed.get_backend_name() == "postgresql":
            self._listener = listening.Listener(self.engine, self._topics, self._name)
            self.leading = leading.Elected(self.engine)

    @staticmethod
    def at(path: Path) -> Store:
        """The store in an SQLite file."""
        return Store(f"sqlite:///{path.absolute()}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write. Commits at the end, then delivers what `notify` queued; an exception
        rolls everything back, notifications included. Keep it short: writers take turns."""
        topics: list[str] = []
        with self._turn(), self._transaction(topics) as connection:
            yield connection
        if topics:
            self._topics.deliver(topics)

    def together(self, work: Callable[[Connection], T], *, flush: bool = True) -> T:
        """What `work` gives of a transaction that may write, once that is on the disk.

        As `write`, for short work that many threads have at once: whoever's turn it is does the work of all
        that wait in one transaction, each within a savepoint, and flushes once. What one of them raises is
        raised where it was asked for, and undoes only what it did. When the whole fails, each is done again
        alone: `work` may do nothing but read, write and `notify`. flush: without it what was written outlives
        the process, and a power cut only when something was flushed since.
        """
        (result,) = self.each_together([work], flush=flush)
        if isinstance(result, Raised):
            raise result.error
        return result

    def each_together(
        self, works: Sequence[Callable[[Connection], T]], *, flush: bool = True
    ) -> list[T | Raised]:
        """As `together` for several at once, done in their order: what each gives, or what it raised."""
        if not works:
            return []
        wishes = [_Wish(work, flush) for work in works]
        self._wishes.extend(wishes)
        topics: list[str] = []
        with self._turn():
            if not all(wish.done for wish in wishes):
                waiting = [self._wishes.popleft() for _ in range(len(self._wishes))]
                there = set(waiting)  # without those whose taker was interrupted
                waiting += [wish for wish in wishes if not wish.done and wish not in there]
                topics = self._fulfil(waiting)
        if topics:
            self._topics.deliver(topics)
        return [cast(T, wish.result) if wish.error is None else Raised(wish.error) for wish in wishes]

    def _fulfil(self, wishes: Sequence[_Wish]) -> list[str]:
        """All of them in one transaction, or each in its own; what they notify."""
        topics: list[str] = []
        if len(wishes) > 1:
            try:
                with self._transaction(topics, any(wish.flush for wish in wishes)) as connection:
                    for wish in wishes:
                        _within(connection, wish, topics)
            except Exception:
                log.warning("%d writes failed together and are done one by one", len(wishes), exc_info=True)
                topics.clear()
            else:
                for wish in wishes:
                    wish.done = True
                return topics
        for wish in wishes:
            own: list[str] = []
            wish.error = None
            try:
                with self._transaction(own, wish.flush) as connection:
                    wish.result = wish.work(connection)
                topics += own
            except Exception as error:
                wish.error = error
            wish.done = True
        return topics

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The right to write, among the threads of this process."""
        if self._writer == threading.get_ident():
            raise RuntimeError("a write inside a write of the same thread would wait for itself")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                yield
            finally:
                self._writer = None

    @contextmanager
    def _transaction(self, topics: list[str], flush: bool = True) -> Iterator[Connection]:
        """topics: where `notify` puts what it queues. flush: to the disk, before the commit returns."""
        with self._connect() as connection:
            writing = connection.execution_options(**{engines.WRITE: True, engines.FLUSH: flush})
            writing.info[_TOPICS] = topics
            try:
                with writing.begin():
                    if (duty := getattr(self._fences, "duty", None)) is not None:
                        self.leading.require(writing, duty)
                    yield writing
                    engines.require_whole(writing)
                    if topics and self._listener is not None:
                        listening.tell(writing, self._name, topics)
            finally:
                writing.info.pop(_TOPICS, None)

    @contextmanager
    def led(self, duty: str) -> Iterator[None]:
        """While it lasts, a write of this thread is Unavailable once another process may lead the duty."""
        self._fences.duty = duty
        try:
            yield
        finally:
            self._fences.duty = None

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
        self._listen()
        return self._topics.sequence()

    def wait(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """Sleep until one of `topics` is notified after `since` (from now on, when None); those that were,
        or an empty set after `timeout` seconds. May return once too often, never too late."""
        self._listen()
        return self._topics.wait(topics, timeout, since)

    async def wait_async(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """As `wait`, without holding a thread."""
        self._listen()
        return await self._topics.wait_async(topics, timeout, since)

    def wake(self, topic: str) -> None:
        """Wake those in this process who wait for `topic`, without a write: at shutdown, or for what is
        outside the tables."""
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
        if self._listener is not None:
            self._listener.close()
        self.leading.close()
        self.engine.dispose()

    def _listen(self) -> None:
        """Whoever waits hears other processes, too. Those who never wait need no connection for it."""
        if self._listener is not None:
            self._listener.start()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except faults.FAULTS as error:
            raise faults.told(error) from error
