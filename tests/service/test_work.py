"""The worker's side: registered, alive, assigned, heard, believed only with proof."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from marketplace.chain import AccountView
from marketplace.store import deals as chain_deals
from marketplace.store.attempting import attempt_lost
from marketplace.store.tables import asks, attempts, deals, job_events, lots, transactions, workers
from prixfixe.errors import StorageFull
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Due
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.product import Product
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.service import (
    CHAIN_TIME,
    CUSTOMER,
    DOLLAR,
    MARKET,
    PROVIDER,
    STRANGER,
    WORKER,
    World,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
    success,
    where,
)

OUTPUTS = manifest_of(pivot_xlsx=b"a workbook", totals_json=b"{}")


def _refusals(world: World, *given: wire.SignedAsk) -> list[str]:
    answer = world.beat(given)
    assert answer.status_code == 200, answer.text
    return [reason["code"] for reason in answer.json()["refused"]]


def _resting(world: World) -> int:
    with world.store.read() as connection:
        return len(connection.execute(select(asks)).all())


def _settles(world: World) -> list[dict[str, Any]]:
    with world.store.read() as connection:
        query = select(transactions.c.arguments).where(transactions.c.call == "settle")
        return list(connection.execute(query).scalars())


def _upload_outputs(world: World) -> None:
    world.upload(WORKER, b"a workbook")
    world.upload(WORKER, b"{}")


def _report(world: World, attempt: str, report: LotReport) -> Any:
    return world.worker_post(f"{attempt}/result", report.model_dump(mode="json"))


def told(report: LotReport, **changes: Any) -> LotReport:
    """A report that says something else of its task than was signed."""
    return report.model_copy(update={"tasks": (report.tasks[0].model_copy(update=changes),)})


def test_a_worker_registers_when_the_chain_knows_its_key(world: World) -> None:
    status = world.register().json()
    assert (status["key"], status["provider"], status["alive"]) == (WORKER.address, PROVIDER.address, True)
    assert (status["free"], status["surety"], status["earned"]) == ("5000000", "5000000", "0")


@pytest.mark.parametrize("until", [0, CHAIN_TIME - 1])
def test_a_key_that_the_chain_does_not_know_is_refused(world: World, until: int) -> None:
    world.chain.workers[(PROVIDER.address, WORKER.address)] = until
    answer = world.register()
    assert (answer.status_code, answer.json()["code"]) == (403, "worker-not-authorised")
    assert "authorise" in answer.json()["hint"]


def test_a_beat_of_an_unregistered_worker_says_to_register(world: World) -> None:
    answer = world.beat()
    assert (answer.status_code, answer.json()["code"]) == (404, "worker-unknown")


def test_a_beat_tells_what_is_worth_quoting(world: World) -> None:
    world.register()
    before = world.beat().json()
    assert (before["stop"], before["refused"]) == ([], [])
    listing = world.publish()
    after = world.beat().json()["products"]
    assert set(after) - set(before["products"]) == {"0x" + listing.tiers[0].offer.product.hex()}


def test_a_good_ask_rests_and_the_newest_replaces(world: World) -> None:
    world.register()
    assert _refusals(world, world.ask()) == []
    assert _refusals(world, world.ask(price=2 * DOLLAR)) == []
    assert _resting(world) == 1


def test_a_repeated_ask_costs_no_look_at_the_chain(world: World) -> None:
    world.register()
    ask = world.ask()
    world.beat([ask])
    looks = world.chain.looks
    world.beat([ask])
    world.beat()
    assert world.chain.looks == looks


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"provider": STRANGER.address}, "ask-provider"),
        ({"era": 2}, "ask-era"),
        ({"expiry": CHAIN_TIME}, "ask-expired"),
        ({"matcher": STRANGER.address}, "ask-matcher"),
        ({"price": 0}, "ask-price"),
        ({"price": 2**62 + 1}, "ask-price"),
        ({"price": 2**63}, "ask-price"),
        ({"price": 2**96 - 1}, "ask-price"),
        ({"product": Product(1000, 512, 256, "a100", 1, max_seconds=120).to_bytes()}, "ask-resources"),
        ({"slots": 3}, "ask-slots"),
        ({"product": Product(4000, 512, 256, max_seconds=120).to_bytes()}, "ask-resources"),
        ({"product": Product(1000, 8192, 256, max_seconds=120).to_bytes()}, "ask-resources"),
    ],
)
def test_an_ask_that_could_never_be_matched_is_refused_at_the_door(
    world: World, changes: dict[str, Any], code: str
) -> None:
    world.register()
    assert _refusals(world, world.ask(**changes)) == [code]
    assert _resting(world) == 0


def test_a_worker_asks_for_no_more_gpus_than_it_said_it_has(world: World) -> None:
    has = {"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 8192, "slots": 2, "gpus": {"a100": 1}}
    assert world.register(resources=has).status_code == 200
    product = Product(1000, 512, 256, "a100", 1, max_seconds=120).to_bytes()
    assert _refusals(world, world.ask(product=product, slots=2)) == ["ask-resources"]
    assert _refusals(world, world.ask(product=product)) == []


def test_an_ask_by_another_key_is_refused(world: World) -> None:
    world.register()
    assert _refusals(world, world.ask(STRANGER)) == ["ask-signature"]


def test_an_ask_for_any_matcher_is_taken(world: World) -> None:
    world.register()
    assert _refusals(world, world.ask(matcher=ZERO_ADDRESS)) == []


def test_a_draining_worker_has_no_asks(world: World) -> None:
    world.register()
    world.beat([world.ask()])
    world.beat(draining=True)
    assert _resting(world) == 0


def test_a_key_whose_authorisation_ended_cannot_ask(world: World) -> None:
    world.register()
    world.chain.workers[(PROVIDER.address, WORKER.address)] = 0
    assert world.beat([world.ask()]).status_code == 403


def test_an_assignment_has_all_that_the_worker_checks(world: World) -> None:
    listing = world.publish()
    job = world.placed()
    world.register()
    deal = world.open_deal(job.id)
    assignment = world.assignment()
    assert assignment.deal == deal
    assert assignment.deal_id == format_bytes32(deal.id)
    assert assignment.order.job == assignment.manifest.digest()
    assert (assignment.definition, assignment.image_archive) == (listing.definition, listing.image_archive)
    assert (assignment.tasks, assignment.limit_units, assignment.deadline) == ((0,), 100, CHAIN_TIME + 124)
    assert assignment.product.max_seconds == 120


def test_nothing_to_do_is_an_empty_answer(world: World) -> None:
    world.register()
    assert world.http.get("/v1/assignments?wait=0.01", headers=world.sign_in(WORKER)).status_code == 204


@pytest.mark.both_databases
def test_a_started_attempt_is_not_assigned_again_unless_its_worker_forgot_it(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    headers = world.sign_in(WORKER)
    assert world.worker_post(f"{assignment.attempt}/start").status_code == 204
    for _ in range(5):
        assert world.beat(running=[assignment.attempt]).json()["stop"] == []
    assert world.http.get("/v1/assignments", headers=headers).status_code == 204
    for _ in range(3):
        world.beat()
    assert world.assignment().attempt == assignment.attempt


def test_a_strangers_attempt_does_not_exist(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    for path, body in (("start", None), ("log", {"offset": 0, "text": "x"})):
        answer = world.http.post(
            f"/v1/attempts/{assignment.attempt}/{path}", json=body, headers=world.sign_in(STRANGER)
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "attempt-unknown")


@pytest.mark.both_databases
def test_a_success_is_stored_and_on_its_way_to_the_contract(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    _upload_outputs(world)
    report = success(assignment.deal, OUTPUTS)
    assert _report(world, assignment.attempt, report).json() == {"accepted": True, "reason": None}
    (settle,) = _settles(world)
    assert (settle["deal"], settle["done"]) == (assignment.deal_id, 1)
    assert settle["root"] == format_bytes32(report.result.root)
    assert settle["signatures"] == [report.signature]
    assert _report(world, assignment.attempt, report).json()["accepted"] is True
    assert len(_settles(world)) == 1
    settle_on_chain(world, assignment.deal, report)
    owner = world.sign_in(CUSTOMER)
    told = world.http.get(f"/v1/jobs/{job.id}", headers=owner).json()
    assert (told["state"], told["charged"], told["quoted"]) == ("settled", "4000000", "4000000")
    files = world.http.get(f"/v1/jobs/{job.id}/outputs", headers=owner).json()["items"]
    assert [file["path"] for file in files] == ["pivot.xlsx", "totals.json"]
    got = world.http.get(f"/v1/jobs/{job.id}/outputs/pivot.xlsx", headers=owner)
    assert got.content == b"a workbook"
    assert "pivot.xlsx" in got.headers["content-disposition"]
    assert world.http.get(f"/v1/blobs/{sha256_hex(b'{}')}", headers=owner).content == b"{}"
    missing = world.http.get(f"/v1/jobs/{job.id}/outputs/other", headers=owner)
    assert (missing.status_code, missing.json()["code"]) == (404, "output-unknown")
    status = world.http.get(f"/v1/workers/{WORKER.address}", headers=world.sign_in(PROVIDER)).json()
    assert (status["settled"], status["running"], status["earned"]) == (1, 0, "1000000")


@pytest.mark.both_databases
def test_a_refusal_gives_the_reason_to_the_customer(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    report = refusal(assignment.deal, assignment.due)
    assert _report(world, assignment.attempt, report).json()["accepted"] is True
    (settle,) = _settles(world)
    assert (settle["done"], int(settle["root"], 16)) == (0, assignment.due)


@pytest.mark.both_databases
def test_a_refusal_without_a_reason_has_one_all_the_same(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    report = told(refusal(assignment.deal, assignment.due), reason=None)
    assert _report(world, assignment.attempt, report).json()["accepted"] is True
    refuse_on_chain(world, assignment.deal, report)
    with world.store.read() as connection:
        kept = [connection.execute(select(table.c.reason)).scalar_one() for table in (attempts, deals, lots)]
    assert [each["code"] for each in kept] == ["failed"] * 3


def test_outputs_must_be_here_before_the_money_moves(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    report = success(assignment.deal, OUTPUTS)
    world.upload(WORKER, b"a workbook")
    answer = _report(world, assignment.attempt, report)
    assert (answer.status_code, answer.json()["code"]) == (409, "outputs-missing")
    assert answer.json()["missing"] == [sha256_hex(b"{}")]
    world.upload(WORKER, b"{}")
    assert _report(world, assignment.attempt, report).json()["accepted"] is True


def test_naming_a_strangers_file_as_output_does_not_open_it(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    world.upload(STRANGER, b"secret")
    answer = _report(world, assignment.attempt, success(assignment.deal, manifest_of(x=b"secret")))
    assert answer.json()["code"] == "outputs-missing"


def test_reports_that_lie_are_refused(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    _upload_outputs(world)
    good = success(assignment.deal, OUTPUTS)
    refused = refusal(assignment.deal, assignment.due)
    other = Deal.from_json({**assignment.deal.to_json(), "lot": 1})
    lies = {
        "stranger": success(assignment.deal, OUTPUTS, STRANGER),
        "other deal": success(other, OUTPUTS),
        "other outputs": told(good, outputs=manifest_of(x=b"1")),
        "failed but paid": told(good, status=1),
        "succeeded but refused": told(refused, status=0),
        "old due": refusal(assignment.deal, assignment.due + 1),
    }
    codes = {name: _report(world, assignment.attempt, lie).json()["code"] for name, lie in lies.items()}
    assert codes == {
        "stranger": "bad-signature",
        "other deal": "bad-report",
        "other outputs": "bad-report",
        "failed but paid": "bad-report",
        "succeeded but refused": "bad-report",
        "old due": "due-changed",
    }
    assert _settles(world) == []
    assert _report(world, assignment.attempt, good).json()["accepted"] is True
    answer = _report(world, assignment.attempt, refused)
    assert (answer.status_code, answer.json()["code"]) == (409, "already-reported")


def test_a_result_after_the_deal_expired_comes_too_late(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    _upload_outputs(world)
    with world.store.write() as connection:
        chain_deals.deal_expired(connection, assignment.deal_id, returned=4 * DOLLAR, where=where(3))
    assert world.beat(running=[assignment.attempt]).json()["stop"] == [assignment.attempt]
    answer = _report(world, assignment.attempt, success(assignment.deal, OUTPUTS)).json()
    assert (answer["accepted"], answer["reason"]["code"]) == (False, "deal-over")
    assert _settles(world) == []


def test_a_worker_in_trouble_gets_no_work_and_its_provider_sees_why(world: World) -> None:
    world.publish()
    world.register()
    world.beat([world.ask()])
    trouble = "the data folder's disk has 3 MiB left"
    beat = wire.Heartbeat(asks=(), running=(), draining=True, trouble=trouble).model_dump(mode="json")
    headers = world.sign_in(WORKER)
    assert world.http.post("/v1/workers/heartbeat", json=beat, headers=headers).status_code == 200
    status = world.http.get(f"/v1/workers/{WORKER.address}", headers=headers).json()
    assert (status["alive"], status["draining"], status["trouble"]) == (True, True, trouble)
    world.beat([world.ask()])
    status = world.http.get(f"/v1/workers/{WORKER.address}", headers=headers).json()
    assert (status["draining"], status["trouble"]) == (False, None)


def test_a_heartbeat_renews_a_lease_and_keeps_what_the_worker_has_at_hand(world: World) -> None:
    world.register()
    headers = world.sign_in(WORKER)

    def beat(**said: Any) -> float:
        body = wire.Heartbeat(asks=(), running=(), **said).model_dump(mode="json")
        answer = world.http.post("/v1/workers/heartbeat", json=body, headers=headers).json()
        return float(answer["lease_seconds"])

    assert beat(cached=("sha256:" + "1" * 64, "2" * 64)) == 3 * MARKET.heartbeat_seconds
    beat()  # nothing new
    with world.store.read() as connection:
        kept = connection.execute(select(workers.c.cached)).scalar_one()
    assert kept == ["sha256:" + "1" * 64, "2" * 64]


def test_the_customer_is_told_once_that_the_worker_of_a_running_task_is_being_stopped(world: World) -> None:
    world.publish()
    job = world.placed()
    world.register()
    world.open_deal(job.id)
    attempt = world.assignment().attempt
    headers = world.sign_in(WORKER)
    assert world.http.post(f"/v1/attempts/{attempt}/start", headers=headers).status_code == 204
    beat = wire.Heartbeat(asks=(), running=(attempt,), draining=True, stops_at=CHAIN_TIME + 61)
    for _ in range(2):
        answer = world.http.post("/v1/workers/heartbeat", json=beat.model_dump(mode="json"), headers=headers)
        assert answer.status_code == 200
    until = datetime.fromtimestamp(CHAIN_TIME + 61, UTC).strftime("%H:%M:%S UTC")
    words = f"the worker w1 is being stopped; the task ends or is refunded by {until}"
    with world.store.read() as connection:
        told = [
            row.data["stage"]
            for row in connection.execute(select(job_events).where(job_events.c.job == job.id))
            if "stopped" in row.data.get("stage", "")
        ]
    assert told == [words]


def test_a_stop_whose_announcement_was_not_stored_is_announced_with_the_next_beat(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    attempt = world.running(world.placed()).attempt
    beat = wire.Heartbeat(asks=(), running=(attempt,), draining=True, stops_at=CHAIN_TIME + 61)
    body, headers = beat.model_dump(mode="json"), world.sign_in(WORKER)

    def full(*_: Any) -> None:
        raise StorageFull("the service's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("marketplace.workers._wanted", full)
        assert world.http.post("/v1/workers/heartbeat", json=body, headers=headers).status_code == 507
    assert world.http.post("/v1/workers/heartbeat", json=body, headers=headers).status_code == 200
    with world.store.read() as connection:
        events = connection.execute(select(job_events)).all()
    assert sum("is being stopped" in row.data.get("stage", "") for row in events) == 1


def test_unknown_attempts_are_to_be_stopped(world: World) -> None:
    world.register()
    assert world.beat(running=["abc"]).json()["stop"] == ["abc"]


@pytest.mark.both_databases
def test_logs_are_kept_once_in_order_and_up_to_a_limit(world: World) -> None:
    world.publish()
    job = world.placed()
    attempt = world.running(job).attempt

    def say(offset: int, text: str) -> Any:
        return world.worker_post(f"{attempt}/log", {"offset": offset, "text": text})

    assert say(0, "reading ü\n").status_code == 204
    assert say(0, "reading ü\n").status_code == 204
    assert say(8, "ü\nmore\x1b[31m\x00\n").status_code == 204
    gap = say(100, "later")
    assert (gap.status_code, gap.json()["code"], gap.json()["offset"]) == (409, "log-gap", 22)
    owner = world.sign_in(CUSTOMER)
    text = world.http.get(f"/v1/jobs/{job.id}/log", headers=owner).content.decode()
    assert text == "reading ü\nmore\x1b[31m\x00\n"
    assert say(22, "z" * 2000).status_code == 204
    assert say(2022, "never seen").status_code == 204
    text = world.http.get(f"/v1/jobs/{job.id}/log", headers=owner).text
    assert len(text.encode()) < 1100
    assert text.endswith("[the log was cut here: 1000 bytes are kept]\n")
    half = world.http.post(
        f"/v1/attempts/{attempt}/log",
        content=b'{"offset": 0, "text": "\\ud800"}',
        headers={**world.sign_in(WORKER), "Content-Type": "application/json"},
    )
    assert half.status_code == 422


@pytest.mark.both_databases
def test_progress_reaches_the_job(world: World) -> None:
    world.publish()
    job = world.placed()
    attempt = world.running(job).attempt
    world.worker_post(f"{attempt}/log", {"offset": 0, "text": "", "progress": 0.5})
    told = world.http.get(f"/v1/jobs/{job.id}", headers=world.sign_in(CUSTOMER)).json()
    assert (told["progress"], told["state"], told["stage"]) == (0.5, "running", "running on w1")


@pytest.mark.both_databases
def test_a_job_is_cancelled_only_while_no_worker_has_it(world: World) -> None:
    world.publish()
    first, second = world.placed(nonce=1), world.placed(nonce=2)
    owner = world.sign_in(CUSTOMER)
    cancelled = world.http.post(f"/v1/jobs/{first.id}/cancel", headers=owner).json()
    assert (cancelled["state"], cancelled["charged"], cancelled["reason"]["code"]) == (
        "refunded",
        "0",
        "cancelled",
    )
    assert world.http.post(f"/v1/jobs/{first.id}/cancel", headers=owner).status_code == 200
    world.running(second)
    late = world.http.post(f"/v1/jobs/{second.id}/cancel", headers=owner)
    assert (late.status_code, late.json()["code"]) == (409, "already-matched")
    stranger = world.http.post(f"/v1/jobs/{second.id}/cancel", headers=world.sign_in(STRANGER))
    assert (stranger.status_code, stranger.json()["code"]) == (404, "job-unknown")


def test_jobs_come_in_pages_the_newest_first(world: World) -> None:
    world.publish()
    placed = [world.placed(nonce=number).id for number in range(3)]
    owner = world.sign_in(CUSTOMER)
    first = world.http.get("/v1/jobs?limit=2", headers=owner).json()
    second = world.http.get(f"/v1/jobs?limit=2&cursor={first['next']}", headers=owner).json()
    assert [job["id"] for job in first["items"] + second["items"]] == placed[::-1]
    assert second["next"] is None
    assert world.http.get("/v1/jobs?cursor=x", headers=owner).status_code == 422


def test_a_hastened_refusal_is_signed_for_the_new_deadline(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    due = Due(CHAIN_TIME + 20, hastened=True).pack()
    with world.store.write() as connection:
        chain_deals.deal_hastened(connection, assignment.deal_id, due)
    stale = _report(world, assignment.attempt, refusal(assignment.deal, assignment.due)).json()
    assert (stale["code"], stale["due"]) == ("due-changed", due)
    assert _report(world, assignment.attempt, refusal(assignment.deal, due)).json()["accepted"] is True


def test_a_lost_worker_that_answers_in_time_is_still_heard(world: World) -> None:
    world.publish()
    assignment = world.running(world.placed())
    with world.store.write() as connection:
        attempt_lost(connection, assignment.attempt, "w1 is silent")
    _upload_outputs(world)
    assert world.beat(running=[assignment.attempt]).json()["stop"] == []
    answer = _report(world, assignment.attempt, success(assignment.deal, OUTPUTS)).json()
    assert answer["accepted"] is True
    with world.store.read() as connection:
        assert connection.execute(select(attempts.c.state)).scalar_one() == "succeeded"


def test_the_balance_of_a_provider_shows_what_waits(world: World) -> None:
    world.register()
    world.chain.accounts[PROVIDER.address] = AccountView(6 * DOLLAR, 2 * DOLLAR, 1)
    status = world.http.get(f"/v1/workers/{WORKER.address}", headers=world.sign_in(WORKER)).json()
    assert (status["free"], status["held"]) == ("6000000", "2000000")
    stranger = world.http.get(f"/v1/workers/{WORKER.address}", headers=world.sign_in(STRANGER))
    assert stranger.status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": {"code": "c", "message": "m" * 40_000}},
        {"cage": {"value": float("nan")}},
        {"cage": {"notes": "n" * 40_000}},
        {"exit_code": 2**70},
        {"seconds": float("inf")},
    ],
    ids=["a long reason", "no number", "a long cage", "a giant exit code", "endless"],
)
def test_a_report_that_a_job_could_not_carry_is_refused(world: World, changes: dict[str, Any]) -> None:
    world.publish()
    assignment = world.running(world.placed())
    report = refusal(assignment.deal, assignment.due).model_dump(mode="json")
    for name, value in changes.items():
        (report if name == "cage" else report["tasks"][0])[name] = value
    answer = world.http.post(
        f"/v1/attempts/{assignment.attempt}/result",
        content=json.dumps(report),
        headers={**world.sign_in(WORKER), "Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


def test_a_flood_of_progress_is_not_kept(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    for fraction in (0.5, 0.5, 0.1, 0.5004, 1.0, 0.0, 1.0):
        chunk = {"offset": 0, "text": "", "progress": fraction}
        assert world.worker_post(f"{assignment.attempt}/log", chunk).status_code == 204
    told = [
        event.data["fraction"]
        for event in world.services.jobs.events(job.id, CUSTOMER.address, 0)[0]
        if event.kind == "progress"
    ]
    assert told == [0.5, 1.0]


def test_a_log_that_finds_the_disk_full_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    assignment = world.running(world.placed())

    def full(*_given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("marketplace.logs.os.open", full)
        answer = world.worker_post(f"{assignment.attempt}/log", {"offset": 0, "text": "hello"})
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
    again = world.worker_post(f"{assignment.attempt}/log", {"offset": 0, "text": "hello"})
    assert again.status_code == 204
