"""The arbiter on a real chain: which cases it sees, what it judges, what it leaves alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prixfixe.chain import events
from prixfixe.errors import ConfigurationError, EngineError, NotFound, Unavailable
from prixfixe.keys import LocalSigner, sign_typed
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.disputes import LOT_GUILTY, Case, Claim, Ground
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus, leaf, merkle_root
from prixfixe.protocol.wire import CaseFile, CaseTask
from tests.support.market import LocalMarket
from tests.support.scheduling import until
from tests.worker.orders import Bought, buy, definition, open_deal
from worker.arbiter import Arbiter, ArbiterSettings
from worker.judging import Rerun
from worker.rerun import BenchSettings

pytestmark = pytest.mark.chain

CONTENT = b"an answer"
OUTPUTS = OutputManifest((OutputFile("out.csv", sha256_hex(CONTENT), len(CONTENT)),))
HONEST = Rerun(TaskStatus.SUCCEEDED, OUTPUTS.digest)
OTHER = Rerun(TaskStatus.SUCCEEDED, b"\x0f" * 32)


@dataclass
class Service:
    """What the arbiter is given over HTTP. file: None while the service is silent."""

    file: CaseFile | None
    blobs: dict[str, bytes] = field(default_factory=lambda: {sha256_hex(CONTENT): CONTENT})
    silent_sign_ins: int = 0
    asked: int = 0

    def sign_in(self, signer: LocalSigner) -> None:
        if self.silent_sign_ins:
            self.silent_sign_ins -= 1
            raise Unavailable("the service is silent")

    def case(self, deal: str) -> CaseFile:
        self.asked += 1
        if self.file is None or self.file.deal_id != deal:
            raise NotFound("no such case")
        return self.file

    @contextmanager
    def download(self, sha256: str) -> Iterator[Iterable[bytes]]:
        if sha256 not in self.blobs:
            raise NotFound("no such blob")
        yield [self.blobs[sha256]]


@dataclass
class Bench:
    """Runs that were decided before; an error is raised in their place."""

    results: list[Rerun | Exception]
    ran: list[int] = field(default_factory=list)

    def run(self, file: CaseFile, task: int, name: str) -> Rerun:
        self.ran.append(task)
        result = self.results[min(len(self.ran), len(self.results)) - 1]
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> None:
        pass


@dataclass
class Court:
    """A settled deal that can be challenged, and an arbiter for it."""

    market: LocalMarket
    bought: Bought
    deal: Deal
    root: bytes
    fact: int
    folder: Path

    def challenge(self, ground: Ground = Ground.WRONG) -> Case:
        count = ground is Ground.COUNT
        claim = Claim(ground, 0, 0, bytes(32) if count else OUTPUTS.digest)
        client, market = self.market.client, self.market
        event = client.challenge(market.customer, self.deal, self.root, self.fact, claim).one(
            events.Challenged
        )
        fees = tuple(fee.units for fee in event.fees)
        return Case(self.deal, self.root, self.fact, event.challenger, event.until, claim.hash, fees)

    @property
    def file(self) -> CaseFile:
        return CaseFile(
            deal_id="0x" + self.deal.id.hex(),
            purchase=self.bought.purchase,
            manifest=self.bought.manifest,
            definition=self.bought.definition.to_json(),
            image_archive="00" * 32,
            tasks=(CaseTask(index=0, status=0, outputs=OUTPUTS),),
        )

    @contextmanager
    def arbiter(
        self, service: Service, bench: Bench, signer: LocalSigner | None = None, missing_after: int = 86_400
    ) -> Iterator[Arbiter]:
        settings = ArbiterSettings(
            BenchSettings(self.folder),
            self.market.deployment.block,
            poll_seconds=0.02,
            missing_after=missing_after,
        )
        made = Arbiter(
            settings,
            self.market.client,
            service,  # type: ignore[arg-type]
            signer or self.market.admin,
            open_bench=lambda: nullcontext(bench),
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        try:
            yield made
        finally:
            made.stop()
            thread.join(10)
            assert not thread.is_alive()

    def word(self) -> bytes:
        return self.market.client.lot(self.deal.order, self.deal.lot)

    def judgement(self) -> bool | None:
        """What was judged last; None when nothing was."""
        found = self.market.client.events(self.market.deployment.block, of=[events.Judged], id=self.deal.id)
        return found[-1].guilty if found and isinstance(found[-1], events.Judged) else None


@pytest.fixture
def court(market: LocalMarket, tmp_path: Path) -> Court:
    client = market.client
    bought = buy(definition().model_copy(update={"disputable": True}), now=market.chain.time)
    deal, due = open_deal(market, bought)
    root = merkle_root([leaf(0, TaskStatus.SUCCEEDED, OUTPUTS.digest)])
    signature = sign_typed(market.worker, Result(deal.id, root, 1), client.domain)
    settled = client.settle(market.stranger, deal, due, root, 1, [signature]).one(events.Settled)
    return Court(market, bought, deal, root, settled.fact, tmp_path / "arbiter")


@pytest.mark.parametrize(
    ("runs", "guilty"), [([HONEST], False), ([OTHER, OTHER], True), ([OTHER, HONEST], False)]
)
def test_a_task_is_run_again_and_judged(court: Court, runs: list[Rerun | Exception], guilty: bool) -> None:
    bench = Bench(runs)
    with court.arbiter(Service(court.file), bench):
        court.challenge()
        until(lambda: court.judgement() is not None, "a judgement")
    assert court.judgement() is guilty
    assert bench.ran == [0] * len(runs)
    assert (court.word() == LOT_GUILTY) is guilty


def test_a_case_that_was_open_before_it_started_is_judged(court: Court) -> None:
    court.challenge()
    with court.arbiter(Service(court.file, silent_sign_ins=2), Bench([HONEST])):
        until(lambda: court.judgement() is False, "a judgement")


def test_a_second_case_of_a_lot_is_judged_with_its_new_fact(court: Court) -> None:
    with court.arbiter(Service(court.file), Bench([HONEST])):
        court.challenge()
        until(lambda: court.judgement() is not None, "the first judgement")
        first = court.market.client.events(
            court.market.deployment.block, of=[events.Judged], id=court.deal.id
        )
        assert isinstance(first[0], events.Judged)
        court.fact = first[0].fact
        case = court.challenge()
        until(lambda: court.word() != case.word, "the second judgement")


def test_what_cannot_be_run_is_tried_again_and_not_judged_meanwhile(court: Court) -> None:
    bench = Bench([EngineError("no engine"), HONEST])
    case = court.challenge()
    with court.arbiter(Service(court.file), bench):
        until(lambda: len(bench.ran) == 1, "the first try")
        assert court.word() == case.word
        until(lambda: court.judgement() is False, "the judgement")


def test_a_file_that_is_not_what_the_customer_signed_decides_nothing(court: Court) -> None:
    other = court.bought.manifest.model_copy(update={"parameters": {"n": 8}})
    bench, case = Bench([OTHER]), court.challenge()
    service = Service(court.file.model_copy(update={"manifest": other}))
    with court.arbiter(service, bench):
        until(lambda: service.asked > 1, "a second look")
    assert bench.ran == []
    assert court.word() == case.word


def test_a_missing_output_is_guilty_only_when_its_time_to_be_brought_is_over(court: Court) -> None:
    service = Service(court.file, blobs={})
    case = court.challenge(Ground.MISSING)
    with court.arbiter(service, Bench([]), missing_after=200):
        court.market.chain.move_to(case.until - 600 + 199)
        assert court.word() == case.word
        court.market.chain.move_to(case.until - 600 + 201)
        until(lambda: court.judgement() is True, "the judgement")


def test_a_delivered_output_acquits(court: Court) -> None:
    with court.arbiter(Service(court.file), Bench([])):
        court.challenge(Ground.MISSING)
        until(lambda: court.judgement() is False, "the judgement")


def test_a_count_is_judged_from_the_leaves(court: Court) -> None:
    with court.arbiter(Service(court.file), Bench([])):
        court.challenge(Ground.COUNT)
        until(lambda: court.judgement() is False, "the judgement")


def test_a_case_that_nothing_is_known_of_is_left_to_silence(court: Court) -> None:
    case = court.challenge()
    with court.arbiter(Service(None), Bench([])):
        court.market.chain.move_to(case.until + 1)
        court.market.client.lapse(court.market.stranger, case)
    assert court.judgement() is None


def test_another_key_than_the_markets_arbiter_is_refused(court: Court) -> None:
    settings = ArbiterSettings(BenchSettings(court.folder))
    made = Arbiter(settings, court.market.client, Service(None), court.market.stranger)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the market's arbiter is"):
        made.run()
