"""A service of several processes on one store and a chain in memory, of which nothing goes on by itself: what
`prixfixe.testing.Histories` drives.

Each process has store, use cases and duties of its own, as `serve` builds them, and shares with the others
what processes share: the tables, the folder, the chain, and who leads which duty. `Election` stands where
PostgreSQL's advisory locks are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Dialect, event, func, select

from marketplace.chain import MarketReader
from marketplace.placing import Placing
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.database import COOL_DOWN_SECONDS, Store
from marketplace.store.tables import asks, attempts, deals, jobs, lots, workers
from prixfixe.chain.client import MarketClient
from prixfixe.errors import Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.reports import LotReport
from prixfixe.testing import company
from prixfixe.testing.chain import MemoryChain
from prixfixe.testing.company import DUTIES, Trouble
from prixfixe.testing.market import OPERATOR
from scheduler import restoring
from scheduler.accounting import check_money, stuck, unfinished
from scheduler.rehearsal import put_file
from scheduler.serve import ServeOptions, build_duties, describe
from scheduler.striking import Killed, Line, Places

_DOMAIN: Final = "market.test"
_COMPILED: Final[dict[Any, Any]] = {}


class Election:
    """Who leads what, as the database's server knows it."""

    def __init__(self) -> None:
        self.leaders: dict[str, Seat] = {}


class Seat:
    """A process's place in the election, in the store's `leading`: like `leading.Elected`, it finds out that
    its locks are lost when it next asks for one."""

    def __init__(self, election: Election) -> None:
        self._election = election
        self._held: set[str] = set()

    def leads(self, duty: str) -> bool:
        leaders = self._election.leaders
        if any(leaders.get(each) is not self for each in self._held):
            self._held.clear()
            return False
        if leaders.setdefault(duty, self) is not self:
            return False
        self._held.add(duty)
        return True

    def is_elsewhere(self, duty: str) -> bool:
        return duty not in self._held

    def require(self, connection: Connection, duty: str) -> None:
        if self._election.leaders.get(duty) is not self:
            raise Unavailable(f"another process may lead the {duty} by now", code="not-leading")

    def led(self, connection: Connection, duties: Iterable[str]) -> set[str]:
        return self._election.leaders.keys() & set(duties)

    def release(self, duty: str) -> None:
        self._held.discard(duty)
        if self._election.leaders.get(duty) is self:
            del self._election.leaders[duty]

    def lose(self) -> None:
        """The server gives its locks to whoever asks."""
        for duty in [each for each, seat in self._election.leaders.items() if seat is self]:
            del self._election.leaders[duty]

    close = lose


class Process:
    """One process of it."""

    def __init__(self, of: Company) -> None:
        """Unavailable without a chain."""
        self.places: Final = Places(lambda: of.overtake(self))
        self._seat: Final = Seat(of.election)
        client = MarketClient(Line(of.chain, self.places), of.chain.deployment.market)
        policy, reader = client.policy(), MarketReader(client.rpc, client.contract)
        described = describe(of.settings, client, policy, OPERATOR)
        self._store: Final = _opened(of.settings.data / "prixfixe.db", of.settings.cool_down_seconds)
        self._store.leading = self._seat
        self.places.watch(self._store.engine)
        self._at: Final = Services.build(of.settings, described, self._store, reader, OPERATOR, of.clock)
        options = ServeOptions(of.settings.data, "", "", confirmations=of.confirmations)
        built = build_duties(
            options, self._at, client, reader, OPERATOR, policy, of.chain.deployment, of.clock
        )
        self._duties: Final = {duty.name: duty for duty in built}
        self.alive = True

    # ------------------------------------------------------------------------------------ what comes to it

    def arm(self, trouble: Trouble, after: int) -> None:
        self.places.arm(trouble, after)

    def disarm(self) -> None:
        self.places.disarm()

    def lose_locks(self) -> None:
        self._seat.lose()

    def kill(self) -> None:
        self.alive = False
        self._seat.lose()
        self._store.engine.dispose()

    @contextmanager
    def _step(self) -> Iterator[Services]:
        gone = Unavailable("this process of the service does not answer", code="service-silent")
        if not self.alive:
            raise gone
        try:
            yield self._at
        except Killed:
            self.kill()
            raise gone from None

    # ------------------------------------------------------------------------------------------------- duties

    def turn(self, duty: company.Duty) -> bool:
        with self._step():
            return self._duties[duty].turn() is not None

    # ---------------------------------------------------------------------------------------------------- API

    def publish(self, definition: BundleDefinition, publisher: str, archive: bytes) -> None:
        with self._step() as at:
            name = put_file(at, archive, publisher)
            publication = wire.BundlePublication(definition=definition.to_json(), image_archive=name)
            at.bundles.publish(publisher, publication)

    def quote(self, request: wire.QuoteRequest) -> wire.Quote:
        with self._step() as at:
            return at.quotes.quote(request)

    def quote_bid(self, request: wire.BidQuoteRequest) -> wire.BidQuote:
        with self._step() as at:
            return at.bid_quotes.quote(request)

    def order(self, request: wire.JobRequest) -> str:
        with self._step() as at:
            return at.orders.place(Placing(request)).job

    def job(self, job: str, customer: str) -> wire.Job:
        with self._step() as at:
            return at.jobs.get(job, customer)

    def cancel(self, job: str, customer: str) -> None:
        with self._step() as at:
            at.jobs.cancel(job, customer)

    def put(self, content: bytes, owner: str) -> str:
        with self._step() as at:
            return put_file(at, content, owner)

    def get(self, sha256: str, reader: str) -> bytes:
        with self._step() as at:
            return at.blobs.open(sha256, reader).read()

    def register(self, key: str, registration: wire.WorkerRegistration) -> None:
        with self._step() as at:
            at.workers.register(key, registration)

    def beat(self, key: str, heartbeat: wire.Heartbeat) -> wire.HeartbeatAnswer:
        with self._step() as at:
            return at.workers.beat(key, heartbeat)

    def assigned(self, key: str) -> list[wire.Assignment]:
        with self._step() as at:
            return at.assignments.next_each(key, 32)

    def start(self, attempt: str, key: str) -> None:
        with self._step() as at:
            at.assignments.start(attempt, key)

    def commit(self, attempt: str, key: str, request: wire.CommitRequest) -> None:
        with self._step() as at:
            at.rounds.commit(attempt, key, request)

    def open(self, attempt: str, key: str, request: wire.OpenRequest) -> None:
        with self._step() as at:
            at.rounds.open(attempt, key, request)

    def round(self, attempt: str, key: str) -> wire.Round:
        with self._step() as at:
            return at.rounds.look(attempt, key)[1]

    def report(self, attempt: str, key: str, report: LotReport) -> wire.ReportAnswer:
        with self._step() as at:
            return at.assignments.report(attempt, key, report)


class Company:
    """So many processes, and what is true of their tables."""

    def __init__(
        self,
        chain: MemoryChain,
        folder: Path,
        clock: Callable[[], float],
        settings: Mapping[str, Any],
        *,
        processes: int,
        confirmations: int,
    ) -> None:
        """folder: an empty one, theirs. settings: of `ServiceSettings`, those that are not the usual ones.
        confirmations: as `serve` takes it."""
        self.chain, self.clock, self.confirmations = chain, clock, confirmations
        self.settings: Final = ServiceSettings(data=folder, domain=_DOMAIN, **settings)
        self.silence_seconds: Final = self.settings.silence_seconds
        self.election: Final = Election()
        self._store: Final = _empty_at(folder / "prixfixe.db")
        self._places: Final[list[Places]] = []
        self.processes: list[company.Process] = []
        for _ in range(processes):
            self.processes.append(self._begun())

    def begin(self, number: int) -> None:
        assert not self.processes[number].alive
        self.processes[number] = self._begun()

    def _begun(self) -> Process:
        process = Process(self)
        self._places.append(process.places)
        return process

    def overtake(self, slow: Process) -> None:
        """Another process leads, and does everything once, while this one stands still."""
        slow.lose_locks()
        for other in self.processes:
            if other is not slow and other.alive:
                for duty in DUTIES:
                    with suppress(Unavailable):
                        other.turn(duty)
                return

    def happened(self) -> list[str]:
        struck = [each for places in self._places for each in places.struck]
        with self._store.read() as connection:
            ends = connection.execute(select(attempts.c.state, attempts.c.reason)).all()
        return struck + [f"an attempt {row.state}: {(row.reason or {}).get('code', 'well')}" for row in ends]

    def unfinished(self) -> dict[str, dict[str, int]]:
        return unfinished(self._store)

    def stuck(self) -> str:
        return stuck(self._store)

    def with_two_deals(self) -> list[tuple[str, int]]:
        counted = select(deals.c.job, deals.c.lot).where(deals.c.state.in_(("open", "settled")))
        query = counted.group_by(deals.c.job, deals.c.lot).having(func.count() > 1)
        with self._store.read() as connection:
            return [(row.job, row.lot) for row in connection.execute(query)]

    def left_lying(self) -> list[str]:
        """Among workers that are heard and rest from no failure, with an ask that lives; without those that
        failed the lot. An order that is matched whole or not at all may want more slots than there are."""
        failed = (attempts.c.job == lots.c.job) & (attempts.c.lot == lots.c.lot)
        failed &= (attempts.c.worker == asks.c.worker) & (attempts.c.state == "failed")
        able = func.count(asks.c.provider.distinct())
        query = (
            select(lots.c.job, lots.c.lot, lots.c.waiting_reason, able.label("able"))
            .join(jobs, jobs.c.id == lots.c.job)
            .join(asks, asks.c.product == jobs.c.product)
            .join(workers, workers.c.key == asks.c.worker)
            .where(
                lots.c.state == "free",
                ~jobs.c.whole,
                lots.c.not_before <= self.clock(),
                asks.c.expiry > self.chain.time,
                workers.c.cool_until <= self.clock(),
                workers.c.heartbeat_at >= self.clock() - self.silence_seconds,
                ~select(attempts.c.id).where(failed).exists(),
            )
            .group_by(lots.c.job, lots.c.lot, lots.c.waiting_reason, jobs.c.replicas)
            .having(able >= jobs.c.replicas)
        )
        with self._store.read() as connection:
            return [
                f"lot {row.lot} of {row.job}: {row.able} workers; {row.waiting_reason}"
                for row in connection.execute(query)
            ]

    def check_books(self) -> Counter[str]:
        return check_money(self.chain.client(), self.chain.deployment, self._store)

    def rebuilt(self) -> str:
        start = self.chain.deployment.block
        found = restoring.prove(
            self._store, self.chain.client(), start, self.settings.data, fresh_at=_empty_at
        )
        return "" if found.is_whole else found.to_text()

    def close(self) -> None:
        for process in self.processes:
            if process.alive:
                process.kill()
        self._store.close()


def _opened(path: Path, cool_down_seconds: float = COOL_DOWN_SECONDS) -> Store:
    """The store in a file, quickly: no power is cut here, and a statement is the same in every process."""
    store = Store(f"sqlite:///{path}", cool_down_seconds)
    store.engine.dialect = _dialect()  # of which the memory of statements asks first
    store.engine.update_execution_options(compiled_cache=_COMPILED)

    @event.listens_for(store.engine, "connect")
    def _hurry(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF").close()

    return store


def _empty_at(path: Path) -> Store:
    path.write_bytes(_empty_store())
    return _opened(path)


@cache
def _dialect() -> Dialect:
    """That of a store that was in use."""
    with tempfile.TemporaryDirectory(prefix="prixfixe-store-") as folder:
        store = Store.at(Path(folder) / "prixfixe.db")
        with store.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        store.close()
        return store.engine.dialect


@cache
def _empty_store() -> bytes:
    """An SQLite file with the tables of today: to make it takes longer than to copy it."""
    folder = Path(tempfile.mkdtemp(prefix="prixfixe-store-"))
    try:
        store = Store.at(folder / "prixfixe.db")
        store.migrate()
        store.close()  # the last connection moves what the log holds into the file
        return (folder / "prixfixe.db").read_bytes()
    finally:
        shutil.rmtree(folder)
