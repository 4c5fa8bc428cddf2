"""Lots of many tasks, as the service sees them: reports, progress, logs, outputs, receipts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Text, cast, func, select

from marketplace.store.tables import jobs, tasks, transactions
from prixfixe.cli.jobview import job_rows
from prixfixe.client.checks import Verification
from prixfixe.client.verification import parse_receipt, verify
from prixfixe.client.wishes import task_results
from prixfixe.errors import InvalidInput
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.lot_batch import MOST_LOTS, Assignments
from prixfixe.protocol.outputs import OutputManifest
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.typed_data import format_bytes32
from tests.service.test_bids import ARCHIVE, offering, quote, signed
from tests.support.finished import challenge, end_case
from tests.support.service import (
    CHAIN_ID,
    CHAIN_TIME,
    CONTRACT,
    CUSTOMER,
    OPERATOR,
    WORKER,
    World,
    lot_report,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
)

pytestmark = pytest.mark.both_databases

NONE = OutputManifest()
OUT = manifest_of(out_txt=b"fine")


@pytest.fixture
def job(world: World) -> str:
    """A bid for seven tasks in lots of three, its first lot open and running."""
    return ordered(world, 7, 3)


def ordered(world: World, count: int, lot: int) -> str:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    world.upload(WORKER, b"fine")
    answer = world.post_order(signed(quote(world, tasks=count, lot=lot, price="1000")))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def begin(world: World, job: str, lot: int = 0) -> tuple[str, Deal]:
    deal = world.open_deal(job, lot=lot)
    attempt = world.assignment().attempt
    assert world.worker_post(f"{attempt}/start").status_code == 204
    return attempt, deal


def send(world: World, attempt: str, report: LotReport) -> Any:
    return world.worker_post(f"{attempt}/result", report.model_dump(mode="json"))


def seen(world: World, path: str) -> Any:
    answer = world.http.get(f"/v1/jobs/{path}", headers=world.sign_in(CUSTOMER))
    assert answer.status_code == 200, answer.text
    return answer


def finish(world: World, job: str, endings: list[list[int]]) -> None:
    """Run lot after lot: each task ends with its status."""
    for lot, statuses in enumerate(endings):
        attempt, deal = begin(world, job, lot)
        report = lot_report(deal, [(status, NONE if status else OUT) for status in statuses])
        answer = send(world, attempt, report)
        assert answer.json() == {"accepted": True, "reason": None}, answer.text
        settle_on_chain(world, deal, report)


def test_an_assignment_names_the_tasks_of_its_lot(world: World, job: str) -> None:
    begin(world, job)
    world.open_deal(job, lot=2)
    assert world.assignment().tasks == (6,)


def test_progress_is_the_mean_over_the_tasks_and_the_stage_counts_those_that_are_over(
    world: World, job: str
) -> None:
    attempt, _ = begin(world, job)

    def say(task: int, **said: Any) -> None:
        chunk = {"task": task, "offset": 0, "text": "", **said}
        assert world.worker_post(f"{attempt}/log", chunk).status_code == 204

    say(0, progress=0.7)
    say(1, status=1)
    say(1, status=1)
    shown = seen(world, job).json()
    assert shown["progress"] == pytest.approx(1.7 / 7, abs=1e-5)
    assert shown["stage"] == "1 of 7 tasks done"
    answer = world.worker_post(f"{attempt}/log", {"task": 3, "offset": 0, "text": "x"})
    assert answer.json()["code"] == "task-unknown"


def test_each_task_has_a_log_under_a_line_that_names_it(world: World, job: str) -> None:
    attempt, _ = begin(world, job)
    for task, text in ((2, "two"), (0, "zero\n"), (2, "two more")):
        assert world.worker_post(f"{attempt}/log", {"task": task, "offset": 0, "text": text}).is_success
    assert seen(world, f"{job}/log").text == (
        "--- task 0 on w1: running ---\nzero\n--- task 2 on w1: running ---\ntwo more\n"
    )


def test_what_failed_is_named_and_not_charged(world: World, job: str) -> None:
    finish(world, job, [[0, 1, 0], [0, 0, 0], [0]])
    shown = seen(world, job).json()
    price = int(shown["quoted"]) // 7
    assert (shown["state"], int(shown["charged"])) == ("settled", 6 * price)
    assert shown["reason"]["code"] == "tasks-failed"
    assert "1 of 7 tasks failed, the first of them task 1" in shown["reason"]["message"]
    assert shown["output_count"] == 6
    receipt = Receipt.model_validate(seen(world, f"{job}/receipt").json())
    assert [[task.index for task in lot.tasks] for lot in receipt.lots] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [lot.done for lot in receipt.lots] == [2, 3, 1]
    assert checked(receipt).valid
    told = {check.name: check.detail for check in checked(receipt).checks}
    assert told["task 1"] == "failed (exited non zero), not charged: it ended with exit code 3"
    lie = receipt.lots[0].tasks[1].model_copy(update={"status": 0})
    first, *others = receipt.lots
    lot = first.model_copy(update={"tasks": (first.tasks[0], lie, first.tasks[2])})
    assert not checked(receipt.model_copy(update={"lots": (lot, *others)})).valid


def test_of_what_was_judged_wrong_nothing_is_told_as_paid(world: World, job: str, tmp_path: Path) -> None:
    finish(world, job, [[0, 1, 0], [0, 0, 0], [0]])
    bought = wire.Job.model_validate(seen(world, job).json())
    price = bought.quoted.units // 7
    challenge(world, bought, lot=1)
    assert ends(world, job) == [
        ("done", "none", 6, 6 * price),
        ("exited-non-zero", "customer", 1, 0),
    ]
    end_case(world, bought, "guilty", lot=1)
    assert ends(world, job) == [
        ("done", "none", 3, 3 * price),
        ("exited-non-zero", "customer", 1, 0),
        ("judged-wrong", "provider", 3, 0),
    ]
    wrong = "the arbiter found the result wrong; what it had cost came back"
    rows = job_rows(wire.Job.model_validate(seen(world, job).json()))
    assert ("3 tasks", f"{wrong} (the provider's fault), nothing charged") in rows
    page = world.http.get(f"/wallet/jobs/{job}", headers=world.sign_in(CUSTOMER)).text
    assert f"{wrong}, $0.00" in page
    receipt = Receipt.model_validate(seen(world, f"{job}/receipt").json())
    assert [each.index for each in task_results(receipt, tmp_path) if each.succeeded] == [0, 2, 6]


def test_a_lot_that_was_settled_and_one_that_was_refused_are_told_apart(world: World) -> None:
    job = ordered(world, 2, 1)
    finish(world, job, [[0]])
    attempt, deal = begin(world, job, 1)
    report = refusal(deal, CHAIN_TIME + 124)
    assert send(world, attempt, report).json()["accepted"]
    refuse_on_chain(world, deal, report)
    price = int(seen(world, job).json()["quoted"]) // 2
    assert ends(world, job) == [("done", "none", 1, price), ("no-column", "customer", 1, 0)]


def ends(world: World, job: str) -> list[tuple[str, str, int, int]]:
    """Code, fault, number and cost of a job's tasks, as its customer is told them, in the order of codes."""
    told = wire.Job.model_validate(seen(world, job).json()).ends
    return sorted((each.code, each.fault, each.tasks, each.charged.units) for each in told)


def test_outputs_come_in_pages_of_whole_tasks_each_in_its_folder(world: World, job: str) -> None:
    finish(world, job, [[0, 1, 0], [0, 0, 0], [0]])
    first = seen(world, f"{job}/outputs?limit=4").json()
    assert [file["path"] for file in first["items"]] == [f"{task}/out.txt" for task in (0, 2, 3, 4)]
    rest = seen(world, f"{job}/outputs?limit=4&cursor={first['next']}").json()
    assert ([file["path"] for file in rest["items"]], rest["next"]) == (["5/out.txt", "6/out.txt"], None)
    assert [file["path"] for file in seen(world, f"{job}/outputs?task=5").json()["items"]] == ["5/out.txt"]
    assert seen(world, f"{job}/outputs/6/out.txt").content == b"fine"
    owner = world.sign_in(CUSTOMER)
    for missing in ("1/out.txt", "out.txt", "x/out.txt"):
        assert world.http.get(f"/v1/jobs/{job}/outputs/{missing}", headers=owner).status_code == 404


def test_reports_of_lots_that_do_not_hold_together_are_refused(world: World, job: str) -> None:
    attempt, deal = begin(world, job)
    good = lot_report(deal, [(0, OUT), (1, NONE), (0, OUT)])
    swapped = good.model_copy(update={"tasks": (good.tasks[1], good.tasks[0], good.tasks[2])})
    short = lot_report(deal, [(0, OUT), (1, NONE)])
    paid = good.model_copy(update={"tasks": (good.tasks[0], good.tasks[0], good.tasks[2])})
    gift = lot_report(deal, [(0, OUT), (1, OUT), (0, OUT)])
    told = {each: send(world, attempt, report).json() for each, report in
            {"swapped": swapped, "short": short, "paid": paid, "gift": gift}.items()}  # fmt: skip
    assert {each: answer["code"] for each, answer in told.items()} == dict.fromkeys(told, "bad-report")
    assert "the task at place 1 is not paid for, and brings outputs" in told["gift"]["detail"]
    assert send(world, attempt, good).json()["accepted"]


def test_a_report_longer_than_its_lot_allows_is_refused_before_it_is_read(world: World, job: str) -> None:
    attempt, _ = begin(world, job)
    headers = {**world.sign_in(WORKER), "Content-Type": "application/json"}
    answer = world.http.post(f"/v1/attempts/{attempt}/result", content=b" " * 4_500_000, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    answer = world.http.post(f"/v1/attempts/{attempt}/result", content=rb'{"a": "\ud800"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


def test_several_lots_start_and_are_reported_together_and_a_bad_one_touches_no_other(
    world: World, job: str
) -> None:
    calls = world.services.assignments
    deals = {lot: world.open_deal(job, lot=lot) for lot in range(3)}
    given = {each.deal.lot: each for each in calls.next_each(WORKER.address, 10)}
    assert {lot: each.tasks for lot, each in given.items()} == {0: (0, 1, 2), 1: (3, 4, 5), 2: (6,)}
    assert len(calls.next_each(WORKER.address, 2)) == 2
    refused = calls.start_each([*(each.attempt for each in given.values()), "nobody's"], WORKER.address)
    assert {attempt: error.code for attempt, error in refused.items()} == {"nobody's": "attempt-unknown"}
    assert calls.next_each(WORKER.address, 10) == []
    whole = lot_report(deals[0], [(0, OUT), (0, OUT), (1, NONE)])
    reports = {0: whole, 1: whole, 2: refusal(deals[2], given[2].due)}
    answers = calls.report_each(
        {given[lot].attempt: report for lot, report in reports.items()}, WORKER.address
    )
    first, wrong, last = (answers[given[lot].attempt] for lot in range(3))
    assert first == last == wire.ReportAnswer(accepted=True)
    assert isinstance(wrong, InvalidInput)
    with world.store.read() as connection:
        found = connection.execute(select(tasks.c.lot, tasks.c.state).order_by(tasks.c.position)).all()
        queued = select(transactions.c.arguments).where(transactions.c.call == "settle")
        settled = connection.execute(queued).scalars().all()
    assert [tuple(row) for row in found] == [
        *((0, "succeeded"), (0, "succeeded"), (0, "failed")),
        *((1, "running"), (1, "running"), (1, "running")),
        (2, "failed"),
    ]
    assert {each["deal"]: each["done"] for each in settled} == {
        format_bytes32(deals[0].id): 2,
        format_bytes32(deals[2].id): 0,
    }


def test_over_http_too_and_what_cannot_be_read_or_is_not_the_workers_is_answered_by_itself(
    world: World, job: str
) -> None:
    deals = {lot: world.open_deal(job, lot=lot) for lot in range(3)}
    headers = world.sign_in(WORKER)

    def waiting(most: int) -> list[wire.Assignment]:
        answer = world.http.get(f"/v1/assignments/batch?most={most}", headers=headers)
        return [] if answer.status_code == 204 else list(Assignments.model_validate(answer.json()).items)

    assert len(waiting(2)) == 2
    given = {each.deal.lot: each.attempt for each in waiting(10)}
    started = world.worker_post("start", {"attempts": [*given.values(), "ab", given[0]]}).json()["items"]
    assert [each["attempt"] for each in started] == [*given.values(), "ab", given[0]]
    assert [each["problem"] and each["problem"]["code"] for each in started] == [
        *[None] * 3,
        "attempt-unknown",
        None,
    ]
    assert waiting(10) == []
    whole = lot_report(deals[0], [(0, OUT), (0, OUT), (1, NONE)]).model_dump(mode="json")
    last = lot_report(deals[2], [(0, OUT)]).model_dump(mode="json")
    told = [
        {"attempt": given[0], "report": whole},
        {"attempt": given[1], "report": whole},
        {"attempt": "ab", "report": whole},
        {"attempt": "cd", "report": {**whole, "tasks": "none"}},
        {"attempt": given[2], "report": last},
    ]
    for _ in range(2):
        items = world.worker_post("results", {"reports": told}).json()["items"]
        assert [each["attempt"] for each in items] == [each["attempt"] for each in told]
        assert [each["answer"] or each["problem"]["code"] for each in items] == [
            {"accepted": True, "reason": None},
            "bad-report",
            "attempt-unknown",
            "invalid-request",
            {"accepted": True, "reason": None},
        ]
        assert items[3]["problem"]["field"] == "tasks"
    alone = send(world, given[1], LotReport.model_validate(whole)).json()
    assert items[1]["problem"] == alone
    with world.store.read() as connection:
        found = connection.execute(select(tasks.c.state).order_by(tasks.c.position)).scalars().all()
    assert found == ["succeeded", "succeeded", "failed", *["running"] * 3, "succeeded"]


def test_the_lots_of_one_call_are_bounded(world: World, job: str) -> None:
    headers = {**world.sign_in(WORKER), "Content-Type": "application/json"}
    for most in (0, MOST_LOTS + 1):
        assert world.http.get(f"/v1/assignments/batch?most={most}", headers=headers).status_code == 422
    for number in (0, MOST_LOTS + 1):
        names = [f"{each:x}" for each in range(number)]
        answer = world.worker_post("start", {"attempts": names})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
        answer = world.worker_post(
            "results", {"reports": [{"attempt": each, "report": {}} for each in names]}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    answer = world.http.post("/v1/attempts/results", content=b" " * (2**20 + 1), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_assignments_of_one_answer_are_bounded_in_length_and_never_none(
    world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lot in range(3):
        world.open_deal(job, lot=lot)
    headers = world.sign_in(WORKER)
    with world.store.read() as connection:
        length = connection.execute(select(func.length(cast(jobs.c.manifest, Text)))).scalar_one()
    for most, count in ((0, 1), (int(2.5 * length), 2), (4 * length, 3)):
        monkeypatch.setattr("marketplace.assignments._MOST_MANIFESTS", most)
        assert len(world.http.get("/v1/assignments/batch", headers=headers).json()["items"]) == count


def test_a_large_job_has_a_receipt_that_is_written_and_verified_whole(world: World) -> None:
    count = 1_025
    job = ordered(world, count, 1_024)
    for lot in (0, 1):
        attempt, deal = begin(world, job, lot)
        report = lot_report(deal, [(0, OUT)] * deal.count)
        assert world.services.assignments.report(attempt, WORKER.address, report).accepted
        settle_on_chain(world, deal, report)
    with world.store.read() as connection:
        assert connection.execute(select(jobs.c.state).where(jobs.c.id == job)).scalar_one() == "settled"
        done = select(tasks.c.position).where(tasks.c.state == "succeeded")
        assert len(connection.execute(done).all()) == count
    shown = wire.Job.model_validate(seen(world, job).json())
    assert (len(shown.outputs), shown.output_count) == (100, count)
    receipt = parse_receipt(seen(world, f"{job}/receipt").content)
    assert checked(receipt).valid


def checked(receipt: Receipt) -> Verification:
    return verify(receipt, chain_id=CHAIN_ID, contract=CONTRACT, operator=OPERATOR.address)


def test_a_worker_reads_the_image_of_a_bid_while_it_is_assigned_to_it(world: World) -> None:
    path = f"/v1/blobs/{sha256_hex(ARCHIVE)}"
    job = ordered(world, 2, 2)
    worker = world.sign_in(WORKER)
    assert world.http.get(path, headers=worker).status_code == 404, "not before"
    begin(world, job)
    assert world.http.get(path, headers=worker).content == ARCHIVE


@pytest.mark.parametrize("body", [b"5", b"[]", b"null", b"true", b'"x"', b"[[1]]"])
def test_a_body_that_is_no_object_is_refused_as_any_other_that_does_not_parse(
    world: World, body: bytes
) -> None:
    for path in ("quotes", "jobs", "asks"):
        answer = world.http.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text
