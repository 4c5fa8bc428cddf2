"""Files and logs are kept as long as was promised, never less than a case needs, and what went is told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import delete, event, insert, select, update

from marketplace import retention
from marketplace.store import engines
from marketplace.store.tables import cases, checks, deals, jobs, reruns, tasks
from prixfixe.keys import LocalSigner
from prixfixe.protocol import wire
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.signatures import parse_signature, recover, statement_digest
from tests.support.finished import deliver
from tests.support.service import (
    CUSTOMER,
    OPERATOR,
    PROVIDER,
    STRANGER,
    World,
    where,
)

DAY = 86_400
PROMISED = 30  # by the bundle
TABLE, RESULT = b"a,b\n", b"done"


def _settled(world: World) -> wire.Job:
    world.publish()
    job = world.placed(TABLE)
    deliver(world, job, log="working\n", out_csv=RESULT)
    return job


def _later(world: World, days: float) -> None:
    world.clock.now += days * DAY
    world.chain.time += int(days * DAY)
    world._tokens.clear()  # sessions are over by then


def _status(world: World, content: bytes) -> int:
    return world.http.get(f"/v1/blobs/{sha256_hex(content)}", headers=world.sign_in(CUSTOMER)).status_code


def _deletions(world: World, job: wire.Job) -> wire.Deletions:
    answer = world.http.get(f"/v1/jobs/{job.id}/deletions", headers=world.sign_in(CUSTOMER))
    assert answer.status_code == 200, answer.text
    return wire.Deletions.model_validate_json(answer.content)


@pytest.mark.both_databases
def test_files_and_logs_go_after_the_promised_days_and_their_customer_has_it_signed(world: World) -> None:
    job = _settled(world)
    _later(world, PROMISED - 1)
    assert world.services.retention.sweep() == (0, 0)
    assert (_status(world, TABLE), _status(world, RESULT)) == (200, 200)
    assert _deletions(world, job).items == ()

    _later(world, 3)
    assert world.services.retention.sweep() == (2, 1)
    assert (_status(world, TABLE), _status(world, RESULT)) == (404, 404)
    assert not world.services.blobs.kept.path(sha256_hex(RESULT)).exists()
    told = _deletions(world, job)
    assert [(each.kind, each.size) for each in told.items] == [("file", 4), ("file", 4), ("log", 8)]
    assert [each.name for each in told.items[:2]] == [sha256_hex(TABLE), sha256_hex(RESULT)]
    said = {"job": job.id, "items": [each.model_dump(mode="json") for each in told.items]}
    signer = recover(statement_digest("Prixfixe deletions", said), parse_signature(told.signature))
    assert signer == told.operator == OPERATOR.address
    headers = world.sign_in(CUSTOMER)
    assert world.http.get(f"/v1/jobs/{job.id}/log", headers=headers).text == ""
    # What happened is still proven: the receipt names every file by its digest.
    assert sha256_hex(RESULT) in world.http.get(f"/v1/jobs/{job.id}/receipt", headers=headers).text
    assert world.http.get(f"/v1/jobs/{job.id}/deletions", headers=world.sign_in(STRANGER)).status_code == 404
    assert world.services.retention.sweep() == (0, 0)


def test_the_image_of_a_bundle_and_a_file_that_was_ordered_with_again_stay(world: World) -> None:
    _settled(world)
    _later(world, PROMISED - 1)
    world.chain.offers = dict.fromkeys(world.chain.offers, world.chain.time + 100 * DAY)
    again = world.placed(TABLE, nonce=2)
    _later(world, 3)
    files, _ = world.services.retention.sweep()
    assert files == 1  # the result
    assert _status(world, TABLE) == 200
    assert world.services.blobs.kept.path(sha256_hex(b"an image")).exists()
    assert _deletions(world, again).items == ()


def _disputed(world: World, job: wire.Job) -> None:
    case = {"deal": "0x" + "11" * 32, "number": 1, "opening": 1, "job": job.id, "lot": 0}
    money = {"bond": 1, "fees": [], "fact": "0", "state": "open", "challenger": STRANGER.address}
    with world.store.write() as connection:
        connection.execute(insert(cases).values(**case, **money, claim={}, until=1, opened={}))


def test_an_open_case_keeps_what_it_is_about(world: World) -> None:
    job = _settled(world)
    _disputed(world, job)
    _later(world, 10 * PROMISED)
    assert world.services.retention.sweep() == (0, 0)
    with world.store.write() as connection:
        connection.execute(update(cases).values(state="lapsed", ended={}))
    assert world.services.retention.sweep() == (2, 1)


def test_however_many_files_a_case_is_about_no_statement_names_more_than_a_page_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 2)
    job = _settled(world)
    _disputed(world, job)
    named = [{"sha256": f"{number:064x}", "name": f"{number}.csv", "size": 1} for number in range(200)]
    with world.store.write() as connection:
        told = connection.execute(select(tasks.c.outputs)).scalar_one()
        connection.execute(update(tasks).values(outputs={**told, "files": [*told["files"], *named]}))
    unused = [b"unused %d" % number for number in range(5)]
    for content in unused:
        world.upload(CUSTOMER, content)
    _later(world, 10 * PROMISED)
    parameters = []

    def count(*told: Any) -> None:
        parameters.append(len(told[3]))

    event.listen(world.store.engine, "before_cursor_execute", count)
    assert world.services.retention.sweep() == (len(unused), 0)
    assert max(parameters) < len(named)
    assert world.services.blobs.kept.path(sha256_hex(RESULT)).exists()


def test_a_sweep_that_the_database_undoes_leaves_every_file_and_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _settled(world)
    _later(world, 2 * PROMISED)

    def fails(*_: object) -> None:
        raise RuntimeError("no commit")

    with monkeypatch.context() as broken:
        broken.setattr(engines, "require_whole", fails)
        with pytest.raises(RuntimeError, match="no commit"):
            world.services.retention.sweep()
        with pytest.raises(RuntimeError, match="no commit"):
            world.services.retention._sweep_logs()
    assert (_status(world, TABLE), _status(world, RESULT)) == (200, 200)
    log = world.http.get(f"/v1/jobs/{job.id}/log", headers=world.sign_in(CUSTOMER))
    assert log.text == "working\n"
    assert world.services.retention.sweep() == (2, 1)


def test_what_nobody_ordered_with_goes_after_the_services_own_days(world: World) -> None:
    world.upload(CUSTOMER, b"never used")
    _later(world, world.services.settings.retention_days - 1)
    assert world.services.retention.sweep() == (0, 0)
    _later(world, 2)
    assert world.services.retention.sweep() == (1, 0)
    assert _status(world, b"never used") == 404
    assert world.upload(CUSTOMER, b"never used")  # it can be sent again
    assert _status(world, b"never used") == 200
    assert world.http.get("/v1/ready").json()["missing"] == []


def _forget(world: World, job: wire.Job, signer: LocalSigner = CUSTOMER) -> httpx.Response:
    return world.http.post(f"/v1/jobs/{job.id}/forget", headers=world.sign_in(signer))


def _forgotten(world: World, job: wire.Job) -> wire.Forgotten:
    answer = _forget(world, job)
    assert answer.status_code == 200, answer.text
    return wire.Forgotten.model_validate_json(answer.content)


@pytest.mark.both_databases
def test_a_customer_has_its_job_forgotten_once_nobody_can_dispute_it(world: World) -> None:
    job = _settled(world)
    assert _forget(world, job, STRANGER).status_code == 404
    waiting = _forget(world, job).json()
    assert (waiting["code"], waiting["retryable"]) == ("window-open", True)
    assert waiting["until"] == where(2)["time"] + 600
    world.chain.time = waiting["until"]
    assert _forget(world, job).json()["code"] == "window-open"
    world.chain.time += 1
    _disputed(world, job)
    assert _forget(world, job).json()["code"] == "case-open"
    with world.store.write() as connection:
        connection.execute(delete(cases))

    told = _forgotten(world, job)
    assert [(each.kind, each.size) for each in told.deletions.items] == [("file", 4), ("file", 4), ("log", 8)]
    assert told.kept == ()
    assert told.deletions == _deletions(world, job), "signed as what a policy deletes"
    assert (_status(world, TABLE), _status(world, RESULT)) == (404, 404)
    assert not world.services.blobs.kept.path(sha256_hex(TABLE)).exists()
    headers, place = world.sign_in(CUSTOMER), f"/v1/jobs/{job.id}"
    assert world.http.get(f"{place}/log", headers=headers).text == ""
    assert world.http.get(f"{place}/outputs/out.csv", headers=headers).json()["code"] == "job-forgotten"
    assert sha256_hex(RESULT) in world.http.get(f"{place}/receipt", headers=headers).text
    assert _forgotten(world, job) == told, "again is no error"
    assert world.services.blobs.kept.path(sha256_hex(b"an image")).exists()


def test_what_another_order_names_stays_until_that_is_forgotten_too(world: World) -> None:
    job = _settled(world)
    again = world.placed(TABLE, nonce=2)
    assert _forget(world, again).json()["code"] == "job-not-over"
    world.chain.time += 700
    assert _forgotten(world, job).kept == (sha256_hex(TABLE),)
    assert (_status(world, TABLE), _status(world, RESULT)) == (200, 404)
    cancelled = world.http.post(f"/v1/jobs/{again.id}/cancel", headers=world.sign_in(CUSTOMER))
    assert cancelled.status_code == 200
    assert _forgotten(world, again).kept == ()
    assert _status(world, TABLE) == 404
    assert [each.size for each in _deletions(world, again).items] == [4]


def test_forgetting_one_of_many_jobs_asks_the_database_no_more_than_one_of_two(world: World) -> None:
    job = _settled(world)
    world.chain.time += 700
    asked: list[Any] = []
    event.listen(world.store.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    counts = []
    for nonce in range(2, 12):
        world.placed(TABLE, nonce=nonce)
        if nonce in (2, 3, 11):
            asked.clear()
            assert _forgotten(world, job).kept == (sha256_hex(TABLE),)
            counts.append(len(asked))
    assert counts[1] == counts[2], "the first time deletes something, too"


def test_what_somebody_else_has_too_stays_for_him_alone(world: World) -> None:
    job = _settled(world)
    world.upload(STRANGER, TABLE)
    world.chain.time += 700
    assert _forgotten(world, job).kept == (sha256_hex(TABLE),)
    theirs = world.http.get(f"/v1/blobs/{sha256_hex(TABLE)}", headers=world.sign_in(STRANGER))
    assert (_status(world, TABLE), theirs.status_code) == (404, 200)


def _bought(world: World, rerun: wire.Job, canary: int | None = None) -> None:
    """The service drew the one deal that there is, and this job is what it bought to check it."""
    with world.store.write() as connection:
        deal = connection.execute(select(deals.c.id)).scalar_one()
        numbers = dict.fromkeys(("time", "day", "gain", "stake", "passed", "rate"), 1)
        drawn = {"provider": PROVIDER.address, "drawn": True, "state": "wanted", "canary": canary}
        connection.execute(insert(checks).values(deal=deal, opening=1, **numbers, **drawn))
        connection.execute(insert(reruns).values(deal=deal, opening=1, number=1, job=rerun.id))


def _forgotten_at(world: World, job: wire.Job) -> int | None:
    with world.store.read() as connection:
        query = select(jobs.c.forgotten_at).where(jobs.c.id == job.id)
        at: int | None = connection.execute(query).scalar_one()
    return at


def test_the_services_own_rerun_of_a_job_is_forgotten_with_it(world: World) -> None:
    job = _settled(world)
    rerun = world.placed(TABLE, nonce=2)
    _bought(world, rerun)
    assert _forget(world, job).json()["code"] == "window-open", "as of a job that was not drawn"
    world.chain.time += 700
    assert _forget(world, job).json()["code"] == "rerun-not-over", "it is run again just now"
    world.http.post(f"/v1/jobs/{rerun.id}/cancel", headers=world.sign_in(CUSTOMER))
    assert _forgotten(world, job).kept == ()
    assert None not in (_forgotten_at(world, job), _forgotten_at(world, rerun))


def test_a_canary_that_a_job_drew_is_neither_told_by_forgetting_it_nor_forgotten_with_it(
    world: World,
) -> None:
    job = _settled(world)
    with world.store.write() as connection:
        deal = {**connection.execute(select(deals.c.deal)).scalar_one(), "disputable": False}
        connection.execute(update(deals).values(deal=deal))
    canary = world.placed(b"known\n", nonce=2)
    _bought(world, canary, canary=1)
    assert _forgotten(world, job).kept == (), "as of a job that was not drawn"
    assert _forgotten_at(world, job) is not None
    assert _forgotten_at(world, canary) is None
    assert _status(world, b"known\n") == 200
