"""Files as people have them, and ways in which they come to a page: workbooks, Parquet, dropped, by keys
alone, and under names that are markup."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from prixfixe.protocol.hashing import sha256_hex
from tests.browser.conftest import Visit, chosen_by
from tests.browser.test_run import EVIL, PARAMETERS, RESULT, TABLE, TABLES, chosen, ordered, place, signed_up
from tests.support.finished import hand_in
from tests.support.service import World

__all__ = ["place"]

# One width each: what differs by width is looked at in test_run.py.
wide = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
narrow = pytest.mark.parametrize("visit", ["phone"], indirect=True)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (("account", "region", "amount"), ("00123", "North", 1234.5), ("00124", EVIL, -2.25)):
        sheet.append(row)
    book.save(content := io.BytesIO())
    return content.getvalue()


def parquet() -> bytes:
    table = pa.table({"account": ["00123", "00124"], "region": ["North", EVIL], "amount": [3, 4]})
    pq.write_table(table, content := io.BytesIO())
    return content.getvalue()


@pytest.fixture
def page(visit: Visit, world: World) -> Iterator[Page]:
    """Where somebody who is signed in chooses a file."""
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    signed_up(visit.page, visit, world)
    visit.open("/bundles/echo/run")
    expect(visit.page.locator("#file")).to_be_enabled()
    yield visit.page
    assert visit.complaints == []


def tab_to(page: Page, wanted: Locator) -> None:
    """As who has no mouse gets there."""
    expect(wanted).to_be_visible()
    for _ in range(60):
        if wanted.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no key leads to {wanted}")


@wide
def test_a_workbook_is_run_by_keys_alone(page: Page, visit: Visit, world: World) -> None:
    content = workbook()
    tab_to(page, page.get_by_label("Choose a file"))
    asked = chosen_by(page, lambda: page.keyboard.press("Enter"))
    asked.set_files({"name": "sales.xlsx", "mimeType": "application/octet-stream", "buffer": content})
    expect(page.get_by_role("status")).to_contain_text("2 rows, 3 columns")
    expect(page.locator("#columns-title")).to_be_focused()
    use = page.get_by_label("Use of account")
    tab_to(page, use)
    page.keyboard.press("Home")
    expect(use).to_have_value("")
    use = page.get_by_label("Use of region")
    tab_to(page, use)
    page.keyboard.press("ArrowDown")
    expect(use).to_have_value("rows")
    tab_to(page, page.get_by_role("button", name="See the price"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pay $4.00 and run")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/account/jobs/0x*")
    job, manifest = ordered(world, page)
    assert [(each["name"], each["sha256"]) for each in manifest["inputs"]] == [
        ("sales.xlsx", sha256_hex(content))
    ]
    assert manifest["parameters"]["rows"] == ["region"]
    assert manifest["parameters"]["values"] == [{"column": "amount", "aggregates": ["sum"]}]
    hand_in(world, world.running(job), pivot_csv=RESULT.encode())
    tab_to(page, page.get_by_role("link", name="pivot.csv"))
    with page.expect_download() as taken:
        page.keyboard.press("Enter")
    assert taken.value.path().read_bytes() == RESULT.encode()


@narrow
def test_a_parquet_file_is_run(page: Page, visit: Visit, world: World) -> None:
    content = parquet()
    chosen(page, content, "sales.parquet")
    expect(page.get_by_role("status")).to_contain_text("sales.parquet: 2 rows, 3 columns")
    expect(page.locator("#column-rows")).to_contain_text(EVIL)
    expect(page.get_by_label("Type of amount")).to_have_value("integer")
    assert visit.faults() == []
    visit.keep("run-parquet")
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="Pay $4.00 and run").click()
    page.wait_for_url("**/account/jobs/0x*")
    (sent,) = ordered(world, page)[1]["inputs"]
    assert (sent["name"], sent["sha256"]) == ("sales.parquet", sha256_hex(content))


@wide
def test_files_are_dropped_and_their_names_are_text(page: Page, visit: Visit, world: World) -> None:
    held: list[Route] = []

    def sent(route: Route) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/uploads/*", sent)
    dropped = page.evaluate_handle(
        "([name, text]) => {"
        " const held = new DataTransfer(); held.items.add(new File([text], name)); return held; }",
        [f"{EVIL}.csv", TABLE],
    )
    drop, bar = page.locator("#drop"), page.get_by_role("progressbar")
    drop.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(drop).to_have_class("drop over")
    drop.dispatch_event("drop", {"dataTransfer": dropped})
    expect(drop).to_have_class("drop")
    expect(page.get_by_role("status")).to_contain_text("0 %")
    expect(bar).to_be_visible()
    assert visit.faults() == []
    visit.keep("run-progress")
    (part,) = held
    part.continue_()
    name = "input_img_src_x_onerror_alert_1__.csv"
    expect(page.get_by_role("status")).to_contain_text(f"{name}: 2 rows, 4 columns")
    expect(bar).to_be_hidden()

    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="Pay $4.00 and run").click()
    page.wait_for_url("**/account/jobs/0x*")
    job, manifest = ordered(world, page)
    (sent,) = manifest["inputs"]
    assert (sent["name"], sent["sha256"]) == (name, sha256_hex(TABLE.encode()))
    totals = json.dumps({"sentences": [EVIL]}).encode()
    hand_in(world, world.running(job), **{f"{EVIL}.csv": RESULT.encode(), f"{EVIL}/control.json": totals})
    assert_text(page, visit)
    page.get_by_text("Share the result by a link").click()
    page.get_by_role("button", name="Make a link").click()
    visit.open(page.get_by_label("The link, shown this once").input_value().removeprefix(visit.url))
    assert_text(page, visit)


def assert_text(page: Page, visit: Visit) -> None:
    """The files of the job that is shown have markup for names, which nothing took for that."""
    expect(page.locator("#preview")).to_contain_text(f"The first 3 rows of {EVIL}.csv")
    expect(page.locator("#preview li").first).to_have_text(EVIL)
    with page.expect_download() as taken:
        page.get_by_role("link", name=f"{EVIL}.csv").click()
    assert taken.value.path().read_bytes() == RESULT.encode()
    assert page.locator("img").count() == 0
    assert visit.faults() == []
