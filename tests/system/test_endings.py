"""How a job can end, through every real part, and what happens to the money each time."""

from __future__ import annotations

import pytest

from prixfixe.cli.receipts import write_receipt
from prixfixe.protocol.money import Money
from tests.support.devnet import Devnet

PRICE = Money.parse("2.00")


def test_a_successful_job_is_charged_the_quote_and_its_receipt_proves_it(devnet: Devnet, tmp_path) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        quote = devnet.quote(client, "ok", 7)
        client.upload(devnet.table)
        job = client.wait(client.buy(quote).id)
        assert (job.state, job.charged, job.reason) == ("settled", PRICE, None)
        result = client.download_file(job.id, "result.txt", tmp_path / "result.txt")
        write_receipt(client.receipt(job.id), tmp_path / "receipt.json")
    assert result.read_text() == "ok 7 3\n"
    assert before - devnet.account().free == quote.total == PRICE
    verified = devnet.types("verify", str(tmp_path / "receipt.json"), str(result), "--json")
    assert '"valid": true' in verified.stdout


def test_a_result_that_was_altered_is_not_what_the_receipt_proves(devnet: Devnet, tmp_path) -> None:
    with devnet.client() as client:
        job = client.wait(devnet.buy(client, "ok").id)
        result = client.download_file(job.id, "result.txt", tmp_path / "result.txt")
        write_receipt(client.receipt(job.id), tmp_path / "receipt.json")
    result.write_text("ok 0 4\n")
    refused = devnet.types("verify", str(tmp_path / "receipt.json"), str(result), expect=10)
    assert "result.txt" in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    ("mode", "number", "code", "fault"),
    [
        ("exit", 3, "exited-non-zero", "platform"),
        ("memory", 0, "out-of-memory", "platform"),
        ("wait", 60, "out-of-time", "platform"),
        ("data", 0, "bad-value", "customer"),
        ("link", 0, "output-not-plain", "platform"),
    ],
)
def test_a_failed_job_costs_nothing_and_says_why(
    devnet: Devnet, mode: str, number: int, code: str, fault: str
) -> None:
    before = devnet.account().free
    job = devnet.run(mode, number)
    assert job.state == "refunded"
    assert job.charged == Money(0)
    assert devnet.account().free == before
    assert job.reason is not None
    assert (job.reason.code, job.reason.fault) == (code, fault), job.reason
    assert job.attempts == 1, "the job's own failure is not tried elsewhere"


def test_a_wrong_cell_found_in_the_cage_is_named_by_row_column_and_value(devnet: Devnet) -> None:
    reason = devnet.run("data").reason
    assert reason is not None
    assert reason.message == "row 3, column amount: 'seven' is not a decimal"
    assert {key: reason.details.get(key) for key in ("row", "column", "value")} == {
        "row": 3,
        "column": "amount",
        "value": "seven",
    }


def test_what_the_job_prints_reaches_the_customer_while_it_runs(devnet: Devnet) -> None:
    with devnet.client() as client:
        job = devnet.buy(client, "chatter", 80)
        seen_while_running = False
        text = ""
        for event in client.events(job.id):
            if event.kind == "log":
                text += event.data["text"]
                seen_while_running = seen_while_running or client.job(job.id).state == "running"
        assert seen_while_running
        assert all(f"line {number}\n" in text for number in range(80))
        assert client.logs(job.id).count("line 79") == 1


def test_the_same_order_posted_twice_is_one_job_and_one_charge(devnet: Devnet) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        quote = devnet.quote(client, "ok", 1)
        client.upload(devnet.table)
        order = client.order(quote)
        first, second = client.buy(order), client.buy(order)
        assert first.id == second.id
        client.wait(first.id)
        assert client.buy(order).id == first.id
    assert before - devnet.account().free == PRICE
