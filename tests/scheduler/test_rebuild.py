"""The tables are made anew from the chain and the archive, and are what they were."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from marketplace.archive import Archive
from marketplace.store.tables import attempts, batches, cases, deals, jobs, tasks, trades, transactions
from marketplace.store.transitions import OrderTerms
from prixfixe.chain import events
from prixfixe.errors import Conflict, NotFound
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import leaf, merkle_root
from prixfixe.protocol.wire import Reason
from scheduler.archivist import Archivist
from scheduler.commands import admin
from scheduler.restoring import Rebuilt, prove, restore
from tests.support.market import DISPUTABLE, OFFER, PRICE
from tests.support.s3 import Bucket
from tests.support.scheduling import OUTPUTS, Service
from tests.support.stores import migrated_store

pytestmark = pytest.mark.chain


def archived(service: Service) -> None:
    Archivist(service.store, Archive(service.data / "archive")).run_once()


def proven(service: Service, blobs: str | None = None) -> Rebuilt:
    return prove(service.store, service.client, service.market.deployment.block, service.data, blobs)


def documents(service: Service, kind: str) -> dict[str, dict[str, Any]]:
    """Of the archive, by key."""
    found = {}
    for path in sorted((service.data / "archive" / kind).glob("*.jsonl")):
        for line in path.read_text().splitlines():
            key, _, document = line.partition(" ")
            found[key] = json.loads(document)
    return found


def keep_only(service: Service, kind: str, kept: dict[str, dict[str, Any]]) -> None:
    """What of a kind is in the archive, and nothing else."""
    folder = service.data / "archive" / kind
    for path in folder.glob("*.jsonl"):
        path.unlink()
    (folder / "000000000001.jsonl").write_text(
        "".join(f"{key} {json.dumps(document)}\n" for key, document in kept.items())
    )


def files_are_there(service: Service) -> None:
    """The output of every task, and the image."""
    for name, content in ((OUTPUTS.files[0].sha256, b"ten bytes."), ("00" * 32, b"image")):
        path = service.blobs.kept.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def run(service: Service) -> Service:
    """Orders that were settled (three lots in one transaction), refused for the job's own fault, refused by a
    worker and settled at the second try, and expired; a result that was disputed and found wrong, one that
    was acquitted; and an order that rests."""
    market = service.market
    files_are_there(service)
    market.client.publish(market.pricing, DISPUTABLE, market.chain.time + 86_400, Money(0))
    service.list_offer(DISPUTABLE, "disputable")
    first = service.ready_worker(slots=9)
    jobs_ = {
        "settled": service.order(tasks=3, lot=1),
        "wrong": service.order(market.purchase(offer=DISPUTABLE, nonce=2)),
        "right": service.order(market.purchase(offer=DISPUTABLE, nonce=3)),
        "failed": service.order(nonce=4),
        "retried": service.order(nonce=5),
        "expired": service.order(market.bid(nonce=6), OrderTerms("flat", OFFER.product)),
    }
    service.step()
    faults: dict[str, Any] = {"failed": "customer", "retried": "provider"}
    for name, job in jobs_.items():
        for row in service.rows(attempts):
            if row["job"] == job and name != "expired":
                fault = faults.get(name)
                reason = None if fault is None else Reason(code="disk", message="no disk", fault=fault)
                service.report(first, attempt=row["id"], status=0 if fault is None else 1, reason=reason)
    service.step()
    second = service.ready_worker(1, name="w2")
    service.step()
    service.report(second)
    service.step()
    for name, guilty in (("wrong", True), ("right", False)):
        judged(service, jobs_[name], guilty)
    market.chain.advance(1200)
    service.step()
    service.step()
    service.order(nonce=9, tasks=2)
    archived(service)
    return service


def judged(service: Service, job: str, guilty: bool) -> None:
    market, row = service.market, service.row(deals, job=job)
    deal, root, fact = Deal.from_json(row["deal"]), bytes.fromhex(row["root"][2:]), int(row["fact"])
    claim = Claim(Ground.WRONG, 0, 0, OUTPUTS.digest)
    opened = market.client.challenge(market.customer, deal, root, fact, claim).one(events.Challenged)
    fees = tuple(fee.units for fee in opened.fees)
    case = Case(deal, root, fact, opened.challenger, opened.until, claim.hash, fees)
    market.client.judge(market.admin, case, guilty=guilty)
    service.indexer.run_once()


def test_what_the_chain_and_the_archive_give_is_what_the_service_has(run: Service) -> None:
    ends = Counter(row["state"] for row in run.rows(deals))
    assert ends == {"settled": 5, "guilty": 1, "refused": 2, "expired": 1}
    assert [row["state"] for row in run.rows(cases)] == ["guilty", "acquitted"]
    found = proven(run)
    assert found.differences == ()
    assert found.missing == ()
    assert found.facts > 200
    assert run.rows(jobs)[-1]["state"] == "queued", "and nothing was changed"


def test_published_batches_and_what_they_matched_are_rebuilt_from_a_folder_and_from_a_bucket(
    service: Service, bucket: Bucket
) -> None:
    first, second = service.ready_worker(), service.ready_worker(1, name="w2")
    service.bid(price=Money.parse("2.00"))
    service.bid(price=Money.parse("1.90"), nonce=2)
    service.close_batch()
    for worker in (first, second):
        service.report(worker)
    service.relay()
    service.indexer.run_once()
    (batch,) = service.rows(batches)
    assert batch["cleared"] is not None
    assert [row["kind"] for row in service.rows(trades)] == ["auction", "auction"]
    files_are_there(service)
    archived(service)
    found = proven(service)
    assert (found.differences, found.missing) == ((), ())
    bucket.fill(service.blobs.kept)
    shutil.rmtree(service.data / "blobs")
    assert proven(service, bucket.address) == found
    bucket.store().delete([batch["digest"][2:]])
    found = proven(service, bucket.address)
    assert [each.of for each in found.missing] == [batch["digest"]]
    assert {each.table for each in found.differences} == {"batches"}


def test_every_difference_is_named_with_both_values(run: Service) -> None:
    deal = run.row(deals, job=run.rows(jobs, jobs.c.number)[0]["id"], lot=1)
    with run.store.write() as connection:
        connection.execute(update(deals).where(deals.c.id == deal["id"]).values(paid=1))
        connection.execute(update(tasks).where(tasks.c.job == deal["job"]).values(status=9))
    found = proven(run)
    assert not found.is_whole
    told = {(each.table, each.what): (each.present, each.rebuilt) for each in found.differences}
    assert told["deals", f"{deal['id']} 1 paid"] == (1, deal["paid"])
    assert told["tasks", f"{deal['job']} task 0 status"] == (9, 0)
    assert len(told) == 4, "one deal's pay and three tasks' statuses"
    assert f"{deal['id']} 1 paid: here 1, rebuilt {deal['paid']}" in found.to_text()


def test_a_lost_store_is_filled_from_chain_and_archive_and_its_service_goes_on(run: Service) -> None:
    """What waited for a worker is ended: nobody knows any more whether it was cancelled."""
    market = run.market
    before = {row["id"]: row for row in run.rows(jobs)}
    worker = run.ready_worker(2, name="w3", slots=2)  # for what had expired, and a lot of the last order
    run.step()
    running = run.rows(jobs, jobs.c.number)[-1]["id"]
    assert run.job(running)["state"] == "running"
    resting = run.order(nonce=20)
    archived(run)
    run.close()
    left = run.data / "left"
    for folder in ("archive", "blobs"):
        shutil.copytree(run.data / folder, left / folder)
    empty = migrated_store(left / "prixfixe.db")
    found = restore(empty, market.client, market.deployment.block, left)
    empty.close()

    assert found.missing == ()
    assert found.ended == 1, "the last order's other lot"
    again = Service(market, left)
    for row in again.rows(jobs):
        known = before.get(row["id"])
        assert known is None or (row["order"], row["charged"]) == (known["order"], known["charged"])
    assert again.rows(transactions) == []
    assert resting not in {row["id"] for row in again.rows(jobs)}, "orders that rest are backed up"
    attempt = again.row(attempts, job=running)
    again.register(worker, attempt["provider"], "w3", slots=2)
    again.report(worker, attempt=attempt["id"])
    again.step()
    assert (again.job(running)["state"], again.job(running)["charged"]) == ("settled", PRICE.units)
    assert again.job(running)["reason"]["code"] == "store-lost"
    archived(again)
    assert proven(again).differences == ()
    with pytest.raises(Conflict, match="not empty"):
        restore(again.store, market.client, market.deployment.block, left)
    again.close()


def test_a_document_that_is_gone_or_another_ones_is_said_and_not_invented(run: Service) -> None:
    market = run.market
    settled = run.row(deals, job=run.rows(jobs, jobs.c.number)[0]["id"], lot=1)
    orders, results = documents(run, "orders"), documents(run, "results")
    gone, forged = (row["id"] for row in run.rows(jobs, jobs.c.number)[1:3])
    del orders[gone]
    orders[forged]["job"]["manifest"]["image"] = "sha256:" + "9" * 64
    keep_only(run, "orders", orders)
    leaves = results[f"{settled['id']}-1"]
    leaves["attempts"][0]["tasks"][0]["outputs"]["files"][0]["size"] = 11
    keep_only(run, "results", results)
    (run.data / "blobs" / "ab" / ("ab" * 31)).unlink()

    empty = migrated_store(run.data / "other.db")
    found = restore(empty, market.client, market.deployment.block, run.data)
    told = {(each.what, each.of) for each in found.missing}
    assert ("the order", gone) in told
    assert ("the order (its document is another one)", forged) in told
    assert ("the leaves under the root that was paid for", settled["id"]) in told
    assert any(what == f"an output of (blob {OUTPUTS.files[0].sha256})" for what, _ in told)
    with empty.read() as connection:
        known = {row.id for row in connection.execute(jobs.select())}
        kept = {row.id: row.state for row in connection.execute(deals.select())}
    empty.close()
    assert not known & {gone, forged}
    assert kept[settled["id"]] == "settled", "the money is the chain's word"


def test_an_archived_failure_of_before_each_had_a_reason_is_rebuilt(run: Service) -> None:
    results = documents(run, "results")
    told = [each for result in results.values() for each in result["attempts"]]
    (failed,) = [each for each in told if each["reason"] and each["reason"]["fault"] == "customer"]
    failed["reason"] = None
    keep_only(run, "results", results)
    found = proven(run)
    assert (found.differences, found.missing) == ((), ())


def test_a_result_is_archived_once_its_worker_has_reported_though_it_was_paid_before(
    service: Service,
) -> None:
    """It settles by itself, and brings its report afterwards."""
    worker = service.ready_worker()
    service.order()
    service.step()
    row = service.rows(deals)[0]
    deal, root = Deal.from_json(row["deal"]), merkle_root([leaf(0, 0, OUTPUTS.digest)])
    signature = sign_typed(worker, Result(deal.id, root, 1), service.market.client.domain)
    service.market.client.settle(service.market.stranger, deal, row["due"], root, 1, [signature])
    service.indexer.run_once()
    for _ in range(70):  # blocks that no re-organisation reaches any more
        service.market.chain.rpc.call("evm_mine")
    archived(service)
    archived(service)
    assert documents(service, "results") == {}
    service.report(worker)
    archived(service)
    assert len(documents(service, "results")) == 1
    assert proven(service).differences == ()


def test_the_archive_starts_over_when_the_store_is_older_than_it(service: Service) -> None:
    Archive(service.data / "archive").moved({"order": 7, "block": 10**9})
    service.order()
    archived(service)
    assert len(documents(service, "orders")) == 1
    assert Archive(service.data / "archive").position() == {"order": 1, "block": 0}


def test_a_store_that_was_never_used_has_nothing_to_compare(service: Service) -> None:
    with pytest.raises(NotFound, match="not read the chain"):
        proven(service)


def test_the_command_says_it_and_its_exit_code_too(run: Service) -> None:
    arguments = ["rebuild", "--data", str(run.data), "--rpc", run.client.rpc.url]
    arguments += ["--contract", run.client.contract, "--database", run.store.url]
    equal = CliRunner().invoke(admin, arguments)
    assert equal.exit_code == 0, equal.output
    assert "all equal, nothing missing" in equal.output
    with run.store.write() as connection:
        connection.execute(update(deals).values(done=None))
    differs = CliRunner().invoke(admin, [*arguments, "--json"])
    assert differs.exit_code == 1
    told: dict[str, Any] = json.loads(differs.output)
    assert {each["table"] for each in told["differences"]} == {"deals"}
