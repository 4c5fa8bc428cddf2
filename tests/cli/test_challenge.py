"""`prixfixe challenge` as it is typed: told and asked first, then judged; also when the service is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prixfixe.client import Client, conversation, dispute
from prixfixe.client.contexts import Context, save_context
from prixfixe.client.verification import receipt_bytes
from tests.cli.conftest import Terminal
from tests.support.disputed import settled_lot
from tests.support.finished import deliver
from tests.support.market import LocalMarket
from tests.support.service import World

pytestmark = pytest.mark.chain


@pytest.fixture
def job(
    types: Terminal, world: World, table: Path, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A job with its receipt in receipt.json, whose service is silent and whose deal is on a real chain."""
    receipt = Path("receipt.json").absolute()
    with Client() as client:
        quote = client.quote("echo", parameters={"word": "x"}, inputs=[table], units=50)
        client.upload(table)
        bought = client.buy(client.order(quote, receipt=str(receipt)))
        deliver(world, bought)
        issued = client.receipt(bought)
    receipt.write_bytes(receipt_bytes(issued.model_copy(update={"lots": (settled_lot(market),)})))
    deployed = market.deployment
    save_context(
        Context("gone", "http://127.0.0.1:1", deployed.chain_id, deployed.market, market.chain.url, "dev:3")
    )
    monkeypatch.setattr(conversation, "BACKOFF", ())
    return str(bought.id)


@pytest.fixture(params=[True, False], ids=["guilty", "not guilty"])
def verdict(request: pytest.FixtureRequest, market: LocalMarket, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The arbiter judges so as soon as anybody waits for it."""
    patient = dispute.wait

    def judged(client: Any, signer: Any, opened: dispute.OpenCase, told: Any = None) -> dispute.Verdict:
        market.client.judge(market.admin, opened.case, guilty=request.param)
        return patient(client, signer, opened, told)

    monkeypatch.setattr(dispute, "wait", judged)
    return bool(request.param)


def test_cost_and_outcome_are_told_before_anything_is_sent(
    types: Terminal, job: str, market: LocalMarket
) -> None:
    before = market.client.account(market.customer.address)
    asked = types("challenge", job[:10], answer="n\n")
    assert asked.code == 130
    for said in (
        "$5.00 from your account; it doubles with each case of this lot",
        f"$6.00 goes back to {market.customer.address}, the bond to you",
        f"the bond goes to the arbiter {market.admin.address}",
        "after 10 min the bond is yours again",
        "can be challenged until 20",
    ):
        assert said in asked.out, asked.out
    assert market.client.account(market.customer.address) == before


def test_the_judgement_is_waited_for_and_told(types: Terminal, job: str, verdict: bool) -> None:
    done = types("challenge", job, "--task", "2", "--yes")
    assert done.code == 0, done.err
    assert "the service is silent; using" in done.err
    if verdict:
        assert "guilty: $6.00 is back in the account of" in done.out
        assert "your bond of $5.00 in yours" in done.out
    else:
        assert "not guilty: the result stands, and your bond of $5.00 went to the arbiter" in done.out


def test_a_program_gets_one_object(types: Terminal, job: str, verdict: bool) -> None:
    told = types("challenge", job, "--yes", "--json").json
    assert told["outcome"] == told["judgement"]["outcome"] == ("guilty" if verdict else "acquitted")
    assert told["judgement"]["returned"] == ("6000000" if verdict else "0")
    assert (told["job"], told["task"], told["ground"], told["bond"]) == (job, 0, "wrong", "5000000")


def test_a_case_can_be_left_to_itself(types: Terminal, job: str, market: LocalMarket) -> None:
    assert types("challenge", job, "--yes", "--no-wait", "--json").json["outcome"] == "open"
    again = types("challenge", job, "--receipt", "receipt.json", "--yes")
    assert again.code == 6
    assert "has challenged this result already" in again.err


def test_the_receipt_of_another_job_is_refused(types: Terminal, job: str) -> None:
    other = "0x" + "11" * 32
    refused = types("challenge", other, "--receipt", "receipt.json", "--yes")
    assert refused.code == 3
    assert f"is the receipt of job {job}" in refused.err
