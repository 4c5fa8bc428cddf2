"""Random histories of a market: whatever happens in whatever order, no money is made or lost, and in the end
nothing waits.

    from prixfixe.testing.histories import Histories

    class Mine(Histories):
        definition = load("bundles/mine")
        ...

    TestMine = Mine.TestCase

Hypothesis puts together orders, work, refusals, silence, replicas that disagree, processes that die and start
again, leaders that are overtaken in the middle of what they do, disks that are full, a database and a node
that give no answer, transactions that are held back or forgotten, and re-organisations; and shortens what
fails to the few steps that it takes.

Tables, use cases and duties are the service's own. What stands for something else: all processes are in this
one, and one moves at a time, so that two meet only where one hands something to the store or the chain, and
there only the one way that `overtaken` says; a process that is killed has its open transaction rolled back
and its `finally` clauses run; the tables are in one SQLite file, and who leads which duty is decided as
PostgreSQL's locks would; the chain is `MemoryChain`. HTTP, the command line, containers, the worker's daemon,
managed accounts, disputes and checks by the verifier are not in it. It needs the extra `service`, and
`hypothesis`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final
from unittest import mock

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from prixfixe.chain.client import MarketClient
from prixfixe.chain.parameters import Policy
from prixfixe.errors import PrixfixeError, Unavailable
from prixfixe.keys import LocalSigner, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.hashing import sha256
from prixfixe.protocol.ledger import Open
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import order_of
from prixfixe.testing.chain import CHAIN_ID, MARKET, MemoryChain
from prixfixe.testing.company import DUTIES, TROUBLES, Company, Duty, Process, Trouble
from prixfixe.testing.market import ADMIN, CUSTOMER, IMAGE, POLICY, PRICING, ROLES, service_module
from prixfixe.testing.purchase import BUNDLE, Purchase
from prixfixe.testing.seller import CONDUCTS, Conduct, Seller
from prixfixe.testing.work import Task

_START: Final = 1_900_000_000
_YEAR: Final = 365 * 86_400
_SLOTS: Final = 2
_MOST_JOBS: Final = 6
_CONDUCT: Final = st.sampled_from(("well", "well", *CONDUCTS))
_SERVICE: Final = "scheduler.stepping"


class Histories(RuleBasedStateMachine):
    """A market, its customer, workers of different providers, and the ways of the world.

    A subclass says what market it is, in its class: definition, the bundle that is sold, with an image's
    digest; purchases, the ways in which it is ordered; policy, the contract's numbers; service, the
    operator's settings by their names in `ServiceSettings`; ask, what a worker wants for a task (None: the
    least that a tier may cost); money, what the customer has; providers, how many there are, each with one
    worker. `run_task` takes the container's place, and `at_rest` looks at how the jobs ended. Rules and
    invariants of the subclass's own are Hypothesis's.

    A history can also be told step by step, without Hypothesis: make one, in `contextlib.closing`, so that
    the host's clock is given back when a step fails; `begin()`, call its rules, and end with `teardown()`.
    """

    definition: ClassVar[BundleDefinition | Mapping[str, Any]] = BUNDLE
    purchases: ClassVar[Sequence[Purchase]] = (Purchase(),)
    policy: ClassVar[Policy] = replace(POLICY, grace=4)
    service: ClassVar[Mapping[str, Any]] = {}
    ask: ClassVar[Money | None] = None
    money: ClassVar[Money] = Money.parse("1000")
    providers: ClassVar[int] = 4

    def run_task(self, task: Task) -> Mapping[str, bytes]:
        """What a task gives, as `prixfixe_run`; the same each time. Gives back the inputs."""
        return task.inputs

    def at_rest(self, jobs: Sequence[wire.Job]) -> None:
        """Looks at all jobs at the end of a history, when each is over and the books agree."""

    # ------------------------------------------------------------------------------------------ the beginning

    def __init__(self) -> None:
        super().__init__()
        self.now = float(_START)
        self.jobs: list[str] = []
        self._orders = 0
        with contextlib.ExitStack() as closing:
            self._folder = Path(tempfile.mkdtemp(prefix="prixfixe-histories-"))
            closing.callback(shutil.rmtree, self._folder)
            self._prepare()
            # Leases, cool-downs and pauses of the service go by the host's clock: it stands in the test's
            # hand, and is given back also where nothing else was made.
            closing.enter_context(mock.patch("time.time", self.time))
            self._closing = closing.pop_all()

    def _prepare(self) -> None:
        """What is sold, the chain, and what people have on it."""
        given = self.definition
        self.sold = given if isinstance(given, BundleDefinition) else BundleDefinition.model_validate(given)
        self.product: Product = self.sold.limits.product
        self.price = self.ask or min(tier.max_cost for tier in self.sold.tiers)
        self.chain = MemoryChain(self.policy, ROLES, time=_START)
        self.contract: MarketClient = self.chain.client()
        self._fund(CUSTOMER, self.money)
        self.sellers = [self._seller(number) for number in range(self.providers)]
        for _, _, offer in self.sold.offers():
            self.contract.publish(PRICING, offer, self.chain.time + _YEAR, Money(0))
        self.chain.advance(1)
        self._base = self.chain.head  # what the people did beforehand is not taken back

    @initialize(
        processes=st.sampled_from([2, 2, 1]),
        confirmations=st.sampled_from([0, 0, 2]),
        replicas=st.integers(0, 9),
    )
    def begin(self, processes: int = 2, confirmations: int = 0, replicas: int = 0) -> None:
        """The service starts, its workers register, and somebody orders."""
        self.company = _company(self, self._folder, processes, confirmations)
        self._closing.callback(self.company.close)
        self.processes[0].publish(self.sold, PRICING.address, b"an image")
        for seller in self.sellers:
            seller.register(self.processes[0])
            self._beat(seller, self.processes[0])
        self._buy(self.processes[0], self.purchases[0], replicas)  # what cannot be bought is told at once

    def time(self) -> float:
        """The host's clock, seconds since the epoch."""
        return self.now

    @property
    def processes(self) -> list[Process]:
        """The service's, dead or alive."""
        return self.company.processes

    def teardown(self) -> None:
        try:
            if hasattr(self, "company"):
                self._require_good_end()
        finally:
            self.close()

    def close(self) -> None:
        """Ends it where it is, with no look at what is true; once more does nothing."""
        self._closing.close()

    # ---------------------------------------------------------------------------------------------- customers

    @rule(which=st.integers(0, 9), replicas=st.integers(0, 9), at=st.integers(0, 1))
    def buys(self, which: int, replicas: int, at: int) -> None:
        """The bundle, in one of its ways, with one of its numbers of replicas."""
        with self._answered(at) as process:
            self._buy(process, self.purchases[which % len(self.purchases)], replicas)

    @rule(
        tasks=st.integers(1, 4),
        lot=st.integers(1, 2),
        replicas=st.sampled_from([1, 1, 2, 3]),
        kind=st.sampled_from(["flat", "auction"]),
        whole=st.booleans(),
        at=st.integers(0, 1),
    )
    def bids(self, tasks: int, lot: int, replicas: int, kind: wire.BidKind, whole: bool, at: int) -> None:
        """For tasks of any image, at the price of the asks or in the auction."""
        with self._answered(at) as process:
            request = wire.BidQuoteRequest(
                customer=CUSTOMER.address,
                kind=kind,
                product=self.product,
                image=IMAGE,
                command=(),
                tasks=tasks,
                lot=lot,
                replicas=replicas,
                determinism="exact" if replicas > 1 else "none",
                price=self.price * (2 * replicas),
                whole=whole,
            )
            self._order(process, process.quote_bid(request))

    def _buy(self, process: Process, purchase: Purchase, replicas: int) -> None:
        for content in purchase.inputs.values():
            process.put(content, CUSTOMER.address)
        chosen = self.sold.replicas[replicas % len(self.sold.replicas)]
        self._order(process, process.quote(purchase.request(CUSTOMER.address, self.sold.id, chosen)))

    def _order(self, process: Process, quote: wire.Quote | wire.BidQuote) -> None:
        if len(self.jobs) == _MOST_JOBS:
            return
        self._orders += 1
        order = order_of(quote, MARKET, expiry=quote.order_expiry, nonce=self._orders)
        signature = "0x" + sign_typed(CUSTOMER, order, self.contract.domain).hex()
        # Should no answer come, the order may be there all the same.
        self.jobs.append("0x" + order.digest(self.contract.domain).hex())
        process.order(wire.JobRequest(quote=quote.id, order=order, signature=signature))

    @rule(number=st.integers(0, _MOST_JOBS - 1), at=st.integers(0, 1))
    def cancels(self, number: int, at: int) -> None:
        """A worker may have it already, or it may be over."""
        with self._answered(at) as process:
            process.cancel(self.jobs[number % len(self.jobs)], CUSTOMER.address)

    # ------------------------------------------------------------------------------------------------ workers

    @rule(which=st.integers(0, 9), at=st.integers(0, 1))
    def beats(self, which: int, at: int) -> None:
        with self._answered(at) as process:
            self._beat(self._seller_of(which), process)

    @rule(which=st.integers(0, 9), at=st.integers(0, 1))
    def takes(self, which: int, at: int) -> None:
        """A worker starts what it was assigned."""
        with self._answered(at) as process:
            self._seller_of(which).take(process)

    @rule(
        which=st.integers(0, 9),
        conduct=_CONDUCT,
        at=st.integers(0, 1),
    )
    def works(self, which: int, conduct: Conduct, at: int) -> None:
        """A worker runs something, or goes one step on with what it ran."""
        with self._answered(at) as process:
            self._seller_of(which).go_on(process, self.run_task, conduct)

    @rule(which=st.integers(0, 9))
    def worker_dies(self, which: int) -> None:
        """And starts again, with its journal."""
        self._seller_of(which).die()

    # ------------------------------------------------------------------------------------------------ service

    @rule(at=st.integers(0, 1), duty=st.sampled_from(DUTIES))
    def does(self, at: int, duty: Duty) -> None:
        self._turn(self._process(at), duty)

    @rule(at=st.integers(0, 1))
    def does_all(self, at: int) -> None:
        for duty in DUTIES:
            self._turn(self._process(at), duty)

    @rule(
        at=st.integers(0, 1),
        times=st.integers(1, 3),
        conducts=st.lists(_CONDUCT, min_size=1, max_size=4),
    )
    def all_goes_on(self, at: int, times: int = 1, conducts: Sequence[Conduct] = ("well",)) -> None:
        """For some seconds: each duty runs, each worker beats, starts what it was assigned, and goes one step
        on in its own way."""
        for _ in range(times):
            self.does_all(at)
            for number, seller in enumerate(self.sellers):
                conduct = conducts[number % len(conducts)]
                with self._answered(at) as process:
                    if conduct != "silent":
                        self._beat(seller, process)
                        seller.take(process)
                        seller.go_on(process, self.run_task, conduct)
            self.time_passes(1)

    @rule(at=st.integers(0, 1), odd=st.integers(0, 9), conduct=_CONDUCT)
    def replicas_go_on(self, at: int, odd: int, conduct: Conduct) -> None:
        """The bundle with as many replicas as it is sold with, for some seconds; one worker goes on in its
        own way."""
        conducts: list[Conduct] = ["well"] * self.providers
        conducts[odd % self.providers] = conduct
        self.buys(0, self.sold.replicas.index(max(self.sold.replicas)), at)
        self.all_goes_on(at, 3, conducts)

    @rule(at=st.integers(0, 1), trouble=st.sampled_from(TROUBLES), after=st.integers(0, 12))
    def trouble_comes(self, at: int, trouble: Trouble, after: int) -> None:
        """In the middle of one of the next steps of a process."""
        self._process(at).arm(trouble, after)

    @rule(at=st.integers(0, 1))
    def is_killed(self, at: int) -> None:
        self._process(at).kill()

    @rule(at=st.integers(0, 1))
    def starts(self, at: int) -> None:
        """A process that is gone. It does not begin without a chain."""
        number = at % len(self.processes)
        if not self.processes[number].alive:
            with contextlib.suppress(Unavailable):
                self.company.begin(number)

    @rule(at=st.integers(0, 1))
    def loses_its_locks(self, at: int) -> None:
        """The other process may lead what this one did, and this one does not know yet."""
        self._process(at).lose_locks()

    # ---------------------------------------------------------------------------------------------- the world

    @rule(seconds=st.sampled_from([1, 1, 2, 3, 20, 100]))
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
        self.chain.reorganise(min(blocks, self.chain.head - self._base))

    @rule(reachable=st.booleans())
    def the_node_comes_and_goes(self, reachable: bool) -> None:
        self.chain.dials.reachable = reachable

    # ------------------------------------------------------------------------------------------------- truths

    @invariant()
    def money_is_conserved(self) -> None:
        ledger = self.chain.ledger
        accounts = [ledger.account(owner) for owner in ledger.accounts]
        open_ = [lot for lot in ledger.lots.values() if isinstance(lot, Open)]
        owed = sum(each.free + each.cur + each.prev for each in accounts)
        owed += sum(each.deal.price * each.deal.count for each in open_)
        owed += sum(bundle.float_ for bundle in ledger.bundles.values())
        assert owed == ledger.held == ledger.token.balances[ledger.market]

    @invariant()
    def no_lot_has_two_deals_that_count(self) -> None:
        if hasattr(self, "company"):
            assert not (found := self.company.with_two_deals()), f"two deals count: {found}"

    def come_to_rest(self) -> bool:
        """The world is kind, all processes live, the workers are honest, and time passes. Whether all ended
        before its orders did."""
        self.chain.dials.reachable = True
        self.blocks_come_at_once()
        for number, process in enumerate(self.processes):
            process.disarm()
            self.starts(number)
        for _ in range(40):
            for seller in self.sellers:
                with self._answered(0) as process:
                    self._beat(seller, process)
                    seller.take(process)
                    while seller.go_on(process, self.run_task):
                        pass
            self._all_do_all()
            if not self.company.unfinished():
                return True
            self.time_passes(2)
        assert not (left := self.company.left_lying()), f"workers could have them: {left}"
        # Without anybody who can do it an order ends at its time.
        for _ in range(8):
            self.time_passes(self.sold.service_level // 4 + self.policy.grace)
            self._all_do_all()
        return False

    def _all_do_all(self) -> None:
        for process in self.processes:
            for duty in DUTIES:
                self._turn(process, duty)

    def _require_good_end(self) -> None:
        _tell("ended by itself" if self.come_to_rest() else "ended by time")
        for _ in range(3):
            self._all_do_all()
        left = self.company.unfinished()
        assert not left, f"{left}\n{self.company.stuck()}"
        for name in self.company.check_books():
            _tell(f"a market in which there was {name}")
        assert not (differs := self.company.rebuilt()), differs
        for what in self.company.happened():
            _tell(what)
        self.at_rest(self._ended())

    # ------------------------------------------------------------------------------------------------ helpers

    def _ended(self) -> list[wire.Job]:
        """The jobs of all orders that were taken."""
        found = []
        for job in self.jobs:
            with contextlib.suppress(PrixfixeError):
                found.append(self.processes[0].job(job, CUSTOMER.address))
        return found

    def _process(self, at: int) -> Process:
        return self.processes[at % len(self.processes)]

    def _seller_of(self, which: int) -> Seller:
        return self.sellers[which % len(self.sellers)]

    @contextlib.contextmanager
    def _answered(self, at: int) -> Iterator[Process]:
        """A process that lives, if any does; whoever asks it takes an error for an answer."""
        process = self._process(at)
        if not process.alive:
            process = next((each for each in self.processes if each.alive), process)
        with contextlib.suppress(PrixfixeError):
            yield process

    @staticmethod
    def _turn(process: Process, duty: Duty) -> None:
        """As its thread does: what is out of reach, or has no room, is tried again later."""
        with contextlib.suppress(Unavailable):
            process.turn(duty)

    def _beat(self, seller: Seller, process: Process) -> None:
        seller.beat(process, self.price, (self.product,), self.chain.time)

    def _seller(self, number: int) -> Seller:
        provider, worker = (_key(f"{who} {number}") for who in ("provider", "worker"))
        self._fund(provider, Money.parse("100"))
        self.contract.authorise(provider, worker.address, self.chain.time + _YEAR)
        return Seller(f"w{number + 1}", worker, provider.address, self.contract.domain, _SLOTS)

    def _fund(self, signer: LocalSigner, amount: Money) -> None:
        self.contract.mint(ADMIN, signer.address, amount)
        self.contract.deposit(signer, amount)


def _tell(what: str) -> None:
    """Shown by --hypothesis-show-statistics."""
    if currently_in_test_context():
        event(what)


def _key(name: str) -> LocalSigner:
    return LocalSigner(sha256(name.encode()), chain_id=CHAIN_ID)


def _company(of: Histories, folder: Path, processes: int, confirmations: int) -> Company:
    company: Company = service_module(_SERVICE).Company(
        of.chain, folder, of.time, of.service, processes=processes, confirmations=confirmations
    )
    return company
