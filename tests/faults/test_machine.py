"""The market's store and duties against a chain in memory, in any order of orders, work, restarts and bad
luck that Hypothesis thinks of: no money is made or lost on the way, and in the end nothing waits.

Store (SQLite), matcher, relayer, indexer and reaper are the service's own; each step of theirs is one of the
machine's, so that everything else can happen between any two.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from itertools import chain, repeat
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from marketplace.store import engines
from marketplace.store.attempting import attempt_started
from marketplace.store.tables import asks, attempts, deals, jobs, lots
from marketplace.store.transitions import job_cancelled
from prixfixe.errors import Conflict, StorageFull, Unavailable
from prixfixe.keys import LocalSigner
from prixfixe.protocol.ledger import Open
from prixfixe.protocol.wire import Reason
from prixfixe.testing.chain import MemoryChain
from scheduler.duty import Duty
from tests.faults.accounting import check_money, stuck, unfinished
from tests.support.market import memory_market
from tests.support.scheduling import Service

DUTIES = ["matcher", "relayer", "indexer", "reaper"]
FULL = os.environ.get("PRIXFIXE_TEST_SIZE") == "full"
START = 1_900_000_000
LONG = 8_000  # seconds after which every order has ended
CUSTOMERS_FAULT = Reason(code="no-column", message="there is no column 'x'", fault="customer")
PROVIDERS_FAULT = Reason(code="no-memory", message="the machine has too little memory", fault="provider")


class Machine(RuleBasedStateMachine):
    """A market, its customer, two workers of different providers, and the ways of the world."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="prixfixe-machine-"))
        self.now = float(START)
        # Leases, cool-downs and pauses of the service go by the host's clock, which stands in the test's
        # hand.
        self.clock = mock.patch("time.time", self.time)
        self.clock.start()
        market = memory_market(START)
        assert isinstance(market.chain, MemoryChain)
        self.chain = market.chain
        self.service = Service(market, self.folder, heard_seconds=0.0)
        self.service.list_offer()
        self.workers = [self.service.ready_worker(number, slots=2) for number in (0, 1)]
        self.chain.advance(1)
        self.base = self.chain.head  # what the people did beforehand is not taken back
        self.jobs: list[str] = []

    def teardown(self) -> None:
        try:
            event("ended by itself" if self.come_to_rest() else "ended by time")
            left = unfinished(self.service.store)
            assert not left, f"{left}\n{stuck(self.service.store)}"
            for name in check_money(self.service.client, self.chain.deployment, self.service.store):
                event(f"a market in which there was {name}")  # shown by --hypothesis-show-statistics
        finally:
            self.close()

    def close(self) -> None:
        self.service.close()
        self.clock.stop()
        shutil.rmtree(self.folder)

    def time(self) -> float:
        return self.now

    # ------------------------------------------------------------------------------------------ people

    @initialize(tasks=st.integers(1, 3))
    def order_first(self, tasks: int) -> None:
        self.order(tasks)

    @precondition(lambda self: len(self.jobs) < 6)
    @rule(tasks=st.integers(1, 3))
    def order(self, tasks: int) -> None:
        number = len(self.jobs) + 1
        self.jobs.append(self.service.order(tasks=tasks, lot=1, nonce=number))

    @rule(number=st.integers(0, 5))
    def cancel(self, number: int) -> None:
        job = self.jobs[number % len(self.jobs)]
        # A worker may have it already, or it may be over.
        with contextlib.suppress(Conflict), self.service.store.write() as connection:
            job_cancelled(connection, job)

    @rule(which=st.integers(0, 1))
    def beats(self, which: int) -> None:
        self.service.beat(self.workers[which])

    @rule(which=st.integers(0, 1))
    def starts(self, which: int) -> None:
        for attempt in self.attempts_of(self.workers[which], "assigned"):
            with self.service.store.write() as connection:
                attempt_started(connection, attempt)

    @rule(which=st.integers(0, 1), ends=st.sampled_from(["well", "well", "customer", "provider"]))
    def reports(self, which: int, ends: str) -> None:
        for attempt in self.attempts_of(self.workers[which], "running")[:1]:
            self.report(self.workers[which], attempt, ends)

    def report(self, worker: LocalSigner, attempt: str, ends: str) -> None:
        reason = {"customer": CUSTOMERS_FAULT, "provider": PROVIDERS_FAULT}.get(ends)
        status = {"customer": 5, "provider": 6}.get(ends, 0)
        with contextlib.suppress(Conflict):  # its deal is over
            self.service.report(worker, status=status, reason=reason, attempt=attempt)

    def attempts_of(self, worker: LocalSigner, *states: str) -> list[str]:
        """Of open deals, as the worker is told them."""
        with self.service.store.read() as connection:
            return list(
                connection.execute(
                    select(attempts.c.id)
                    .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
                    .where(
                        attempts.c.worker == worker.address,
                        attempts.c.state.in_(states),
                        deals.c.state == "open",
                    )
                    .order_by(attempts.c.created_at, attempts.c.id)
                ).scalars()
            )

    # ------------------------------------------------------------------------------------------ duties

    @rule(which=st.sampled_from(DUTIES))
    def does(self, which: str) -> None:
        self.attempt(getattr(self.service, which))

    @rule()
    def does_all(self) -> None:
        for duty in (self.service.matcher, self.service.relayer, self.service.indexer, self.service.reaper):
            self.attempt(duty)

    @rule(which=st.sampled_from(DUTIES), before=st.integers(0, 3))
    def does_until_the_disk_is_full(self, which: str, before: int) -> None:
        """One of its writes, after some that went well, fails at its very end: nothing of that one stays."""
        commits = chain([None] * before, [StorageFull("there is no room left")], repeat(None))
        with mock.patch.object(engines, "require_whole", side_effect=commits):
            self.attempt(getattr(self.service, which))

    @staticmethod
    def attempt(duty: Duty) -> None:
        """As its thread does: what is out of reach, or has no room, is tried again later."""
        with contextlib.suppress(Unavailable):
            duty.run_once()

    @precondition(lambda self: self.chain.dials.reachable)
    @rule()
    def restarts(self) -> None:
        """Killed: nothing of its memory is kept. A service does not begin without a chain."""
        self.service = self.service.restarted()

    # ------------------------------------------------------------------------------------------ the world

    @rule(seconds=st.sampled_from([1, 1, 2, 3, 20]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.chain.advance(seconds)

    @rule()
    def blocks_are_held_back(self) -> None:
        self.chain.dials.automine = False

    @rule()
    def blocks_come_at_once(self) -> None:
        self.chain.dials.automine = True
        self.chain.mine()

    @rule()
    def the_node_forgets_what_waits(self) -> None:
        self.chain.lose_waiting()

    @rule(blocks=st.integers(1, 3))
    def the_chain_is_reorganised(self, blocks: int) -> None:
        self.chain.reorganise(min(blocks, self.chain.head - self.base))

    @rule(reachable=st.booleans())
    def the_node_comes_and_goes(self, reachable: bool) -> None:
        self.chain.dials.reachable = reachable

    # ------------------------------------------------------------------------------------------ truths

    @invariant()
    def money_is_conserved(self) -> None:
        ledger = self.chain.ledger
        accounts = [ledger.account(owner) for owner in ledger.accounts]
        open_ = [lot for lot in ledger.lots.values() if isinstance(lot, Open)]
        owed = sum(each.free + each.cur + each.prev for each in accounts)
        owed += sum(each.deal.price * each.deal.count for each in open_)
        assert owed == ledger.held == ledger.token.balances[ledger.market]

    @invariant()
    def no_lot_has_two_deals_that_count(self) -> None:
        with self.service.store.read() as connection:
            found = connection.execute(
                select(deals.c.job, deals.c.lot).where(deals.c.state.in_(("open", "settled")))
            ).all()
        assert len(found) == len(set(found))

    def come_to_rest(self) -> bool:
        """The world is kind, the workers are honest, and time passes. Whether all ended before orders did."""
        self.chain.dials.reachable = True
        self.blocks_come_at_once()
        for _ in range(40):
            for worker in self.workers:
                self.service.beat(worker)
                for attempt in self.attempts_of(worker, "assigned"):
                    with self.service.store.write() as connection:
                        attempt_started(connection, attempt)
                for attempt in self.attempts_of(worker, "running"):
                    self.report(worker, attempt, "well")
            self.does_all()
            if by_itself := not unfinished(self.service.store):
                break
            self.time_passes(2)
        else:
            assert not (left := self.left_lying()), f"a worker could have them: {left}"
            # Without anybody who can do it an order ends at its time.
            self.time_passes(LONG)
            for _ in range(6):
                self.does_all()
                self.time_passes(10)
        for _ in range(3):
            self.does_all()
        return by_itself

    def left_lying(self) -> list[tuple[str, int, str]]:
        """Free lots that a worker may have which did not fail them and whose ask is live, with its key."""
        failed = (attempts.c.job == lots.c.job) & (attempts.c.lot == lots.c.lot)
        failed &= (attempts.c.worker == asks.c.worker) & (attempts.c.state == "failed")
        query = select(lots.c.job, lots.c.lot, asks.c.worker).where(
            lots.c.state == "free",
            lots.c.not_before <= self.now,
            asks.c.expiry >= self.chain.time,
            ~select(attempts.c.id).where(failed).exists(),
        )
        with self.service.store.read() as connection:
            return [(row.job, row.lot, row.worker) for row in connection.execute(query)]


@pytest.mark.parametrize("troubled", [False, True], ids=["kind", "troubled"])
def test_where_a_worker_is_left_every_lot_is_paid(troubled: bool) -> None:
    machine = Machine()
    try:
        machine.order_first(tasks=3)
        if troubled:
            machine.does_all()
            machine.starts(which=0)
            machine.time_passes(seconds=20)
            machine.does_all()
            assert "lost" in {row["state"] for row in machine.service.rows(attempts)}
            machine.the_chain_is_reorganised(blocks=2)
            machine.the_node_forgets_what_waits()
            machine.restarts()
        assert machine.come_to_rest()
        assert {row["state"] for row in machine.service.rows(lots)} == {"settled"}
        assert {row["state"] for row in machine.service.rows(jobs)} == {"settled"}
    finally:
        machine.close()


Machine.TestCase.settings = settings(
    max_examples=200 if FULL else 15,
    stateful_step_count=60 if FULL else 40,
    derandomize=not FULL,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_whatever_happens_in_whatever_order = Machine.TestCase
