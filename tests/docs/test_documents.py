"""Every link between documents leads somewhere, and every document is listed under whom it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marketplace.console import documents

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "tests" / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^()\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


def places(page: Path) -> set[str]:
    """What can follow the # of a link to a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    return {documents._slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, place = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        if not target.exists() or (place and target.suffix == ".md" and place not in places(target)):
            lost.append(link)
    assert lost == []


def test_every_document_is_in_one_group() -> None:
    listed = [each.name for _, pages in documents.grouped() for each in pages]
    assert sorted(listed) == sorted(documents.documents())
    assert len(set(listed)) == len(listed)
    assert all(pages for _, pages in documents.grouped())
