"""A worker whose operator does not settle: it does so itself, with its own gas money."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

import worker.chain
from prixfixe.chain.client import Account
from prixfixe.chain.events import DealOpened
from prixfixe.errors import Unavailable
from prixfixe.keys import development_signer, sign_typed
from prixfixe.protocol.deals import Deal, Due, open_word
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Result, SignedAsk
from prixfixe.protocol.outputs import OutputManifest, lot_root
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.wire import Assignment
from tests.support.devnet import wait_for
from tests.support.market import OFFER, LocalMarket
from tests.worker.conftest import Stage
from tests.worker.orders import CUSTOMER, PROVIDER, WORKER, assignment, buy, definition
from tests.worker.test_daemon import settle
from worker.chain import ChainReader
from worker.delivery import Delivery
from worker.journal import Journal
from worker.room import Room
from worker.settling import Settler, post_time
from worker.states import States, read_states

PRICE = Money.parse("1.00").units


class TestWhen:
    """Deadline at 1000, grace 60, patience 100."""

    @pytest.mark.parametrize(
        ("done_at", "all_signed", "expected"),
        [
            (500, True, 600),  # the operator's patience
            (950, True, 970),  # in time before the deadline
            (500, False, 941),  # a quorum settles for anyone in the last grace only
            (950, False, 970),
        ],
    )
    def test_it_settles(self, done_at: int, all_signed: bool, expected: int) -> None:
        assert post_time(1000, done_at, 60, 100.0, all_signed=all_signed) == expected


class Kept(Delivery):
    """A delivery to a service that is away for a while."""

    silent = 3

    def send(self, report: LotReport) -> None:
        if self.silent:
            Kept.silent -= 1
            raise Unavailable("the service does not answer")


@pytest.mark.parametrize("how", ["settled", "expired"])
def test_what_the_chain_paid_is_told_to_a_service_that_comes_back_late(how: str) -> None:
    journal = SimpleNamespace(how_settled=lambda attempt: how)
    given, report = SimpleNamespace(attempt="a"), cast(LotReport, None)
    Kept.silent = 3
    delivery = Kept(cast(Room, SimpleNamespace(journal=journal)), cast(Assignment, given), (), Event())
    with nullcontext() if how == "settled" else pytest.raises(Unavailable):
        delivery.send_in_the_end(report)
    assert Kept.silent == (0 if how == "settled" else 2)


QUORUM = replace(OFFER, application=b"\x09" * 32, quorum=2, price=PRICE * 3, max_cost=PRICE * 3)


@dataclass
class Signed:
    """A result that a worker has delivered and its operator does not settle. chain: its clock goes by its
    blocks alone."""

    market: LocalMarket
    journal: Journal
    deal: Deal
    due: int
    told: list[dict[str, Any]]
    settler: Settler

    @property
    def deadline(self) -> int:
        return Due.unpack(self.due).deadline


@pytest.fixture
def signed(market: LocalMarket, tmp_path: Path) -> Iterator[Signed]:
    """Of a deal of three legs; the third has not signed."""
    client, rpc, others = market.client, market.chain.rpc, [development_signer(5), development_signer(6)]
    for other in others:
        client.mint(market.admin, other.address, Money.parse("5"))
        client.deposit(other, Money.parse("5"))
    client.publish(market.pricing, QUORUM, market.chain.time + 86_400, Money(0))
    asks = [market.ask(price=Money(PRICE))]
    for other in others:
        ask = replace(asks[0].ask, provider=other.address)
        asks.append(SignedAsk(ask, sign_typed(other, ask, client.domain)))
    order = market.purchase(offer=QUORUM)
    opened = client.match_purchase(market.scheduler, order, market.sign(order), QUORUM, 0, asks).one(
        DealOpened
    )
    outputs = OutputManifest()
    result = Result(opened.deal, lot_root([(0, outputs.digest)]), 1)
    signatures = ["0x" + sign_typed(key, result, client.domain).hex() for key in (market.worker, others[0])]
    report = LotReport(
        tasks=(TaskReport(status=0, exit_code=0, seconds=1.0, outputs=outputs),),
        result=result,
        signature=signatures[0],
    )
    bought = buy(definition(), now=market.chain.time)
    told: list[dict[str, Any]] = []
    rpc.call("anvil_setBlockTimestampInterval", 1)
    try:
        with (
            closing(Journal(tmp_path / "journal.db")) as journal,
            closing(States(tmp_path, lambda event, facts: None)) as states,
            closing(ChainReader(rpc.url, client.contract, 31337)) as chain,
        ):
            journal.take("a", assignment(bought, opened.data, opened.due, attempt="a").model_dump_json())
            journal.salt("a")
            journal.agreed("a", [*signatures, "0x"])
            journal.delivered("a")
            journal.finished("a", report.model_dump_json())
            settler = Settler(
                chain, journal, market.worker, 4, 0.0, states, lambda event, facts: told.append(facts)
            )
            with closing(settler):
                yield Signed(market, journal, opened.data, opened.due, told, settler)
    finally:
        rpc.call("anvil_removeBlockTimestampInterval")
        rpc.call("evm_setAutomine", True)


@pytest.mark.chain
class TestAlone:
    def test_a_quorum_is_settled_in_the_last_grace_and_not_before(self, signed: Signed) -> None:
        chain, looks = signed.market.chain, []
        word = signed.settler._chain.lot_word
        signed.settler._chain.lot_word = lambda *of: looks.append(of) or word(*of)  # type: ignore[method-assign,func-returns-value]
        chain.move_to(signed.deadline - 5)  # the next block is the last one before it
        signed.settler.start()
        wait_for(lambda: len(looks) >= 3, 60, "three looks at the chain")
        assert signed.journal.sent("a") == ()
        chain.move_to(signed.deadline - 4)
        wait_for(lambda: signed.told, 60, "the settlement")
        assert (signed.told[0]["how"], signed.told[0]["by"]) == ("settled", "this worker")

    def test_one_that_is_not_mined_is_sent_again_for_more(
        self, signed: Signed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker.chain, "_MINED_SECONDS", 0.2)
        chain = signed.market.chain
        chain.move_to(signed.deadline - 3)
        chain.rpc.call("evm_setAutomine", False)
        signed.settler.start()
        wait_for(lambda: len(signed.journal.sent("a")) >= 3, 60, "a second and a third try")
        chain.rpc.call("evm_mine")
        wait_for(lambda: signed.told, 60, "the settlement")
        assert (signed.told[0]["how"], signed.told[0]["by"]) == ("settled", "this worker")
        mined = signed.told[0]["transaction"]
        assert mined in signed.journal.sent("a")[1:], "for more than was offered first"


@pytest.mark.engine
@pytest.mark.chain
class TestOnChain:
    def held(self, stage: Stage, owner: str) -> int:
        account: Account = stage.market.client.account(owner)
        return account.free.units + account.cur.units

    def is_open(self, stage: Stage, given: Assignment) -> bool:
        word = stage.market.client.lot(given.deal.order, given.deal.lot)
        return word == open_word(given.deal.id, given.due)

    def how(self, stage: Stage, given: Assignment) -> tuple[str | None, bool]:
        """How the worker saw it end, and whether it sent a transaction of its own."""
        with closing(Journal(stage.settings.data / "journal.db")) as journal:
            return journal.how_settled(given.attempt), bool(journal.sent(given.attempt))

    def test_a_deal_that_another_settled_is_noticed_and_left_alone(self, stage: Stage) -> None:
        with stage.worker():
            given = stage.assign("true")
            settle(stage, given, stage.report_of(given))
            wait_for(lambda: self.how(stage, given) == ("settled", False))

    def test_the_service_dies_after_the_run_and_worker_and_customer_get_theirs(self, stage: Stage) -> None:
        with stage.worker(settle_after_seconds=0.0):
            provider, customer = self.held(stage, PROVIDER.address), self.held(stage, CUSTOMER.address)
            refused = stage.assign("exit 3", max_seconds=60)
            held = self.held(stage, CUSTOMER.address)
            stage.report_of(refused)
            wait_for(lambda: self.how(stage, refused) == ("refused", True))
            assert self.held(stage, CUSTOMER.address) == held + refused.deal.total.units == customer
            stage.service.refuse_report = lambda report: Unavailable("the service dies after the upload")
            given = stage.assign("echo x > /job/outputs/x", max_seconds=60)
            wait_for(lambda: self.how(stage, given) == ("settled", True))
            assert not self.is_open(stage, given)
            assert self.held(stage, PROVIDER.address) == provider + PRICE
            assert given.attempt not in stage.service.reports
            stage.service.refuse_report = lambda report: None
            report = stage.report_of(given)
            assert report.tasks[0].outputs.files[0].sha256 in stage.service.blobs

    def test_outputs_that_nobody_has_are_not_paid_for(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = stage.service._start

        def last_word(*attempts: str) -> None:
            start(*attempts)
            stage.service.down = True

        monkeypatch.setattr(stage.service, "_start", last_word)
        with stage.worker(settle_after_seconds=0.0):
            given = stage.assign("sleep 1; echo y > /job/outputs/y", max_seconds=60)
            wait_for(lambda: "service-away" in str(read_states(stage.settings.data)))
            time.sleep(1)  # a few looks at the chain
            assert self.is_open(stage, given)
            stage.service.down = False
            stage.report_of(given)
            wait_for(lambda: self.how(stage, given) == ("settled", True))
            assert read_states(stage.settings.data) == []

    def test_without_gas_money_it_says_so_and_settles_once_it_has_some(self, stage: Stage) -> None:
        rpc = stage.market.chain.rpc
        had = rpc.call("eth_getBalance", WORKER.address, "latest")
        rpc.call("anvil_setBalance", WORKER.address, "0x1")
        try:
            with stage.worker(settle_after_seconds=0.0):
                wait_for(lambda: "no gas money" in str(read_states(stage.settings.data)))
                given = stage.assign("true", max_seconds=60)
                stage.report_of(given)
                assert self.is_open(stage, given)
            rpc.call("anvil_setBalance", WORKER.address, had)
            with stage.worker(settle_after_seconds=0.0):  # as after a restart in between
                wait_for(lambda: self.how(stage, given) == ("settled", True))
                assert "gas" not in str(read_states(stage.settings.data))
        finally:
            rpc.call("anvil_setBalance", WORKER.address, had)
