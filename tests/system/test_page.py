"""From signing up to a downloaded workbook, by the page alone: real chain, real workers, real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Download, Page, expect

from prixfixe.devnet.settings import PLAY_MONEY
from prixfixe.protocol.bundle import load
from prixfixe.protocol.money import Money
from tests.browser.conftest import Visit, chosen_by, counting_clicks, running_chromium
from tests.support.accounts import PASSWORD
from tests.support.devnet import PIVOT, Devnet
from tests.support.wallets import Wallet, node_at

pytestmark = pytest.mark.timeout(900)

ROWS = 1_000_000 if os.environ.get("PRIXFIXE_TEST_SIZE") == "full" else 60_000
"""All of them where `scripts/test` is given this area by name. The fewer are more than a mebibyte, so that
the typed table travels."""


@pytest.fixture
def page(devnet: Devnet) -> Iterator[Page]:
    """A page that may write no error to its console, throw none, fail at no request and ask nobody else."""
    with running_chromium() as browser:
        visit = Visit(browser.new_page(), devnet.state.service)
        yield visit.page
        assert visit.complaints == []


def table(folder: Path, rows: int = ROWS) -> Path:
    path = folder / "ledger.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("account,region,day,amount\n")
        file.writelines(
            f"{at:08},region {at % 7},2024-0{1 + at % 9}-11,{at % 1000}.25\n" for at in range(rows)
        )
    return path


def assert_summed(taken: Download, folder: Path, rows: int) -> None:
    """The workbook has the sum of each region."""
    target = folder / "pivot.xlsx"
    taken.save_as(target)
    found = list(openpyxl.load_workbook(target)["Pivot"].iter_rows(values_only=True))
    sums = {row[0]: row[1] for row in found if str(row[0]).startswith("region ")}
    wanted = {f"region {n}": sum(at % 1000 + 0.25 for at in range(n, rows, 7)) for n in range(7)}
    assert sums == pytest.approx(wanted)


def test_a_person_signs_up_and_takes_a_workbook_home(devnet: Devnet, page: Page, tmp_path: Path) -> None:
    clicks = counting_clicks(page)
    page.goto(devnet.state.service)
    page.get_by_role("link", name=load(PIVOT).title).click()
    page.get_by_label("E-mail address").fill("page@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Open an account").click()
    field = page.get_by_label("Choose a file")
    expect(field).to_be_enabled()  # its script listens now
    devnet.was_given(page.locator("#run").get_attribute("data-address") or "", PLAY_MONEY)
    chosen_by(page, field.click).set_files(table(tmp_path))
    expect(page.get_by_role("status")).to_contain_text(f"{ROWS:,} rows, 4 columns", timeout=240_000)
    expect(page.get_by_label("Use of region")).to_have_value("rows")
    expect(page.get_by_label("Use of amount")).to_have_value("sum")
    page.get_by_role("button", name="See the price").click()
    pay = page.get_by_role("button", name="and run")
    expect(pay).to_be_visible(timeout=240_000)
    pay.click()
    page.wait_for_url("**/account/jobs/0x*", timeout=60_000)
    expect(page.locator("#job")).to_contain_text("delivered", timeout=240_000)
    expect(page.locator("#preview table")).to_contain_text("region 6")
    with page.expect_download() as taken:
        page.get_by_role("link", name="pivot.xlsx").click()
    assert_summed(taken.value, tmp_path, ROWS)
    assert clicks() == 6


def test_who_has_a_wallet_signs_for_a_workbook(devnet: Devnet, page: Page, tmp_path: Path) -> None:
    wallet = Wallet(node_at(devnet.state.rpc))
    wallet.into(page.context)
    before = devnet.account().free
    page.goto(f"{devnet.state.service}/bundles/pivot")
    page.get_by_role("link", name="Order with your own wallet").click()
    page.get_by_role("button", name="Connect Test Wallet").click()
    field = page.get_by_label("Choose a file")
    expect(field).to_be_visible(timeout=60_000)
    field.set_input_files(table(tmp_path, 700))
    expect(page.get_by_label("Use of amount")).to_have_value("sum", timeout=240_000)
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="Sign and order for $2.00").click(timeout=240_000)
    expect(page.locator("#preview table")).to_contain_text("region 6", timeout=240_000)
    with page.expect_download() as taken:
        page.get_by_role("link", name="pivot.xlsx").click()
    assert_summed(taken.value, tmp_path, 700)
    assert devnet.account().free == before - Money.parse("2")
    assert len(wallet.signed) == 1
