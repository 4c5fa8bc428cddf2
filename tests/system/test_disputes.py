"""Results that are challenged, with a real arbiter that runs them again: lies cost their signer, doubts their
challenger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prixfixe.development_keys import ADDRESSES
from prixfixe.devnet import settings as numbers
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Job
from tests.support import lying_worker
from tests.support.devnet import Devnet, wait_for

PRICE = Money.parse("2.00")
BOND = Money.parse("5.00")
FEE = Money.parse("1.00")
ARBITER = ADDRESSES[numbers.ARBITER]
LIAR = ADDRESSES[numbers.FIRST_PROVIDER]


@pytest.fixture
def liar(devnet: Devnet) -> Iterator[Devnet]:
    """The devnet with one worker only, which lies."""
    for name in ("worker-2", "worker-3"):
        devnet.kill(name)
    with devnet.lying("worker-1"):
        yield devnet


def challenged(devnet: Devnet, job: str, *options: str) -> dict[str, Any]:
    told = devnet.types("challenge", job, "--yes", "--json", *options)
    return dict(json.loads(told.stdout))


def ended(devnet: Devnet, job: str, state: str) -> Job:
    """The job, once its last dispute is in this state."""
    with devnet.client() as client:
        wait_for(
            lambda: [d.state for d in client.job(job).disputes][-1:] == [state], 60, f"{state} in the job"
        )
        return client.job(job)


def test_a_lie_is_judged_guilty_and_the_customer_repaid_to_the_last_unit(
    liar: Devnet, tmp_path: Path
) -> None:
    devnet, before = liar, liar.account()
    provider, arbiter = devnet.account(LIAR), devnet.account(ARBITER)
    job = devnet.run("ok", 7)
    with devnet.client() as client:
        result = client.download_file(job.id, "result.txt", tmp_path / "result.txt")
    assert (job.state, result.read_text()) == ("settled", lying_worker.LIE)
    assert devnet.account().free == before.free - PRICE
    paid = devnet.account(LIAR).cur + devnet.account(LIAR).prev
    assert paid > provider.cur + provider.prev, "what it earned waits"

    told = challenged(devnet, job.id)

    assert (told["outcome"], told["judgement"]["returned"]) == ("guilty", str(PRICE.units))
    assert devnet.account().free == before.free, "price and bond are back"
    after = devnet.account(LIAR)
    assert after.cur + after.prev <= provider.cur + provider.prev, "what it earned is gone"
    assert devnet.account(ARBITER).free == arbiter.free + FEE
    shown = ended(devnet, job.id, "guilty")
    assert (shown.charged, shown.disputes[0].returned) == (Money(0), PRICE)
    devnet.types("jobs", "receipt", job.id, "--out", str(tmp_path / "receipt.json"))
    verified = devnet.types("verify", str(tmp_path / "receipt.json"), "--json")
    assert json.loads(verified.stdout)["complete"]


def test_an_honest_result_stands_and_the_bond_pays_the_arbiter(devnet: Devnet) -> None:
    before, arbiter = devnet.account().free, devnet.account(ARBITER).free
    job = devnet.run("ok", 7)
    told = challenged(devnet, job.id)
    assert told["outcome"] == "acquitted"
    assert devnet.account().free == before - PRICE - BOND
    assert devnet.account(ARBITER).free == arbiter + BOND
    assert ended(devnet, job.id, "acquitted").charged == PRICE

    devnet.dev("advance", "11m")
    late = devnet.types("challenge", job.id, "--yes", expect=6)
    assert "could be challenged until 20" in late.stderr


def test_an_output_that_nobody_delivers_is_judged_after_restarts_and_its_patience(
    devnet: Devnet, tmp_path: Path
) -> None:
    before, receipt = devnet.account().free, tmp_path / "receipt.json"
    job = devnet.run("ok", 7)
    devnet.types("jobs", "receipt", job.id, "--out", str(receipt))
    devnet.kill("arbiter")
    devnet.kill("service")
    (file,) = job.outputs
    blob = devnet.folder.service / "blobs" / file.sha256[:2] / file.sha256[2:]
    kept = blob.read_bytes()
    blob.unlink()
    try:
        # The receipt and the chain are enough: nobody of the market answers now.
        how = ("--ground", "missing", "--receipt", str(receipt), "--no-wait")
        assert challenged(devnet, job.id, *how)["outcome"] == "open"
        assert devnet.account().free == before - PRICE - BOND
        devnet.heal()
        devnet.dev("advance", "6m")  # half a window, in which anyone could have brought it
        assert ended(devnet, job.id, "guilty").charged == Money(0)
    finally:
        blob.write_bytes(kept)
    assert devnet.account().free == before
