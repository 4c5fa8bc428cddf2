"""The statement of a managed account as a PDF, for who keeps books."""

from __future__ import annotations

from typing import Final

from marketplace.console.languages import Language
from marketplace.console.papers import LEFT, RIGHT, Cell, Paper
from prixfixe.errors import TooLarge
from prixfixe.protocol.accounts import Statement
from prixfixe.protocol.statements import dollars, utc

MOST_LINES: Final = 20_000
_KIND: Final = LEFT + 95
_AMOUNT: Final = LEFT + 300
_BALANCE: Final = LEFT + 410


def statement_pdf(
    statement: Statement, name: str, since: int | None, until: int | None, language: Language
) -> bytes:
    """Opening and closing balance, every movement with its transaction, and whether they add up.

    name: of the account, in its owner's words. since, until: the period that was asked for. TooLarge for more
    lines than anybody turns pages for.
    """
    if len(statement.lines) > MOST_LINES:
        raise TooLarge(
            f"the statement has {len(statement.lines):,} movements, and a PDF takes {MOST_LINES:,}",
            code="statement-too-long",
            hint="choose a shorter period, or take the CSV",
        )
    t = language.text
    paper = Paper(str(t("statement.title")), language, f"Prixfixe · {name} · {statement.address}")
    moved = sum(line.amount for line in statement.lines)
    first = t("paper.beginning") if since is None else f"{utc(since)} UTC"
    last = t("paper.block", block=statement.block) if until is None else f"{utc(until)} UTC"
    for key, value in (
        ("paper.account", name),
        ("account.address", statement.address),
        ("paper.from", str(first)),
        ("paper.to", str(last)),
        ("statement.opening", dollars(statement.opening)),
        ("paper.moved", dollars(moved)),
        ("statement.closing", dollars(statement.balance)),
        ("statement.lines", f"{len(statement.lines):,}"),
    ):
        paper.pair(str(t(key)), value)
    paper.gap(4)
    paper.text(str(t("paper.statement", block=statement.block)), quiet=True, after=6)
    _head(paper, language)
    for line in statement.lines:
        if not paper.room(34):
            _head(paper, language)
        kind = str(t("movement." + line.kind))
        paper.row(
            [
                Cell(utc(line.time), LEFT),
                Cell(kind, _KIND),
                Cell(dollars(line.amount), _AMOUNT, right=True),
                Cell(dollars(line.balance), _BALANCE, right=True),
                Cell(str(line.block), RIGHT, right=True),
            ]
        )
        paper.row(
            [Cell(line.transaction, LEFT), Cell(_short(line.reference), _BALANCE - 90)], size=6, quiet=True
        )
        paper.gap(2)
    paper.rule()
    paper.row(
        [
            Cell(str(t("statement.closing")), LEFT),
            Cell(dollars(statement.balance), _BALANCE, right=True),
        ],
        bold=True,
    )
    if until is None:
        paper.gap(4)
        key = "paper.agrees" if statement.balance == statement.on_chain else "paper.differs"
        paper.text(str(t(key, held=dollars(statement.on_chain), balance=dollars(statement.balance))))
    return paper.bytes()


def _head(paper: Paper, language: Language) -> None:
    t = language.text
    paper.row(
        [
            Cell(str(t("statement.time")), LEFT),
            Cell(str(t("statement.kind")), _KIND),
            Cell(str(t("statement.amount")), _AMOUNT, right=True),
            Cell(str(t("statement.balance")), _BALANCE, right=True),
            Cell(str(t("paper.at_block")), RIGHT, right=True),
        ],
        bold=True,
    )
    paper.row([Cell(str(t("paper.under")), LEFT)], size=6, quiet=True)
    paper.rule()


def _short(reference: str) -> str:
    """All of an invoice's number or an address; a job's id is found by its beginning."""
    return reference if len(reference) <= 42 else f"{reference[:34]}..."
