"""How quotes, jobs, receipts and statements look in a notebook: small tables of HTML.

Names and words come from strangers (a bundle, a worker, a file), so every one of them is escaped; nothing
here runs or loads anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from prixfixe.client.endings import clean, money_sentence
from prixfixe.protocol.statements import COLUMNS, dollars, utc

if TYPE_CHECKING:
    from prixfixe.client.results import Result
    from prixfixe.protocol.accounts import Statement
    from prixfixe.protocol.receipt import Receipt
    from prixfixe.protocol.wire import BidQuote, Job, Quote

_MOST_LINES: Final = 200


def quote_html(quote: Quote | BidQuote) -> str:
    """What is bought, the price, by when."""
    from prixfixe.protocol.wire import Quote

    if isinstance(quote, Quote):
        what = f"{quote.bundle} {quote.version}, {quote.tier}: {quote.units:,} {quote.unit}"
    else:
        what = f"{quote.tasks:,} task(s) of {quote.manifest.image}, {quote.kind}"
    able = f"{quote.live_asks:,} can take it now" if quote.live_asks else "none right now"
    return card(
        f"Quote: {quote.total}",
        [
            ("what", what),
            ("replicas", str(quote.replicas)),
            ("result by", f"{utc(quote.deliver_by)} UTC, else the full price comes back"),
            ("good until", f"{utc(quote.expires_at)} UTC"),
            ("providers", able),
            ("balance", str(quote.balance)),
        ],
    )


def job_html(job: Job) -> str:
    """Where it is, and what became of the money."""
    what = job.image if job.bundle is None else f"{job.bundle} {job.version}, tier {job.tier}"
    rows = [("what", what), ("stage", job.stage), ("money", money_sentence(job))]
    if job.reason is not None:
        rows.append(("reason", job.reason.message))
    rows += [("output", f"{file.path} ({file.size:,} bytes)") for file in job.outputs[:10]]
    if job.output_count > 10:
        rows.append(("output", f"and {job.output_count - 10:,} more"))
    return card(f"Job {job.id[:12]}: {job.state}", rows)


def receipt_html(receipt: Receipt) -> str:
    """What was charged for what. It is not a verification."""
    rows = [
        ("market", f"contract {receipt.contract} on chain {receipt.chain_id}"),
        ("quoted", str(receipt.quoted)),
        ("charged", str(receipt.charged)),
        ("operator", receipt.operator),
        ("deals", ", ".join(lot.outcome for lot in receipt.lots[:20])),
        ("proof", "not checked here: client.verify(receipt)"),
    ]
    return card(f"Receipt of job {receipt.job[:12]}: {receipt.outcome}", rows)


def statement_html(statement: Statement) -> str:
    """Every movement, the newest last; of very many the last ones."""
    shown = statement.lines[-_MOST_LINES:]
    left_out = len(statement.lines) - len(shown)
    title = f"Statement of {statement.address}, block {statement.block:,}: ${dollars(statement.balance)}"
    if left_out:
        title += f" (the last {len(shown)} of {len(statement.lines):,} movements)"
    lines = (
        (utc(line.time), str(line.block), line.transaction, line.kind, line.reference, dollars(line.amount),
         dollars(line.balance))
        for line in shown
    )  # fmt: skip
    return card(title, lines, COLUMNS)


def result_html(result: Result) -> str:
    """The job, its files, and whether the receipt was checked on the chain."""
    proof = "checked, on chain too" if result.verification.complete else "checked; not on chain"
    rows = [
        ("money", money_sentence(result.job)),
        ("receipt", proof),
        *(("file", str(file)) for file in result.files[:20]),
    ]
    return card(f"Result of job {result.job.id[:12]}", rows)


def card(title: str, rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A captioned table; the first cell of a row is its heading."""
    top = f"<thead><tr>{''.join(f'<th>{_safe(name)}</th>' for name in head)}</tr></thead>" if head else ""
    body = "".join(
        f"<tr><th>{_safe(row[0])}</th>{''.join(f'<td>{_safe(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<table><caption>{_safe(title)}</caption>{top}<tbody>{body}</tbody></table>"


def _safe(text: str) -> str:
    return escape(clean(text))
