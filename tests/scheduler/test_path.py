"""The way of a lot through matcher, relayer, contract and indexer, step by step."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import event

from marketplace.store import transitions
from marketplace.store.tables import chain_events, deals, job_events, lots, workers
from prixfixe.market.rules import UNPAID
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import Reason
from tests.support.market import OFFER, PAY, PRICE
from tests.support.scheduling import Service, until

pytestmark = pytest.mark.chain

OTHER = Product.read("cpu-8x8/1h")  # which nobody offers


def test_an_order_is_matched_paid_run_settled_and_charged_its_price(service: Service) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker()
    job = service.order()

    service.step()

    assert service.lot(job)["state"] == "open"
    assert service.job(job)["state"] == "running"
    assert service.attempt_of(worker)["state"] == "assigned"
    assert service.free(service.market.customer) == before - PRICE.units

    service.report(worker)
    service.step()

    ended = service.job(job)
    assert (ended["state"], ended["charged"], ended["reason"]) == ("settled", PRICE.units, None)
    assert service.free(service.market.provider) == 20_000_000 + PAY.units
    kinds = [event["kind"] for event in service.rows(job_events, job_events.c.sequence)]
    assert kinds[-1] == "end"
    assert kinds.count("end") == 1
    deal = service.rows(deals)[0]
    assert deal["state"] == "settled"
    assert len(deal["signatures"]) == 1
    assert deal["ended"]["time"] >= deal["opened"]["time"]


def test_many_deals_at_which_workers_are_cost_the_reaper_no_more_than_one(service: Service) -> None:
    asked: list[str] = []
    event.listen(service.store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    def questions() -> int:
        asked.clear()
        service.reaper._looked = 0.0  # each time for stragglers, too, not every few seconds
        service.reaper.run_once()
        return len(asked)

    service.ready_worker(slots=3)
    service.order(nonce=1)
    service.step()
    of_one = questions()
    for nonce in (2, 3):
        service.order(nonce=nonce)
    service.step()

    assert [deal["state"] for deal in service.rows(deals)] == ["open"] * 3
    assert questions() == of_one > 0


def test_a_failure_of_the_customers_gives_the_whole_price_back_and_is_not_retried(service: Service) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker()
    job = service.order()
    service.step()

    reason = Reason(code="missing-column", message="there is no column 'amont'", fault="customer")
    service.report(worker, status=5, reason=reason)
    service.step()

    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("refunded", 0)
    assert ended["reason"]["message"] == "there is no column 'amont'"
    assert service.lot(job)["state"] == "ended"
    assert service.free(service.market.customer) == before


def test_a_providers_failure_is_tried_on_another_worker_and_paid_once(service: Service) -> None:
    before = service.free(service.market.customer)
    first = service.ready_worker(price=PAY)
    job = service.order()
    service.step()
    second = service.ready_worker(1, price=PRICE, name="w2")

    service.report(first, status=6, reason=Reason(code="engine", message="no engine", fault="provider"))
    service.step()
    assert service.lot(job)["state"] == "free"
    service.step()
    assert service.attempt_of(second)["state"] == "assigned"
    service.report(second)
    service.step()

    assert service.job(job)["state"] == "settled"
    assert service.lot(job)["tries"] == 2
    assert service.free(service.market.customer) == before - PRICE.units


def test_what_every_worker_would_find_is_tried_once_and_pauses_nobody(service: Service) -> None:
    both = (service.ready_worker(price=PAY), service.ready_worker(1, price=PAY, name="w2"))
    job = service.order()
    service.step()
    hole = Reason(code="bad-matrix", message="row 2 of the matrix is no object", fault="customer")
    # Which of two equal asks is taken, a hash decides.
    service.report(next(each for each in both if service.attempt_of(each)), status=6, reason=hole)
    service.step()
    ended = service.job(job)
    assert (ended["state"], ended["charged"], ended["reason"]["code"]) == ("refunded", 0, "bad-matrix")
    assert service.lot(job)["tries"] == 1
    assert {row["cool_until"] for row in service.rows(workers)} == {0.0}


def test_a_lot_that_nobody_can_take_says_why(service: Service) -> None:
    job = service.order()
    service.step()
    assert service.lot(job)["waiting_reason"] == "no worker offers this product"

    worker = service.ready_worker()
    service.beat(worker, age=60.0)
    service.step()

    assert service.lot(job)["waiting_reason"] == "1 ask: 1 heartbeat lost"
    assert service.job(job)["stage"] == "waiting for a worker: 1 ask: 1 heartbeat lost"


def test_an_order_of_many_lots_that_nobody_takes_keeps_nobody_out(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.matcher._LOTS_A_ROUND", 4)
    service.ready_worker(slots=8)
    unsold = transitions.OrderTerms("bundle", OTHER.to_bytes())
    stuck = service.order(tasks=9, nonce=1, terms=unsold)
    later = [service.order(nonce=2), service.order(nonce=3)]
    for _ in range(9):
        service.matcher.run_once()
    assert [service.lot(job)["state"] for job in later] == ["matching", "matching"]
    assert {row["state"] for row in service.rows(lots) if row["job"] == stuck} == {"free"}


def test_as_many_lots_as_a_round_has_room_for_are_not_the_last_that_are_matched(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.matcher._LOTS_A_ROUND", 4)
    service.ready_worker(slots=8)
    job = service.order(tasks=5)
    pauses = [service.matcher.run_once() for _ in range(2)]
    assert pauses[0] == 0.0
    assert {row["state"] for row in service.rows(lots) if row["job"] == job} == {"matching"}


@pytest.mark.parametrize("kind", ["flat", "bundle"])
def test_an_order_whose_account_was_emptied_waits_with_the_reason_and_runs_when_it_is_funded(
    service: Service, kind: str
) -> None:
    market, client = service.market, service.client
    service.ready_worker()
    terms = transitions.OrderTerms(kind, OFFER.product)
    job = service.order(market.bid() if kind == "flat" else market.purchase(), terms)
    everything = client.account(market.customer.address).free
    client.withdraw(market.customer, market.customer.address, everything)
    service.step()
    assert (service.lot(job)["state"], service.lot(job)["waiting_reason"]) == ("free", UNPAID)
    assert service.outbox() == []
    client.deposit(market.customer, everything)
    service.step()
    assert (service.lot(job)["state"], service.job(job)["state"]) == ("open", "running")


def test_a_newcomer_gets_its_next_lot_when_less_is_under_way(service: Service) -> None:
    worker = service.ready_worker(slots=20)
    orders = [service.order(tasks=10, lot=10, nonce=nonce) for nonce in (1, 2)]
    service.step()
    assert [service.lot(job)["state"] for job in orders] == ["open", "free"]
    assert service.lot(orders[1])["waiting_reason"] == "1 ask: 1 a newcomer with enough under way"
    service.report(worker, status=5, reason=Reason(code="no-column", message="no column", fault="customer"))
    service.step()
    service.beat(worker)
    service.step()
    assert service.lot(orders[1])["state"] == "open"


def test_many_lots_of_one_order_are_settled_each_once(service: Service) -> None:
    service.ready_worker(slots=3)
    job = service.order(tasks=3, lot=1)
    service.step()
    assert [service.lot(job, lot)["state"] for lot in range(3)] == ["open"] * 3
    rows = service.rows(deals)
    assert len(rows) == 3


def test_a_silent_worker_is_hastened_and_the_money_comes_back_by_time_alone(service: Service) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker()
    job = service.order()
    service.step()

    service.beat(worker, age=60.0)
    service.step()
    service.step()
    deal = service.rows(deals)[0]
    assert service.attempt_of(worker)["state"] == "lost"
    assert deal["due"] >> 40 == 1, "the deal is hastened"

    service.market.chain.move_to(deal["deadline"] + 1)
    service.step()
    service.step()

    assert service.rows(deals)[0]["state"] == "expired"
    assert service.free(service.market.customer) == before
    assert service.lot(job)["state"] == "free"


def test_a_service_that_was_down_gives_its_workers_time_to_find_it_again(service: Service) -> None:
    worker = service.ready_worker()
    service.order()
    service.step()
    service.beat(worker, age=60.0)

    again = service.restarted()
    again.reaper._began = None
    again.step()
    assert again.attempt_of(worker)["state"] == "assigned", "nobody could beat while it was down"

    again.reaper._began = time.time() - 60.0
    again.step()
    assert again.attempt_of(worker)["state"] == "lost"
    again.close()


def test_a_reaper_that_leads_again_gives_workers_time_as_after_a_start(service: Service) -> None:
    worker = service.ready_worker()
    service.order()
    service.step()
    service.beat(worker, age=60.0)

    service.reaper.took_over()
    service.step()
    assert service.attempt_of(worker)["state"] == "assigned", "nobody could beat while the database was away"


def test_a_worker_that_comes_back_in_time_is_paid_although_it_was_given_up(service: Service) -> None:
    worker = service.ready_worker()
    job = service.order()
    service.step()
    service.beat(worker, age=60.0)
    service.step()
    service.step()
    assert service.attempt_of(worker)["state"] == "lost"

    service.report(worker)
    service.step()

    assert service.job(job)["state"] == "settled"


def test_an_order_that_ended_unmatched_is_refunded_with_the_reason(service: Service) -> None:
    job = service.order()
    service.step()
    service.market.chain.advance(3601)
    service.step()

    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("refunded", 0)
    assert "no worker offers this product" in ended["reason"]["message"]


def test_the_duties_run_by_themselves_and_stop_when_asked(service: Service) -> None:
    for duty in service.duties:
        duty.start()
    worker = service.ready_worker()
    job = service.order()
    until(lambda: service.attempt_of(worker), "an assignment")
    service.report(worker)
    until(lambda: service.job(job)["state"] == "settled", "the settlement")
    assert all(duty.health().error is None for duty in service.duties)
    assert service.rows(chain_events)
