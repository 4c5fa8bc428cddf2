"""The database: short transactions, and notifications that leave with their commit.

SQLite by default, in write-ahead mode with every commit flushed that says nothing else, so that what the
service acknowledged is there after a power cut; PostgreSQL by address, for processes on several machines. On
both readers never wait for the writer, and writers take turns: inside this process by a lock (SQLite's own
way of waiting is to sleep and try again), between processes by the database, or by a lock beside the file. So
what a writer read stays true until it commits, and no transaction fails half-way for what another one did. A
flush to the disk takes longer than what most writers do: those that wait for the same one can share it
(`Store.together`).
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from marketplace.store import beside, engines, faults, leading, listening
from marketplace.store.topics import Topics
from prixfixe.errors import Unavailable
from prixfixe.logs import ids

T = TypeVar("T")

log = logging.getLogger(__name__)
journal = logging.getLogger("prixfixe.jobs")  # what becomes of orders

_LEAVING: Final = "prixfixe_leaving"
_COOL_DOWN: Final = "prixfixe_cool_down"
COOL_DOWN_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Leaving:
    """What leaves with a commit and not without: wake-ups, and lines of the log."""

    topics: list[str] = field(default_factory=list)
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def mark(self) -> tuple[int, int]:
        return len(self.topics), len(self.lines)

    def back_to(self, mark: tuple[int, int]) -> None:
        del self.topics[mark[0] :]
        del self.lines[mark[1] :]

    def add(self, other: _Leaving) -> None:
        self.topics += other.topics
        self.lines += other.lines


def notify(connection: Connection, topic: str) -> None:
    """Queue a wake-up for `topic`, delivered after the commit of this `Store.write`."""
    _leaving(connection).topics.append(topic)


def tell(connection: Connection, line: str, **named: Any) -> None:
    """Queue a line for the log, written after the commit of this `Store.write` with these ids: `job` first of
    all, which binds an order's lines in every process from its first to its settlement."""
    if journal.isEnabledFor(logging.INFO):
        _leaving(connection).lines.append((line, named))


def first_cool_down(connection: Connection) -> float:
    """How long a worker pauses after a first failure."""
    return float(connection.get_execution_options()[_COOL_DOWN])


def _leaving(connection: Connection) -> _Leaving:
    leaving: _Leaving | None = connection.info.get(_LEAVING)
    if leaving is None:
        raise RuntimeError("what leaves with a commit belongs into a write")
    return leaving


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


def _within(connection: Connection, wish: _Wish, leaving: _Leaving) -> None:
    """Work beside others' in one transaction. What is raised here is the end of the transaction."""
    before = leaving.mark()
    try:
        with connection.begin_nested():
            wish.result = wish.work(connection)
    except Exception as error:
        wish.error = faults.told(error) if isinstance(error, faults.FAULTS) else error
        leaving.back_to(before)
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
    PostgreSQL. ConfigurationError for any other. cool_down_seconds: without a new deal, for a worker that
    just failed one. shared: with other processes of this machine that say so too, when it is a file; what is
    on PostgreSQL always is.
    """

    def __init__(
        self, url: str, cool_down_seconds: float = COOL_DOWN_SECONDS, *, shared: bool = False
    ) -> None:
        parsed = engines.parse(url)
        self.url: Final = url
        self.engine: Final[Engine] = engines.connect(parsed)
        self.engine.update_execution_options(**{_COOL_DOWN: cool_down_seconds})
        self._writing = threading.Lock()
        self._writer: int | None = None
        self._wishes: deque[_Wish] = deque()
        self._topics = Topics()
        self._fences = threading.local()
        self.leading: leading.Leading = leading.Alone()
        self._neighbours: listening.Neighbours | None = None
        name = secrets.token_hex(8)
        if parsed.get_backend_name() == "postgresql":
            self._neighbours = listening.Listener(self.engine, self._topics, name)
            self.leading = leading.Elected(self.engine)
        elif shared:
            folder = beside.meeting(Path(str(parsed.database)))
            self._neighbours = beside.Pipes(folder, self._topics, name)
            self.leading = beside.Locked(folder)

    @staticmethod
    def at(path: Path) -> Store:
        """The store in an SQLite file."""
        return Store(f"sqlite:///{path.absolute()}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write. Commits at the end, then delivers what `notify` queued; an exception
        rolls everything back, notifications included. Keep it short: writers take turns."""
        leaving = _Leaving()
        with (
            self._among_threads() as until,
            self._among_processes(until),
            self._transaction(leaving) as connection,
        ):
            yield connection
        self._let_go(leaving)

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
        leaving = _Leaving()
        with self._among_threads() as until:
            if not all(wish.done for wish in wishes):
                waiting = [self._wishes.popleft() for _ in range(len(self._wishes))]
                there = set(waiting)  # without those whose taker was interrupted
                waiting += [wish for wish in wishes if not wish.done and wish not in there]
                try:
                    with self._among_processes(until):
                        leaving = self._fulfil(waiting)
                except Unavailable as error:  # none of them is done, and nobody waits as long again
                    for wish in waiting:
                        wish.error, wish.done = error, True
        self._let_go(leaving)
        return [cast(T, wish.result) if wish.error is None else Raised(wish.error) for wish in wishes]

    def _let_go(self, leaving: _Leaving) -> None:
        """After the commit."""
        if leaving.topics:
            self._topics.deliver(leaving.topics)
            if self._neighbours is not None:
                self._neighbours.after_commit(leaving.topics)
        for line, named in leaving.lines:
            journal.info(line, extra=ids(**named))

    def _fulfil(self, wishes: Sequence[_Wish]) -> _Leaving:
        """All of them in one transaction, or each in its own; what leaves with them."""
        leaving = _Leaving()
        if len(wishes) > 1:
            try:
                with self._transaction(leaving, any(wish.flush for wish in wishes)) as connection:
                    for wish in wishes:
                        _within(connection, wish, leaving)
            except Exception:
                log.warning("%d writes failed together and are done one by one", len(wishes), exc_info=True)
                leaving = _Leaving()
            else:
                for wish in wishes:
                    wish.done = True
                return leaving
        for wish in wishes:
            own = _Leaving()
            wish.error = None
            try:
                with self._transaction(own, wish.flush) as connection:
                    wish.result = wish.work(connection)
                leaving.add(own)
            except Exception as error:
                wish.error = error
            wish.done = True
        return leaving

    @contextmanager
    def _among_threads(self) -> Iterator[float]:
        """The right to write, among the threads of this process; until when to wait for the other processes:
        who waited for another thread's waiting has waited enough."""
        until = time.monotonic() + engines.PATIENCE_SECONDS
        if self._writer == threading.get_ident():
            raise RuntimeError("a write inside a write of the same thread would wait for itself")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                yield until
            finally:
                self._writer = None

    @contextmanager
    def _transaction(self, leaving: _Leaving, flush: bool = True) -> Iterator[Connection]:
        """leaving: where `notify` and `tell` put what they queue. flush: to the disk, before the commit
        returns."""
        with self._connect() as connection:
            writing = connection.execution_options(**{engines.WRITE: True, engines.FLUSH: flush})
            writing.info[_LEAVING] = leaving
            try:
                with writing.begin():
                    if (duty := getattr(self._fences, "duty", None)) is not None:
                        self.leading.require(writing, duty)
                    yield writing
                    engines.require_whole(writing)
                    if leaving.topics and self._neighbours is not None:
                        self._neighbours.before_commit(writing, leaving.topics)
            finally:
                writing.info.pop(_LEAVING, None)

    def _among_processes(self, until: float) -> AbstractContextManager[None]:
        """The right to write, among the processes on the database."""
        return nullcontext() if self._neighbours is None else self._neighbours.turn(until)

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
        if self.is_current():
            return
        # Alembic takes half a second to import, which only a start with something to migrate should pay.
        from marketplace.store.migrations import upgrade

        upgrade(self)

    def is_current(self) -> bool:
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
        if self._neighbours is not None:
            self._neighbours.close()
        self.leading.close()
        self.engine.dispose()

    def _listen(self) -> None:
        """Whoever waits hears other processes, too. Those who never wait need no connection for it."""
        if self._neighbours is not None:
            self._neighbours.start()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except faults.FAULTS as error:
            raise faults.told(error) from error
