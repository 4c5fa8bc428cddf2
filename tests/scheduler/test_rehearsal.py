"""A market in the process of a test, as users get it: real client, API, store and duties, no container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from prixfixe.chain.events import Settled
from prixfixe.client.wishes import Wish
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import Money
from prixfixe.testing import IMAGE, Market, Task, TaskFailed
from prixfixe.testing.market import PROVIDER
from tests.support.scheduling import until
from tests.support.service import DEFINITION

pytest_plugins = ["prixfixe.testing.plugin"]
pytestmark = pytest.mark.network_ports


def shout(task: Task) -> Mapping[str, bytes]:
    """Its word as often as asked, louder; it refuses to whisper."""
    if task.parameters.get("word") == "whisper":
        raise TaskFailed("no whispering", exit_code=65, code="too-quiet")
    word = str(task.parameters.get("word", "nothing")).upper()
    return {"out.csv": f"{word},{task.index}\n".encode(), "totals.json": b"{}", **task.inputs}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with Market(shout) as market:
        yield market


def test_a_job_of_any_image_runs_and_is_paid_and_proven(market: Market, tmp_path: Path) -> None:
    given = tmp_path / "number.txt"
    given.write_bytes(b"7")
    before, earned = market.free(), market.free(PROVIDER)
    wish = Wish(IMAGE, tasks=3, lot=2, inputs=[given], parameters={"word": "hello"}, product="cpu-1x1/10m")
    job = market.client.wait(market.client.submit(wish))
    assert (job.state, job.charged) == ("settled", Money.parse("0.30"))
    market.client.download(job, tmp_path / "out")
    assert [(tmp_path / "out" / str(index) / "out.csv").read_text() for index in range(3)] == [
        f"HELLO,{index}\n" for index in range(3)
    ]
    assert (tmp_path / "out" / "0" / "number.txt").read_bytes() == b"7"
    assert market.free() == before - job.charged
    assert market.free(PROVIDER) == earned + job.charged
    assert market.client.receipt(job).charged == job.charged


def test_a_bundle_is_sold_at_its_price_and_a_refusal_costs_nothing(market: Market, tmp_path: Path) -> None:
    market.publish(BundleDefinition.model_validate(DEFINITION))
    table = tmp_path / "table.csv"
    table.write_bytes(b"a,b\n")
    before = market.free()

    def run(word: str) -> tuple[str, Money, str]:
        quote = market.client.quote("echo", parameters={"word": word}, inputs=[table], units=50)
        job = market.client.wait(market.client.buy(quote))
        return job.state, job.charged, job.reason.code if job.reason else ""

    assert run("hello") == ("settled", Money.parse("4.00"), "")
    assert run("whisper") == ("refunded", Money(0), "too-quiet")
    assert market.free() == before - Money.parse("4.00")


def test_pytest_has_a_fixture_whose_tasks_give_back_their_inputs(
    prixfixe_market: Market, tmp_path: Path
) -> None:
    given = tmp_path / "a.txt"
    given.write_bytes(b"as it was")
    client = prixfixe_market.client
    job = client.wait(client.submit(Wish(IMAGE, inputs=[given], product="cpu-1x1/10m")))
    client.download(job, tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"as it was"


def test_a_payment_that_a_reorganisation_took_back_is_made_again(market: Market) -> None:
    client = market.contract
    job = market.client.wait(market.client.submit(Wish(IMAGE, product="cpu-1x1/10m")))
    paid, blocks = market.free(), client.block().number

    def settlements() -> list[str]:
        return [event.at.block_hash for event in client.events(blocks - 1, of=(Settled,))]

    (before,) = settlements()
    market.chain.reorganise(2)
    until(lambda: before not in settlements() and len(settlements()) == 1, "the second settlement")
    until(lambda: market.client.job(job).charged == job.charged, "the tables to say so")
    assert market.free() == paid
