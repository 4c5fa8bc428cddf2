"""Every page in a real browser, wide and narrow: nothing on the console, nothing from elsewhere, nothing that
a screen reader stumbles over."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from marketplace.console import documents
from marketplace.console.languages import LANGUAGES
from tests.browser.conftest import WIDTHS, Visit
from tests.service.test_console import busy, pages, receipt
from tests.support.service import World

__all__ = ["busy", "receipt"]


def test_every_page_is_clean_in_both_languages(visit: Visit, busy: World) -> None:
    faults = {}
    for code in LANGUAGES:
        visit.open(f"/language/{code}?back=/docs")
        for path in pages(busy):
            visit.complaints.clear()
            visit.open(path)
            visit.keep(f"{code}-{path.strip('/').replace('/', '-') or 'prices'}")
            if found := visit.faults():
                faults[f"{code} {path}"] = found
    assert faults == {}


def test_every_document_is_clean(chromium: Browser, place: tuple[World, str]) -> None:
    faults = {}
    with closing(chromium.new_context(locale="en-US")) as context:
        visit = Visit(context.new_page(), place[1])
        for name in documents.documents():
            visit.complaints.clear()
            visit.resize("phone")
            visit.open(f"/docs/{name}")
            found = visit.faults()
            # Nothing but its width differs then, and a look for all would cost as much again.
            visit.resize("desktop")
            if found := [*found, *visit.faults("scrollable-region-focusable")]:
                faults[name] = found
    assert faults == {}


def test_the_price_follows_what_is_typed_without_a_new_page(visit: Visit, busy: World) -> None:
    visit.open("/")
    visit.page.get_by_label("How many").fill("101")
    expect(visit.page.locator("#price")).to_contain_text("$9.00")
    visit.page.get_by_label("How many").fill("100,000")
    expect(visit.page.locator("#price")).to_contain_text("takes: 10,000")
    assert visit.faults() == []


def test_a_receipt_is_checked_by_choosing_its_file(
    visit: Visit, world: World, receipt: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "receipt.json"
    file.write_bytes(receipt)
    visit.open("/receipts")
    visit.page.get_by_label("Receipt file").set_input_files(file)
    expect(visit.page.locator("#checked")).to_contain_text("Every check that was made holds.")
    visit.keep("checked")
    assert visit.faults() == []
    altered = json.loads(receipt)
    altered["charged"] = "1"
    file.write_text(json.dumps(altered))
    visit.page.get_by_label("Receipt file").set_input_files(file)
    expect(visit.page.locator("#checked")).to_contain_text("altered")


def test_the_keyboard_reaches_the_content_first(visit: Visit, busy: World) -> None:
    visit.open("/")
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("main")).to_be_focused()


@pytest.mark.parametrize("visit", ["desktop"], indirect=True)
def test_a_picture_of_each_width_is_kept(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures := tmp_path / "pictures").mkdir()
    monkeypatch.setenv("PRIXFIXE_SCREENSHOTS", str(pictures))
    visit.open("/docs")
    for width in WIDTHS:
        visit.resize(width)
        visit.keep("docs")
    assert sorted(each.name for each in pictures.iterdir()) == ["1280-docs.png", "390-docs.png"]
