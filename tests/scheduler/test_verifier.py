"""Paid results that are run again: who is drawn, what two answers decide, and what a lie costs on a real
chain."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import checks as store_checks
from marketplace.store import looks, states, transitions
from marketplace.store.tables import (
    asks,
    attempts,
    canaries,
    cases,
    check_days,
    checks,
    deals,
    findings,
    jobs,
    reruns,
)
from prixfixe.errors import InsufficientFunds
from prixfixe.keys import development_signer
from prixfixe.market.verification import STALE, WHOLE, Among, Rule, commitment, is_drawn, rate
from prixfixe.protocol.typed_data import parse_bytes32
from prixfixe.protocol.wire import Reason
from tests.support.market import PAY
from tests.support.rows import least
from tests.support.scheduling import Service
from tests.support.street import FEE, OTHER_LIE, Shop, Street, liar, open_street

pytestmark = pytest.mark.chain


@pytest.fixture
def street(service: Service) -> Street:
    return open_street(service)


@dataclass
class Broke:
    """A shop whose buyers have no money; which deals it was asked to buy again."""

    asked: list[str] = field(default_factory=list)

    def buy(self, deal: str, opening: int, without: Collection[str], chosen: Among) -> str:
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
    told = {row["deal"] for row in service.rows(findings)}
    alone = {row["job"] for row in service.rows(reruns) if row["deal"] in (before, clean)}
    assert len(alone) == 2
    assert not {row["id"] for row in service.rows(deals) if row["job"] in alone} & told, "nobody confirms it"


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


def test_who_contradicts_what_the_arbiter_upholds_is_found_wrong_and_challenged(street: Street) -> None:
    deal = street.sold()
    street.check(liar(street, 1) | liar(street, 2))
    assert street.states()[deal] == "wrong", "two who agree were believed"
    street.judge(guilty=False)
    service = street.service
    assert service.row(deals, id=deal)["state"] == "settled"
    street.check(rounds=1)
    ran = {row["job"] for row in service.rows(reruns)}
    runs = {row["id"] for row in service.rows(deals) if row["job"] in ran}
    assert [row["deal"] for row in service.rows(cases)].count(deal) == 1, "it is not challenged twice"
    assert {row["deal"] for row in service.rows(cases)} == runs | {deal}
    assert {row["deal"] for row in service.rows(findings) if not row["right"]} == runs | {deal}
    street.verifier().run_once()
    assert len(service.rows(cases)) == 3, "and neither are they"
    with service.store.read() as connection:
        passed = [store_checks.passed_of(connection, street.provider(number)) for number in range(3)]
        assert store_checks.last_caught(connection, street.provider(0)) == 0, "that finding counts no more"
    assert passed[1:] == [0, 0]


def test_two_who_outvote_an_honest_rerun_are_found_when_the_arbiter_upholds_it(street: Street) -> None:
    service = street.service
    lies = liar(street) | liar(street, 2)
    deal = street.sold(lies)
    with service.store.write() as connection:
        away = list(connection.execute(select(asks)).mappings())
        connection.execute(asks.delete().where(asks.c.worker != street.workers[1].address))
    street.check(lies, rounds=1)
    with service.store.write() as connection:
        connection.execute(asks.delete())
        connection.execute(insert(asks), away)
    street.check(lies)
    assert street.states()[deal] == "right"
    (case,) = service.rows(cases)
    honest = service.row(attempts, deal=case["deal"])
    assert honest["provider"] == street.provider(1)
    street.judge(guilty=False)
    street.check(lies)
    assert street.states()[deal] == "wrong", "what its friend cleared is looked at again"
    accused = {row["deal"] for row in service.rows(cases)}
    assert accused >= {deal, case["deal"]}
    wrong = {row["provider"] for row in service.rows(findings) if not row["right"]}
    assert wrong == {street.provider(number) for number in range(3)}
    with service.store.read() as connection:
        caught = [bool(store_checks.last_caught(connection, street.provider(at))) for at in range(3)]
    assert caught == [True, False, True]


@dataclass
class Noting:
    """A shop; to whom each re-run was to be given."""

    shop: Shop
    chosen: list[Among] = field(default_factory=list)

    def buy(self, deal: str, opening: int, without: Collection[str], chosen: Among) -> str:
        self.chosen.append(chosen)
        return self.shop.buy(deal, opening, without, chosen)


def test_a_rerun_that_its_one_runner_leaves_alone_is_for_everybody_the_next_time(street: Street) -> None:
    service = street.service
    deal = street.sold(liar(street))
    noting = Noting(Shop(service, street.nonces))
    verifier = street.verifier(noting)
    verifier.run_once()
    (rerun,) = service.rows(reruns)
    job = service.row(jobs, id=rerun["job"])
    assert len(job["providers"]) == 1
    with service.store.write() as connection:
        expired = Reason(code="expired", message="nobody took it", fault="platform")
        transitions.lot_ended(connection, job["id"], 0, expired, states.LOT_GIVEN_UP)
    assert service.row(jobs, id=job["id"])["state"] == "refunded"
    verifier.run_once()
    newest = service.rows(reruns, reruns.c.number)[-1]
    assert set(service.row(jobs, id=newest["job"])["providers"]) == {street.provider(1), street.provider(2)}
    assert noting.chosen == ["unseen", "all"]
    assert street.states()[deal] == "wanted"


def gone_unseen(street: Street) -> None:
    """Provider 0's result was found right, and `STALE` others of its went by since, none of them drawn."""
    street.rule = Rule(least=0)
    street.sold()
    street.check()
    service = street.service
    (first,) = service.rows(checks)
    with service.store.write() as connection:
        assert looks.unseen(connection, [street.provider(0)]) == {street.provider(0): 0}
        rows = [
            {**first, "deal": f"0x{number:064x}", "time": first["time"] + 300, "state": "spared"}
            for number in range(STALE)
        ]
        connection.execute(insert(checks), [{**row, "drawn": False} for row in rows])


def drawn_of(street: Street, deal: str) -> RowMapping:
    """The check of a deal that was just sold."""
    street.verifier().run_once()
    row: RowMapping = street.service.row(checks, deal=deal)
    return row


def test_who_keeps_reruns_from_itself_is_drawn_with_every_result_in_the_end(street: Street) -> None:
    gone_unseen(street)
    drawn = drawn_of(street, street.sold())
    assert (drawn["passed"], drawn["rate"], drawn["state"]) == (0, WHOLE, "wanted")


def test_a_draw_that_waits_for_its_verdict_is_a_look(street: Street) -> None:
    """Else whoever settles many results within one verdict's delay would be drawn with all that follow."""
    gone_unseen(street)
    assert drawn_of(street, street.sold())["passed"] == 0
    following = drawn_of(street, street.sold())
    assert (following["passed"], following["rate"] < WHOLE) == (1, True)


def test_a_canary_that_waits_is_none_and_its_draws_count_the_whole_record(street: Street) -> None:
    gone_unseen(street)
    service = street.service
    with service.store.write() as connection:
        (one, *_) = service.rows(checks, checks.c.time.desc())
        waits = {**one, "deal": f"0x{STALE:064x}", "state": "wanted", "drawn": True, "canary": 1}
        connection.execute(insert(checks), [waits])
        assert looks.gone_by(connection, street.provider(0)) == STALE
    street.sold()
    with service.store.write() as connection:
        (trade,) = store_checks.unchecked(connection, 0, 0)
        connection.execute(insert(canaries), [canary_for(trade)])
        # As of a bundle that cannot be disputed.
        store_checks.decided(connection, {**trade, "disputable": False}, FEE, street.rule)
    check = service.row(checks, deal=trade["deal"])
    assert (check["canary"], check["passed"], check["rate"] < WHOLE) == (1, 1, True)


def canary_for(trade: RowMapping) -> dict[str, Any]:
    bundle = {"bundle": trade["bundle_id"], "version": trade["bundle_version"]}
    return least(canaries) | bundle | {"number": 1}


def test_a_rerun_that_failed_is_no_look(street: Street) -> None:
    gone_unseen(street)
    runs = street.sold(provider=1)
    street.verifier().run_once()
    service = street.service
    (bought,) = [row for row in service.rows(reruns) if row["deal"] == runs]
    with service.store.write() as connection:
        to_first = update(jobs).where(jobs.c.id == bought["job"]).values(providers=[street.provider(0)])
        connection.execute(to_first)
    for worker in street.workers:
        service.beat(worker)
    service.matcher.run_once()
    street.pass_on()
    attempt = service.row(attempts, job=bought["job"])
    assert attempt["provider"] == street.provider(0)
    with service.store.read() as connection:
        assert looks.unseen(connection, [street.provider(0)]) == {street.provider(0): 0}
        assert looks.gone_by(connection, street.provider(0)) == 0
    broken = Reason(code="task-failed", message="it cannot", fault="customer")
    service.report(street.workers[0], attempt=attempt["id"], status=1, reason=broken)
    with service.store.read() as connection:
        assert service.row(checks, deal=runs)["state"] == "wanted"
        assert looks.unseen(connection, [street.provider(0)]) == {street.provider(0): STALE}
        assert looks.gone_by(connection, street.provider(0)) == STALE


def test_a_program_that_gives_two_answers_refutes_nobody_after_the_first(street: Street) -> None:
    """The arbiter's own runs differ, so it acquits each who is accused."""
    deal = street.sold()
    lies = liar(street, 1) | liar(street, 2)
    street.check(lies)
    street.judge(guilty=False)
    service = street.service
    with service.store.read() as connection:
        runs = looks.refuted(connection, 0)
    assert {each.provider for each in runs} == {street.provider(1), street.provider(2)}
    street.check(lies, rounds=1)
    street.judge(guilty=False)
    with service.store.write() as connection:
        # What either of them said of other work of the offer, and nobody was told of.
        connection.execute(delete(findings).where(findings.c.deal == runs[0].deal[0]))
        connection.execute(delete(findings).where(findings.c.deal == runs[1].deal[0]))
        assert {row.state for row in connection.execute(select(cases))} == {"acquitted", "open"}
        assert looks.refuted(connection, 0) == []
    assert service.row(deals, id=deal)["state"] == "settled"


def test_what_the_arbiter_upheld_is_looked_up_without_reading_all_deals(street: Street) -> None:
    """Of SQLite, whose plan does not depend on how much there is."""
    if street.service.store.engine.dialect.name != "sqlite":
        return
    street.sold()
    street.check(liar(street, 1) | liar(street, 2))
    street.judge(guilty=False)
    engine, asked = street.service.store.engine, list[tuple[str, Any]]()

    def noted(connection: Any, cursor: Any, statement: str, given: Any, *more: Any) -> None:
        asked.append((statement, given))

    event.listen(engine, "before_cursor_execute", noted)
    with street.service.store.read() as connection:
        assert len(looks.refuted(connection, 0)) == 2
        event.remove(engine, "before_cursor_execute", noted)
        plans = [
            row[3]
            for statement, given in asked
            if statement.startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        ]
    of_deals = [step for step in plans if "deals" in step]
    assert len(of_deals) > 2
    assert not [step for step in of_deals if "(id=? AND opening=?)" not in step and "(job=?)" not in step]


def test_nobody_asks_when_a_newcomer_was_looked_at(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results are all run again anyway, and it is asked within each decision."""
    monkeypatch.setattr(looks, "gone_by", lambda *_: pytest.fail("it was asked"))
    assert drawn_of(street, street.sold())["rate"] == WHOLE
