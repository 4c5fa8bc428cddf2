"""From a file on somebody's disk to an order, in a real browser: what a file says comes out as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from marketplace.store.tables import jobs
from prixfixe.protocol import accounts
from prixfixe.protocol.bundle import load
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.wire import Job
from prixfixe.testing.determinism import VARIATIONS, same_bytes
from tests.browser.conftest import ROOT, Visit
from tests.support.accounts import PASSWORD
from tests.support.finished import hand_in
from tests.support.looking import inspecting
from tests.support.service import CUSTOMER, STRANGER, World
from tests.support.serving import served

BUNDLES = [ROOT / "bundles" / "pivot"]
EMAIL = "ada@example.com"
EVIL = "<img src=x onerror=alert(1)>"
TABLE = f"account;region;{EVIL};amount\n00123;North;'\"><b>x;1.234,50\n00124;South;y;-2,25\n"
TABLES = {
    "formats": ["csv", "xlsx", "parquet"],
    "max_bytes": 50_000_000,
    "max_files": 1,
    "preflight": "table",
}
STRINGS = {"type": "array", "items": {"type": "string"}, "default": []}
PARAMETERS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rows", "values"],
    "properties": {
        "rows": STRINGS,
        "columns": STRINGS,
        "values": {"type": "array", "items": {"type": "object"}},
        "types": {"type": "object", "default": {}},
        "delimiter": {"title": "Delimiter", "enum": [",", ";", "\t", "|"], "default": ","},
        "decimal": {"title": "Decimal separator", "enum": [".", ","], "default": "."},
        "thousands": {"title": "Thousands separator", "enum": ["", ",", "."], "default": ""},
        "totals": {"title": "Totals", "type": "array", "items": {"enum": ["rows", "columns"]}, "default": []},
        "top": {"title": "Top", "type": "integer", "minimum": 0, "maximum": 10, "default": 0},
    },
}


RESULT = f'region,sum\n{EVIL},1234.50\n"x ""y""",-2.25\n(total),1232.25\n'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A service whose inspector is at work."""
    with served(tmp_path / "service", inspectors=(STRANGER.address,)) as (world, url):
        world.http.close()
        world.http = httpx.Client(base_url=url, timeout=60)
        with inspecting(url, STRANGER, tmp_path / "inspector"):
            yield world, url


def signed_up(page: Page, visit: Visit, world: World) -> None:
    visit.open("/sign-up")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Open an account").click()
    expect(page.get_by_text("Nothing was ordered yet.")).to_be_visible()
    told = world.http.post("/v1/account/session", json={"email": EMAIL, "password": PASSWORD})
    account = accounts.SignedIn.model_validate(told.json()).account
    world.http.cookies.clear()
    world.chain.accounts[account] = world.chain.accounts[CUSTOMER.address]


def chosen(page: Page, content: str | bytes, name: str = "sales.csv") -> None:
    data = content.encode() if isinstance(content, str) else content
    field = page.get_by_label("Choose a file")
    expect(field).to_be_enabled()  # its script listens now
    field.set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": data})


@pytest.mark.parametrize("folder", BUNDLES, ids=[each.name for each in BUNDLES])
def test_the_sample_of_a_bundle_runs_with_what_its_page_proposes(
    visit: Visit, world: World, folder: Path, tmp_path: Path
) -> None:
    definition = load(folder)
    assert definition.sample is not None
    world.publish(**definition.with_image("sha256:" + "ab" * 32).to_json())
    page = visit.page
    visit.open(f"/bundles/{definition.id}")  # nobody is signed in
    with page.expect_download() as taken:
        page.get_by_role("link", name=f"Download {definition.sample.name}").click()
    table = tmp_path / taken.value.suggested_filename
    taken.value.save_as(table)
    assert table.read_text(encoding="utf-8") == definition.sample.content
    assert visit.faults() == []
    visit.keep(f"sample-{definition.id}-bundle")

    signed_up(page, visit, world)
    visit.open(f"/bundles/{definition.id}")
    page.get_by_role("link", name="Run it on a file").click()
    page.get_by_role("button", name="Try it with the sample").click()
    rows = definition.sample.content.count("\n") - 1
    expect(page.get_by_role("status")).to_contain_text(f"{table.name}: {rows} rows")
    assert visit.faults() == []
    visit.keep(f"sample-{definition.id}-columns")
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="and run").click()
    page.wait_for_url("**/account/jobs/0x*")
    _, manifest = ordered(world, page)
    (sent,) = manifest["inputs"]
    assert (sent["name"], sent["sha256"]) == (table.name, sha256_hex(table.read_bytes()))
    outputs = same_bytes(folder, [table], manifest["parameters"], variations=VARIATIONS[:1])
    totals = json.loads(outputs[definition.proof.control_totals])
    assert re.match(rf"Rows of the tables?: {rows} = rows .*: {rows}\.$", totals["sentences"][0]), totals


def ordered(world: World, page: Page) -> tuple[Job, dict[str, Any]]:
    """The job whose page is open, and its manifest."""
    job = page.url.rpartition("/")[2]
    with world.store.read() as connection:
        manifest = connection.execute(select(jobs.c.manifest).where(jobs.c.id == job)).scalar_one()
    return world.services.jobs.get(job, None), manifest


def test_a_file_becomes_an_order_in_three_clicks_after_it_was_chosen(visit: Visit, world: World) -> None:
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/echo")
    page.get_by_role("link", name="Run it on a file").click()
    assert visit.faults() == []
    visit.keep("run-empty")

    chosen(page, TABLE)  # the first click
    expect(page.get_by_role("status")).to_contain_text("2 rows, 4 columns")
    rows = page.locator("#column-rows tr")
    expect(rows.nth(2)).to_contain_text(EVIL)
    expect(page.get_by_label("Type of account")).to_have_value("text")
    expect(page.get_by_label("Type of amount")).to_have_value("decimal")
    expect(page.get_by_label("Use of amount")).to_have_value("sum")
    expect(page.get_by_label("Use of account")).to_have_value("rows")
    page.get_by_label("Use of account").select_option("")
    page.get_by_label("Use of region").select_option("rows")
    for summary in page.locator("summary").all():
        summary.click()
    expect(page.locator("#preview-rows")).to_contain_text("'\"><b>x")
    assert visit.faults() == []
    visit.keep("run-columns")

    page.get_by_role("button", name="See the price").click()
    pay = page.get_by_role("button", name="Pay $4.00 and run")
    expect(pay).to_be_visible()
    expect(page.locator("#priced")).to_have_text("for 2 rows (tier small)")
    assert visit.faults() == []
    visit.keep("run-price")
    pay.click()
    page.wait_for_url("**/account/jobs/0x*")
    expect(page.locator("#job")).to_contain_text("waiting")
    job, manifest = ordered(world, page)
    assert manifest["parameters"] == {
        "rows": ["region"],
        "columns": [],
        "values": [{"column": "amount", "aggregates": ["sum"]}],
        "types": {},
        "delimiter": ";",
        "decimal": ",",
        "thousands": ".",
        "totals": [],
        "top": 0,
    }
    sent = TABLE.encode()
    assert manifest["inputs"] == [{"name": "sales.csv", "sha256": sha256_hex(sent), "size": len(sent)}]
    hand_in(world, world.running(job), pivot_csv=RESULT.encode())
    expect(page.locator("#preview")).to_contain_text("The first 3 rows of pivot.csv")
    expect(page.locator("#preview table")).to_contain_text(EVIL)
    expect(page.locator("#preview canvas")).to_be_visible()
    assert visit.faults() == []
    visit.keep("run-result")
    with page.expect_download() as taken:
        page.locator("#job a[download]").first.click()
    assert taken.value.path().read_bytes() == RESULT.encode()

    page.get_by_text("Share the result by a link").click()
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("The link, shown this once").input_value()
    assert visit.faults() == []
    visit.keep("run-link")
    visit.open(link.removeprefix(visit.url))
    expect(page.locator("#preview table")).to_contain_text(EVIL)
    assert visit.faults() == []
    visit.keep("run-shared")

    visit.open(f"/account/jobs/{job.id}")
    page.get_by_role("link", name="Run again on a new file").click()
    chosen(page, TABLE)
    expect(page.get_by_label("Use of region")).to_have_value("rows")
    expect(page.get_by_label("Use of account")).to_have_value("")
    chosen(page, b"\xff\xd8\xff\xe0 no table", "photo.csv")
    expect(page.get_by_role("alert")).to_contain_text("photo.csv is a JPEG picture, not CSV")
    expect(page.locator("#columns")).to_be_hidden()
    assert visit.faults() == []
    visit.keep("run-refused")
