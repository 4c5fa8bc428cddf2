"""Three replicas through every real part: who agrees is paid, who does not is not, to the unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.cli.receipts import write_receipt
from prixfixe.development_keys import ADDRESSES
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Job
from tests.support.devnet import Devnet, rested, wait_for

PRICE = Money.parse("6.00")
PROVIDERS = ADDRESSES[4:7]  # of worker-1, worker-2, worker-3


def _runs_on(worker: str, job: Job) -> bool:
    return job.stage.startswith("running on ") and worker in job.stage


def earned(devnet: Devnet, provider: str) -> int:
    account = devnet.account(provider)
    return account.free.units + account.cur.units + account.prev.units


def verified(devnet: Devnet, job: Job, folder: Path, *results: Path) -> str:
    with devnet.client() as client:
        write_receipt(client.receipt(job.id), folder / "receipt.json")
    return devnet.types("verify", str(folder / "receipt.json"), *map(str, results)).stdout


def test_three_replicas_are_bought_and_settled_with_three_signatures(devnet: Devnet, tmp_path: Path) -> None:
    rested(devnet)
    before = devnet.account().free
    said = devnet.types(
        "run",
        "probe",
        str(devnet.table),
        "--mode",
        "ok",
        "--replicas",
        "3",
        "--yes",
        "--out",
        str(tmp_path / "result.txt"),
        "--receipt",
        str(tmp_path / "first.json"),
    ).stderr
    assert "3 providers run it, and 2 must give the same result" in said
    assert (tmp_path / "result.txt").read_text() == "ok 0 3\n"
    assert before - devnet.account().free == PRICE
    with devnet.client() as client:
        receipt = client.receipt(client.jobs(1)[0].id)
    (lot,) = receipt.lots
    assert (receipt.quote.replicas, lot.deal.quorum, lot.signed) == (3, 2, 0b111)
    assert {leg.provider for leg in lot.deal.legs} == set(PROVIDERS)
    told = devnet.types("verify", str(tmp_path / "first.json"), str(tmp_path / "result.txt")).stdout
    assert "3 of 3 worker(s) signed it" in told
    assert "The receipt is valid." in told


def test_a_lying_worker_is_outvoted_unpaid_and_shown(devnet: Devnet, tmp_path: Path) -> None:
    before = devnet.account().free
    purses = [earned(devnet, provider) for provider in PROVIDERS]
    with devnet.lying("worker-3"):
        rested(devnet)
        with devnet.client() as client:
            job = client.wait(devnet.buy(client, "ok", 7, replicas=3).id)
            result = client.download_file(job.id, "result.txt", tmp_path / "result.txt")
            receipt = client.receipt(job.id)
    assert job.state == "settled"
    assert result.read_text() == "ok 7 3\n"
    (lot,) = receipt.lots
    liar = [leg.provider for leg in lot.deal.legs].index(PROVIDERS[2])
    assert lot.signed == 0b111 & ~(1 << liar)
    assert lot.signatures[liar] == "0x"
    reason = lot.legs[liar].reason
    assert reason is not None
    assert reason.code == "outvoted"
    pay = {leg.provider: leg.pay for leg in lot.deal.legs}
    assert [earned(devnet, provider) - purse for provider, purse in zip(PROVIDERS, purses, strict=True)] == [
        pay[PROVIDERS[0]],
        pay[PROVIDERS[1]],
        0,
    ]
    # What the liar would have earned is the customer's again, to the unit.
    assert job.charged == PRICE - Money(pay[PROVIDERS[2]])
    assert before - devnet.account().free == job.charged
    told = verified(devnet, job, tmp_path, result)
    assert f"{PROVIDERS[2]} is not paid: its result is not the one" in told
    assert "2 of 3 worker(s) signed it" in told


def test_a_worker_that_is_killed_in_the_middle_does_not_hold_the_others_up(
    devnet: Devnet, tmp_path: Path
) -> None:
    rested(devnet)
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 2, replicas=3)
        wait_for(lambda: _runs_on("w2", client.job(job.id)), 60, "the worker that dies at it")
        devnet.kill("worker-2")
        ended = client.wait(job.id)
        receipt = client.receipt(job.id)
    assert (ended.state, ended.attempts) == ("settled", 1), ended.reason
    (lot,) = receipt.lots
    gone = [leg.provider for leg in lot.deal.legs].index(PROVIDERS[1])
    assert lot.signed == 0b111 & ~(1 << gone)
    assert ended.charged == PRICE - Money(lot.deal.legs[gone].pay)
    assert "is not paid" in verified(devnet, ended, tmp_path)


def test_three_different_answers_give_the_whole_price_back(devnet: Devnet, tmp_path: Path) -> None:
    rested(devnet)
    before = devnet.account().free
    with devnet.client() as client:
        job = client.wait(devnet.buy(client, "random", replicas=3).id)
        assert (job.state, job.charged) == ("refunded", Money(0))
        assert job.reason is not None
        assert job.reason.code == "no-consensus"
        receipt = client.receipt(job.id)
    assert devnet.account().free == before
    assert [lot.outcome for lot in receipt.lots] == ["expired"]
    assert "gave different results" in verified(devnet, job, tmp_path)


@pytest.mark.parametrize("victim", ["worker-1", "service"])
def test_a_restart_in_the_middle_of_a_round_loses_nothing(devnet: Devnet, victim: str) -> None:
    rested(devnet)
    before = devnet.account().free
    with devnet.client() as client:
        job = devnet.buy(client, "wait", 3, replicas=3)
        wait_for(lambda: client.job(job.id).stage.count("w") >= 3, 60, "three workers at it")
    devnet.kill(victim)
    devnet.start(victim)
    devnet.heal()
    with devnet.client() as client:
        ended = client.wait(job.id)
        assert ended.state == "settled"
        (lot,) = client.receipt(job.id).lots
    # A worker that took longer than a few heartbeats to come back was not waited for; a quorum is enough.
    assert lot.signed.bit_count() >= lot.deal.quorum
    assert before - devnet.account().free == ended.charged == lot.kept
