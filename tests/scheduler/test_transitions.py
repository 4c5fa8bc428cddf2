"""States move only along their arrows; the end of a job is computed once, from its lots."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from marketplace.store import deals as deal_events
from marketplace.store import openings, outbox, transitions
from marketplace.store.tables import attempts, deals, job_events, tasks
from prixfixe.errors import Conflict
from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.wire import Reason
from tests.support.market import PRICE
from tests.support.scheduling import Service

pytestmark = pytest.mark.chain

ROOT = "0x" + "22" * 32
WHERE: dict[str, Any] = {"transaction": "0x" + "11" * 32, "block": 1, "log_index": 0, "time": 1}
FACT = Fact(1, 1, 1).pack()


def open_all(service: Service, tasks_: int) -> str:
    """An order of one-task lots, each with an open deal of the one worker."""
    service.ready_worker(slots=tasks_)
    job = service.order(tasks=tasks_)
    service.step()
    return job


def settled(deal: str, root: str = ROOT, where: dict[str, Any] = WHERE) -> deal_events.Settled:
    """The chain's word that a deal's one task was done and paid."""
    return deal_events.Settled(
        deal, root=root, done=1, paid=1, returned=0, fact=FACT, signatures=None, where=where
    )


def test_a_job_of_several_lots_ends_with_the_last_and_is_charged_for_the_settled_ones(
    service: Service,
) -> None:
    job = open_all(service, 3)
    ids = [row["id"] for row in service.rows(deals, deals.c.lot)]
    with service.store.write() as connection:
        for place, deal in enumerate(ids[:2]):
            deal_events.deals_settled(connection, [settled(deal, where={**WHERE, "log_index": place})])
    assert service.job(job)["state"] == "running"
    lost = Reason(code="gone", message="nobody can run the third", fault="provider")
    with service.store.write() as connection:
        transitions.lot_ended(connection, job, 2, lost)
    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("settled", 2 * PRICE.units)
    assert ended["reason"]["message"] == "nobody can run the third"


def test_an_event_that_comes_twice_moves_nothing_twice(service: Service) -> None:
    job = open_all(service, 1)
    deal = service.rows(deals)[0]["id"]
    for _ in range(2):
        with service.store.write() as connection:
            deal_events.deals_settled(connection, [settled(deal)])
    assert service.job(job)["charged"] == PRICE.units
    assert [event["kind"] for event in service.rows(job_events)].count("end") == 1


def test_a_transition_from_a_state_that_has_passed_is_refused_and_changes_nothing(service: Service) -> None:
    job = open_all(service, 1)
    with pytest.raises(Conflict) as refused, service.store.write() as connection:
        transitions.lot_unmatched(connection, job, 0, "no deal was opened", 0.0)
    assert refused.value.code == "stale-state"
    assert service.lot(job)["state"] == "open"


def test_a_lot_that_is_not_free_is_not_matched_and_stays_as_it_is(service: Service) -> None:
    job = open_all(service, 1)
    before = service.outbox()
    (asks,) = [row["arguments"]["asks"] for row in before if row["call"] == "match"]
    with service.store.write() as connection:
        assert transitions.lots_matched(connection, {(job, 0): asks}) == []
    assert service.lot(job)["state"] == "open"
    assert service.outbox() == before


def test_a_queued_job_can_be_cancelled_and_a_matched_one_cannot(service: Service) -> None:
    early = service.order()
    with service.store.write() as connection:
        transitions.job_cancelled(connection, early)
    assert (service.job(early)["state"], service.job(early)["reason"]["code"]) == ("refunded", "cancelled")

    service.ready_worker()
    late = service.order(nonce=2)
    service.step()
    with pytest.raises(Conflict) as refused, service.store.write() as connection:
        transitions.job_cancelled(connection, late)
    assert refused.value.code == "already-matched"
    assert service.lot(late)["state"] == "open"


def test_a_result_after_the_deal_ended_is_refused(service: Service) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker()
    service.order()
    service.step()
    deal = service.rows(deals)[0]
    service.market.chain.move_to(deal["deadline"] + 1)
    service.step()
    service.step()
    with pytest.raises(Conflict) as refused:
        service.report(worker)
    assert refused.value.code == "deal-over"
    assert service.free(service.market.customer) == before


def test_the_report_of_a_worker_that_settled_by_itself_brings_the_outputs(service: Service) -> None:
    worker = service.ready_worker()
    job = service.order()
    service.step()
    service.report(worker)
    root = service.outbox()[-1]["arguments"]["root"]
    result = service.attempt_of(worker)["result"]
    assert result["root"] == root
    # The same story without the report: the settlement is seen first.
    other = service.order(nonce=2)
    service.step()
    assert service.job(job)["state"] == "settled"
    service.beat(worker)
    service.step()
    attempt = next(row for row in service.rows(attempts) if row["job"] == other)
    deal = service.row(deals, id=attempt["deal"])
    from prixfixe.protocol.outputs import leaf, merkle_root
    from tests.support.scheduling import OUTPUTS

    with service.store.write() as connection:
        delivered = "0x" + merkle_root([leaf(0, 0, OUTPUTS.digest)]).hex()
        deal_events.deals_settled(connection, [settled(deal["id"], delivered)])
    assert service.job(other)["state"] == "settled"
    service.report(worker, attempt=attempt["id"])
    with service.store.read() as connection:
        task = connection.execute(select(tasks).where(tasks.c.job == other)).mappings().one()
    assert (task["state"], task["outputs"]) == ("succeeded", OUTPUTS.to_json())


def test_the_same_wish_is_in_the_outbox_once_at_a_time_and_again_after_it_failed(service: Service) -> None:
    open_all(service, 1)
    deal = service.rows(deals)[0]
    key = deal["id"], deal["opening"]
    with service.store.write() as connection:
        assert outbox.queue_expire(connection, *key)
        assert not outbox.queue_expire(connection, *key)
    row = service.outbox()[-1]
    with service.store.write() as connection:
        outbox.transaction_failed(connection, row["id"], {"message": "too early"})
        assert outbox.queue_expire(connection, *key)
    purposes = [row["purpose"].rpartition(":")[2] for row in service.outbox() if row["call"] == "expire"]
    assert purposes == ["1", "2"]


def test_a_deal_of_an_order_that_this_service_does_not_know_is_left_alone(service: Service) -> None:
    stranger = service.market.purchase(nonce=77)
    market = service.market
    from tests.support.market import OFFER

    market.client.match_purchase(market.scheduler, stranger, market.sign(stranger), OFFER, 0, [market.ask()])
    service.indexer.run_once()
    assert service.rows(deals) == []


def test_after_three_workers_a_lot_ends_with_the_last_reason(service: Service) -> None:
    job = open_all(service, 1)
    row = service.rows(deals)[0]
    deal = Deal.from_json(row["deal"])
    for opening in range(1, 4):
        with service.store.write() as connection:
            if opening > 1:
                openings.deals_opened(connection, [openings.Opened(deal, row["due"], WHERE)])
            deal_events.deal_expired(connection, row["id"], returned=PRICE.units, where=WHERE)
    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("refunded", 0)
    assert ended["reason"]["message"].startswith("3 workers were tried")
    assert service.lot(job)["state"] == "ended"
