"""The certificate of a job as a PDF: in plain words, what was checked and what was not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from marketplace.console.languages import Language
from marketplace.console.papers import Paper
from prixfixe.protocol.certificate import Certificate, CertifiedFile
from prixfixe.protocol.statements import utc

_FILES: Final = 100
_DEALS: Final = 50
_TOTALS: Final = 60
_PLACE: Final = 200  # characters of a total's place


def certificate_pdf(certificate: Certificate, language: Language) -> bytes:
    """All of it but the rest of very long lists, which the JSON has."""
    t = language.text
    footer = f"Prixfixe · {t('account.job')} {certificate.job}"
    paper = Paper(str(t("certificate.title")), language, footer)
    outcome = "checked." + certificate.outcome
    paper.text(str(t("certificate.holds" if certificate.valid else "checked.invalid")), size=11, bold=True)
    paper.text(str(t("certificate.lead")), quiet=True, after=6)
    application = certificate.application
    sold = f"{application.title} ({application.bundle} {application.version})"
    signers = dict.fromkeys(each for deal in certificate.deals for each in deal.signed)
    rows: list[tuple[str, str]] = [
        ("account.job", certificate.job),
        ("certificate.application", application.image if application.bundle is None else sold),
        ("certificate.image", application.image),
        *([] if application.definition is None else [("certificate.definition", application.definition)]),
        ("certificate.parameters", certificate.parameters),
        ("checked.outcome", str(t(outcome))),
        ("checked.tasks", f"{certificate.done:,} / {certificate.tasks:,}"),
        ("checked.quoted", str(certificate.quoted)),
        ("checked.charged", str(certificate.charged)),
        ("certificate.customer", certificate.customer),
        ("certificate.providers", ", ".join(signers) or "-"),
        ("certificate.contract", f"{certificate.contract} ({certificate.chain_id})"),
    ]
    for key, value in rows:
        paper.pair(str(t(key)), value)
    _files(paper, language, str(t("certificate.inputs")), certificate.inputs)
    _files(paper, language, str(t("certificate.outputs")), certificate.outputs)
    if certificate.control_totals is not None:
        _totals(paper, language, certificate.control_totals)
    paper.heading(str(t("checked.was")))
    for each in certificate.checked:
        told = str(t("check." + each.what))
        if not each.held:
            paper.text(f"{t('certificate.fails')} {told} {each.detail}", bold=True)
        else:
            paper.text(f"- {told}" + (f" ({each.count:,}x)" if each.count > 1 else ""))
    paper.heading(str(t("checked.was_not")))
    for kind in certificate.not_checked:
        paper.text(f"- {t('unchecked.' + kind)}")
    paper.heading(str(t("certificate.transactions")))
    for deal in certificate.deals[:_DEALS]:
        for key, where in (("certificate.opened", deal.opened), ("certificate." + deal.outcome, deal.ended)):
            paper.pair(str(t(key)), where.transaction)
            paper.pair("", f"{utc(where.time)} UTC, {t('paper.block', block=where.block)}")
    _rest(paper, language, len(certificate.deals) - _DEALS)
    paper.heading(str(t("certificate.verify")))
    paper.text(str(t("certificate.verify_text")))
    paper.text(f"prixfixe jobs receipt {certificate.job}", size=8, after=0)
    paper.text("prixfixe verify receipt.json FILES --rpc URL", size=8)
    paper.pair(str(t("certificate.receipt")), certificate.receipt)
    return paper.bytes()


def _files(paper: Paper, language: Language, title: str, files: tuple[CertifiedFile, ...]) -> None:
    if not files:
        return
    paper.heading(title)
    several = any(file.task for file in files)
    for file in files[:_FILES]:
        name = f"{file.task}/{file.name}" if several else file.name
        bytes_ = language.text("certificate.bytes", size=f"{file.size:,}")
        paper.text(f"{name}, {bytes_}", size=9, after=0)
        paper.text(f"SHA-256 {file.sha256}", size=8, quiet=True)
    _rest(paper, language, len(files) - _FILES)


def _totals(paper: Paper, language: Language, totals: dict[str, Any]) -> None:
    """In the application's own words where it has sentences, and its numbers under their names."""
    paper.heading(str(language.text("certificate.totals")))
    paper.text(str(language.text("certificate.totals_text")), quiet=True)
    lines = list(_flat(totals))
    for name, value in lines[:_TOTALS]:
        paper.text(f"{name}: {value}" if name else value, size=9, after=1)
    _rest(paper, language, len(lines) - _TOTALS)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves with their places, no longer than they can be read; a list of plain sentences has no names."""
    pairs: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        pairs = ((f"{name}.{key}"[:_PLACE] if name else key[:_PLACE], each) for key, each in value.items())
    elif isinstance(value, list):
        plain = name == "sentences"
        pairs = (("" if plain else f"{name}.{at + 1}"[:_PLACE], each) for at, each in enumerate(value))
    else:
        yield name, (value if isinstance(value, str) else json.dumps(value))[:500]
        return
    for place, each in pairs:
        yield from _flat(each, place)


def _rest(paper: Paper, language: Language, left: int) -> None:
    if left > 0:
        paper.text(str(language.text("certificate.more", number=f"{left:,}")), quiet=True)
