"""Paid results that are run again: who is drawn, what two answers decide, and what a lie costs on a real
chain."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.engine import RowMapping

from marketplace.store import checks as store_checks
from marketplace.store.tables import asks, attempts, cases, check_days, checks, deals, findings, reruns
from prixfixe.errors import InsufficientFunds
from prixfixe.keys import development_signer
from prixfixe.market.verification import WHOLE, Rule, commitment, is_drawn, rate
from prixfixe.protocol.typed_data import parse_bytes32
from tests.support.market import PAY
from tests.support.scheduling import Service
from tests.support.street import OTHER_LIE, Street, liar, open_street

pytestmark = pytest.mark.chain


@pytest.fixture
def street(service: Service) -> Street:
    return open_street(service)


@dataclass
class Broke:
    """A shop whose buyers have no money; which deals it was asked to buy again."""

    asked: list[str] = field(default_factory=list)

    def buy(self, deal: str, opening: int, without: Collection[str]) -> str:
        self.asked.append(deal)
        raise InsufficientFunds("no buyer has 1.00 dollars")


def test_a_newcomers_result_is_run_again_elsewhere_and_its_record_begins(street: Street) -> None:
    deal = street.sold()
    street.check()
    service = street.service
    (check,) = service.rows(checks)
    assert (check["deal"], check["state"], check["rate"], check["gain"]) == (deal, "right", WHOLE, PAY.units)
    (rerun,) = service.rows(reruns)
    ran = service.row(attempts, job=rerun["job"])
    assert ran["provider"] != street.provider(0)
    told = [(row["provider"], row["right"]) for row in service.rows(findings, findings.c.number)]
    assert told == [(street.provider(0), True), (ran["provider"], True)]
    assert service.rows(cases) == [], "nobody is challenged"

    street.sold()
    street.verifier().run_once()
    days = {row["day"]: row for row in service.rows(check_days)}
    for check in service.rows(checks, checks.c.passed):
        secret = bytes.fromhex(days[check["day"]]["secret"])
        assert days[check["day"]]["commitment"] == commitment(secret)
        assert check["rate"] == rate(check["gain"], check["stake"], check["passed"], street.rule)
        drawn = is_drawn(secret, parse_bytes32(check["deal"]), check["opening"], check["rate"])
        assert (check["drawn"], check["state"] == "spared") == (drawn, not drawn)
    assert (check["passed"], check["rate"] < WHOLE) == (1, True), "it is no newcomer any more"


def test_a_lie_is_run_twice_more_challenged_by_the_operator_and_judged(street: Street) -> None:
    deal = street.sold(liar(street))
    street.check()
    service = street.service
    assert street.states()[deal] == "wrong"
    assert len(service.rows(reruns)) == 2
    (case,) = service.rows(cases)
    assert (case["deal"], case["state"]) == (deal, "open")
    assert case["challenger"] == service.market.scheduler.address
    street.judge()
    assert service.row(deals, id=deal)["state"] == "guilty"
    with service.store.read() as connection:
        assert store_checks.passed_of(connection, street.provider(0)) == 0
        assert store_checks.passed_of(connection, street.provider(1)) == 1


def test_what_a_caught_provider_settled_before_is_run_again_and_challenged_too(street: Street) -> None:
    street.rule = Rule(least=0)
    before = street.sold(liar(street))
    clean = street.sold()
    service = street.service
    verifier = street.verifier()
    verifier.run_once()
    with service.store.write() as connection:
        rows = list(connection.execute(select(checks)).mappings())
        connection.execute(delete(checks))
        connection.execute(insert(checks), [{**row, "state": "spared", "drawn": False} for row in rows])
    last = street.sold(liar(street))
    street.check(rounds=6)
    assert street.states() == {before: "wrong", clean: "right", last: "wrong"}
    assert {row["deal"] for row in service.rows(cases)} == {before, last}


def test_a_rerun_that_lies_is_outvoted_and_challenged_itself(street: Street) -> None:
    deal = street.sold()
    lies = liar(street, 1) | liar(street, 2, OTHER_LIE)
    street.check(lies, rounds=2)
    assert street.states()[deal] == "wanted", "two different answers decide nothing"
    service = street.service
    assert len(service.rows(reruns)) == 2
    service.ready_worker(3, name="w3")
    street.workers.append(development_signer(13))
    street.check(lies)
    assert street.states()[deal] == "right"
    accused = {service.row(deals, id=row["deal"])["job"] for row in service.rows(cases)}
    assert accused == {row["job"] for row in service.rows(reruns) if row["number"] < 3}
    told = [(row["deal"], row["opening"]) for row in service.rows(findings)]
    assert len(told) == len(set(told)) == 4, "each result is found right or wrong, and not both"
    with service.store.read() as connection:
        passed = [store_checks.passed_of(connection, street.provider(number)) for number in range(4)]
    assert passed == [1, 0, 0, 1], "who just lied is a newcomer"


def test_who_cleared_a_lie_is_found_to_have_lied_when_it_is_caught_with_another(street: Street) -> None:
    street.rule = Rule(least=WHOLE)  # who cleared is no newcomer, and shall be drawn all the same
    service = street.service
    service.ready_worker(3, name="w3")
    street.workers.append(development_signer(13))
    lie = street.sold(liar(street))
    street.check(liar(street, 1) | liar(street, 2) | liar(street, 3), rounds=1)
    assert street.states()[lie] == "right"
    (rerun,) = service.rows(reruns)
    ran = service.row(attempts, job=rerun["job"])
    partner = [street.provider(number) for number in range(4)].index(ran["provider"])

    caught = street.sold(liar(street, partner), partner)
    street.check(rounds=6)
    assert street.states() == {lie: "wrong", caught: "wrong"}
    wrong = {row["deal"] for row in service.rows(findings) if not row["right"]}
    assert wrong == {lie, caught, ran["deal"]} == {row["deal"] for row in service.rows(cases)}


def test_a_result_that_nobody_else_can_run_waits_and_is_unclear_in_the_end(street: Street) -> None:
    service = street.service
    with service.store.write() as connection:
        for worker in street.workers[1:]:
            connection.execute(asks.delete().where(asks.c.worker == worker.address))
    deal = street.sold(liar(street))
    street.check(rounds=1)
    (check,) = service.rows(checks)
    assert (check["state"], check["why"]) == ("wanted", "nobody else asks for this product now")
    service.market.chain.move_to(check["time"] + 601)
    street.verifier().run_once()
    assert street.states()[deal] == "unclear"
    assert service.rows(findings) == []


def test_buyers_without_money_are_asked_once_in_a_while_each_time_for_another_check(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, broke, now, written = street.service, Broke(), [1000.0], []
    sold = [street.sold(provider=number) for number in range(2)]
    waits = store_checks.check_waits

    def noted(connection: Connection, check: RowMapping, why: str) -> None:
        written.append(check["deal"])
        waits(connection, check, why)

    monkeypatch.setattr(store_checks, "check_waits", noted)
    monkeypatch.setattr("scheduler.verifier.time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    verifier = street.verifier(broke)
    for _ in range(4):
        verifier.run_once()
        verifier.run_once()
        now[0] += 10
    (first, last) = dict.fromkeys(broke.asked)
    assert {first, last} == set(sold)
    assert broke.asked == [first, last] * 2
    assert written == [first, last], "what is said already is not written again"
    assert {row["why"] for row in service.rows(checks)} == {"no buyer has 1.00 dollars"}

    service.market.chain.move_to(service.rows(checks)[0]["time"] + 700)
    verifier.run_once()
    assert set(street.states().values()) == {"unclear"}
    assert verifier._patience == {}


def test_a_finding_that_the_arbiter_does_not_share_costs_its_provider_nothing(street: Street) -> None:
    deal = street.sold()
    street.check(liar(street, 1) | liar(street, 2))
    assert street.states()[deal] == "wrong", "two who agree were believed"
    street.judge(guilty=False)
    service = street.service
    assert service.row(deals, id=deal)["state"] == "settled"
    street.check(rounds=1)
    assert len(service.rows(cases)) == 1, "and is not challenged twice"
    with service.store.read() as connection:
        assert store_checks.last_caught(connection, street.provider(0)) == 0
