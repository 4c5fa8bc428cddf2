"""What the page of assignment promises, one test a promise."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from marketplace.ends import ends_of
from marketplace.jobs import job_row
from marketplace.store import attempting, pauses, transitions
from marketplace.store.tables import attempts, deals, lots, workers
from prixfixe.errors import Conflict
from prixfixe.protocol.wire import Reason
from tests.support.market import PRICE, manifest_of
from tests.support.scheduling import Service

pytestmark = pytest.mark.chain

BROKEN = Reason(code="engine", message="no engine", fault="provider")


def _cancel(service: Service, job: str) -> None:
    with service.store.write() as connection:
        transitions.unstarted_cancelled(connection, job)


def _start(service: Service, attempt: str) -> None:
    with service.store.write() as connection:
        attempting.attempt_started(connection, attempt)


@pytest.mark.parametrize("held", ["image", "input", "matrix"])
def test_of_two_alike_the_one_that_says_it_has_the_image_or_an_input_gets_each_order(
    service: Service, held: str
) -> None:
    """However the hash would have drawn: who has it changes with every second order."""
    two = [service.ready_worker(number, name=f"w{number}", slots=8) for number in (0, 1)]
    files = [{"name": f"{digit}.csv", "sha256": digit * 64, "size": 1} for digit in "abc"]
    manifest = manifest_of(1) | {"inputs": files[:2], "matrix": files[2]}
    digest = {"image": manifest["image"], "input": "b" * 64, "matrix": "c" * 64}[held]
    for nonce in range(1, 9):
        has, other = two[:: 1 if nonce % 4 < 2 else -1]
        service.beat(has, cached=["sha256:" + "f" * 64, digest])
        service.beat(other, cached=["sha256:" + "e" * 64, "d" * 64])
        service.order(nonce=nonce, manifest=manifest)
        service.matcher.run_once()
        assert [leg["worker"] for leg in service.outbox()[-1]["arguments"]["asks"]] == [has.address]
    assert len(service.outbox()) == 8


def test_cancelling_frees_at_once_what_no_worker_has_and_what_is_started_stays_sold(service: Service) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker(slots=1)
    job = service.order(tasks=3)
    service.step()
    _start(service, service.attempt_of(worker)["id"])
    started = service.attempt_of(worker)["lot"]

    _cancel(service, job)
    assert {row["lot"]: row["state"] for row in service.rows(lots)} == {
        lot: "open" if lot == started else "ended" for lot in range(3)
    }
    assert service.job(job)["state"] == "running"
    with pytest.raises(Conflict, match="started all"):
        _cancel(service, job)

    service.report(worker)
    service.step()
    ended = service.job(job)
    assert (ended["state"], ended["charged"]) == ("settled", PRICE.units)
    assert service.free(service.market.customer) == before - PRICE.units
    with service.store.read() as connection:
        told = ends_of(connection, job_row(connection, job, None))
    assert [(end.code, end.fault, end.tasks, end.charged.units) for end in told] == [
        ("cancelled", "customer", 2, 0),
        ("done", "none", 1, PRICE.units),
    ]


def test_what_is_matched_and_not_started_is_refused_by_its_worker_and_costs_nobody_anything(
    service: Service,
) -> None:
    before = service.free(service.market.customer)
    worker = service.ready_worker()
    job = service.order()
    service.step()
    _cancel(service, job)
    assert service.lot(job)["state"] == "open"
    with pytest.raises(Conflict) as told:
        _start(service, service.attempt_of(worker)["id"])
    assert told.value.code == "job-cancelled"

    service.report(worker, status=6, reason=BROKEN)
    service.step()
    ended = service.job(job)
    assert (ended["state"], ended["charged"], ended["reason"]["code"]) == ("refunded", 0, "cancelled")
    assert service.rows(deals)[0]["reason"]["code"] == "engine"
    assert service.free(service.market.customer) == before
    assert service.row(workers)["cool_until"] == 0.0


def test_a_worker_that_never_starts_what_was_cancelled_is_not_waited_for(service: Service) -> None:
    worker = service.ready_worker()
    job = service.order()
    service.step()
    _cancel(service, job)
    with service.store.write() as connection:
        connection.execute(update(attempts).values(created_at=int(time.time()) - 10))
    service.step()
    assert service.attempt_of(worker)["reason"]["fault"] == "none"
    assert service.outbox()[-1]["call"] == "hasten"
    service.relay()
    service.indexer.run_once()
    service.market.chain.move_to(service.rows(deals)[0]["deadline"] + 1)
    service.step()
    service.step()
    assert (service.lot(job)["state"], service.lot(job)["reason"]["code"]) == ("ended", "cancelled")


def test_a_lot_that_comes_back_is_tried_at_once_elsewhere_then_after_a_pause_and_three_times_at_most(
    service: Service,
) -> None:
    three = [service.ready_worker(number, name=f"w{number}") for number in range(3)]
    job = service.order()
    for tries in range(1, 4):
        with service.store.write() as connection:
            connection.execute(update(lots).values(not_before=0.0))
        service.step()
        for each in three:
            service.beat(each)
        (present,) = [row for row in service.rows(attempts) if row["state"] == "assigned"]
        worker = next(each for each in three if each.address == present["worker"])
        now = time.time()
        service.report(worker, status=6, reason=BROKEN)
        service.step()
        lot = service.lot(job)
        if tries < 3:
            assert (lot["state"], lot["tries"]) == ("free", tries)
            assert lot["not_before"] >= now + 1.9 if tries == 2 else lot["not_before"] <= time.time()
    assert {row["worker"] for row in service.rows(attempts)} == {each.address for each in three}
    assert (lot["state"], service.job(job)["reason"]["message"]) == (
        "ended",
        "3 workers were tried; the last: no engine",
    )
    assert [row["reason"]["fault"] for row in service.rows(deals)] == ["provider"] * 3


def test_a_worker_that_fails_by_its_own_fault_pauses_longer_each_time_until_it_does_well(
    service: Service,
) -> None:
    seconds = [pauses.cool_down_seconds(failures, 10.0) for failures in (1, 2, 3, 4, 7, 99)]
    assert seconds == [10, 30, 90, 270, 3600, 3600]
    worker = service.ready_worker()
    for _ in range(3):
        now = time.time()
        with service.store.write() as connection:
            connection.execute(update(workers).values(cool_until=0.0))  # the pause is over
            for _ in range(4):  # what was under way: one failure
                pauses.worker_failed(connection, worker.address)
    row = service.row(workers)
    assert row["failures"] == 3
    assert now + 90 <= row["cool_until"] <= time.time() + 90
    job = service.order()
    service.matcher.run_once()
    assert service.lot(job)["waiting_reason"] == "1 ask: 1 cooling down after a failure"
    service.beat(worker)
    service.step()
    service.report(worker)
    assert service.row(workers)["failures"] == 0


def test_a_job_that_failed_on_every_worker_there_is_ends_before_its_order_does(service: Service) -> None:
    worker = service.ready_worker()
    job = service.order()
    service.step()
    service.report(worker, status=6, reason=BROKEN)
    service.step()
    service.beat(worker)
    service.matcher.run_once()
    assert service.lot(job)["state"] == "free", "another worker may still come"
    with service.store.write() as connection:
        connection.execute(update(attempts).values(ended_at=int(time.time()) - 60))
    service.beat(worker)
    service.matcher.run_once()
    ended = service.job(job)
    assert (ended["state"], ended["charged"], ended["reason"]["code"]) == ("refunded", 0, "engine")
    assert ended["reason"]["message"] == "the one worker that could take it failed; the last: no engine"


def test_the_last_lot_of_a_bag_that_takes_much_longer_is_given_up_and_paid_if_it_ends_in_the_grace(
    service: Service,
) -> None:
    worker = service.ready_worker(slots=5)
    job = service.order(tasks=5)
    service.step()
    five = service.rows(attempts, attempts.c.lot)
    for row in five:
        _start(service, row["id"])
    for row in five[:4]:
        service.report(worker, attempt=row["id"])
    service.beat(worker)
    service.step()
    assert [row["state"] for row in service.rows(lots, lots.c.lot)] == ["settled"] * 4 + ["open"]
    assert service.row(attempts, id=five[4]["id"])["state"] == "running"

    with service.store.write() as connection:
        slow = attempts.c.id == five[4]["id"]
        connection.execute(update(attempts).where(slow).values(started_at=int(time.time()) - 40))
    service.beat(worker)
    service.reaper._looked = 0.0
    service.step()
    given_up = service.row(attempts, id=five[4]["id"])
    assert (given_up["state"], given_up["reason"]["code"], given_up["reason"]["fault"]) == (
        "lost",
        "straggler",
        "none",
    )
    assert service.outbox()[-1]["call"] == "hasten"
    assert service.row(workers)["cool_until"] == 0.0
    service.relay()
    service.indexer.run_once()
    service.report(worker, attempt=five[4]["id"])
    service.step()
    assert (service.job(job)["state"], service.job(job)["charged"]) == ("settled", 5 * PRICE.units)
