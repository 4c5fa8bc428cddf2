"""Ready-made bars, and how things look in a notebook: strangers' words are shown, and obeyed by nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from prixfixe.client import Client, notebook, progress
from prixfixe.client.progress import Step
from prixfixe.protocol.accounts import Statement, StatementLine
from prixfixe.protocol.wire import JobEvent, Reason
from tests.support.finished import deliver
from tests.support.service import CUSTOMER, World

HOSTILE = "<script>alert(1)</script>\"'&[bold]\x1b[2J"


def test_a_bar_of_rich_shows_each_stage_and_no_markup() -> None:
    shown = io.StringIO()
    with progress.rich(Console(file=shown, force_terminal=False, width=120)) as bar:
        bar(Step("checking [bold]"))
        bar(Step("checking [bold]", 0.5))
        bar.bytes("downloading")(5, 10)
    assert "checking [bold]" in shown.getvalue()
    assert "downloading" in shown.getvalue()


def test_a_bar_of_tqdm_shows_each_stage() -> None:
    shown = io.StringIO()
    with progress.tqdm(file=shown) as bar:
        bar(Step("checking", 0.5))
        bar(Step("running"))
        bar.bytes("downloading")(10, 10)
        bar.bytes("downloading")(0, None)
    told = shown.getvalue()
    assert [stage in told for stage in ("checking: ", "running: ", "downloading: ")] == [True] * 3
    assert "100%" in told


def test_a_jobs_events_become_steps_without_control_characters() -> None:
    steps: list[Step] = []
    hear = progress.of_events(steps.append)
    hear(JobEvent(id=1, kind="state", data={"stage": "running on \x1b[2Jw2"}))
    hear(JobEvent(id=2, kind="progress", data={"fraction": 7}))
    hear(JobEvent(id=3, kind="progress", data={"fraction": "half"}))
    hear(JobEvent(id=4, kind="log", data={"text": "hello"}))
    assert [step.fraction for step in steps] == [None, 1.0, None]
    assert {step.stage for step in steps} == {"running on \ufffd[2Jw2"}


def shows_safely(html: str) -> bool:
    return "<script" not in html and "\x1b" not in html and "&lt;script&gt;" in html


@pytest.fixture
def job(client: Client, world: World, table: Path):  # type: ignore[no-untyped-def]
    bought = client.buy(client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50))
    deliver(world, bought)
    return client.wait(bought)


def test_a_notebook_shows_quotes_jobs_receipts_and_statements(client: Client, job, table: Path) -> None:  # type: ignore[no-untyped-def]
    quote = client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50)
    html = quote._repr_html_()
    assert html.startswith("<table><caption>Quote: $4.00</caption>")
    assert "echo 1.0.0, small: 50 rows" in html
    receipt = client.receipt(job)
    assert "$4.00 was charged, as quoted" in job._repr_html_()
    assert "not checked here" in receipt._repr_html_()
    for shown in (
        quote.model_copy(update={"bundle": HOSTILE}),
        job.model_copy(update={"bundle": HOSTILE}),
        job.model_copy(update={"stage": HOSTILE}),
        job.model_copy(update={"reason": Reason(code="x", message=HOSTILE)}),
        job.model_copy(
            update={"outputs": (job.outputs[0].model_copy(update={"path": HOSTILE}),), "output_count": 11}
        ),
        receipt.model_copy(update={"operator": HOSTILE}),
        receipt.model_copy(update={"outcome": HOSTILE}),
    ):
        assert shows_safely(shown._repr_html_())


def test_a_notebook_shows_the_last_lines_of_a_long_statement() -> None:
    line = StatementLine(
        time=1_900_000_000, block=7, transaction="0x" + "ab" * 32, kind="top-up", reference=HOSTILE,
        amount=5_000_000, balance=5_000_000,
    )  # fmt: skip
    statement = Statement(
        address=CUSTOMER.address, block=7, opening=0, lines=(line,) * 500, balance=5_000_000,
        on_chain=5_000_000,
    )  # fmt: skip
    html = statement._repr_html_()
    assert shows_safely(html)
    assert "the last 200 of 500 movements" in html
    assert html.count("<tr>") == 201
    assert notebook.card(HOSTILE, [(HOSTILE, HOSTILE)], (HOSTILE,)).count("<script") == 0
