"""From a file on somebody's disk to an order, in a real browser: what a file says comes out as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from marketplace.store.tables import jobs
from prixfixe.protocol import accounts
from prixfixe.protocol.bundle import load
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.wire import Job
from prixfixe.testing.determinism import VARIATIONS, same_bytes
from tests.browser.conftest import EMAIL, ROOT, Visit, chosen_by, counting_clicks, visited
from tests.support.accounts import PASSWORD
from tests.support.finished import hand_in
from tests.support.looking import inspecting
from tests.support.service import CUSTOMER, STRANGER, World
from tests.support.serving import BreakingLine

BUNDLES = sorted(each.parent for each in ROOT.glob("bundles/*/bundle.toml"))
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
    with (
        visited(tmp_path, inspectors=(STRANGER.address,), max_blob_bytes=20_000_000) as made,
        inspecting(made[1], STRANGER, tmp_path / "inspector"),
    ):
        yield made


def signed_up(page: Page, visit: Visit, world: World) -> str:
    """The address of the new account."""
    visit.sign_up()
    told = world.http.post("/v1/account/session", json={"email": EMAIL, "password": PASSWORD})
    account = accounts.SignedIn.model_validate(told.json()).account
    world.http.cookies.clear()
    world.chain.accounts[account] = world.chain.accounts[CUSTOMER.address]
    return account


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
    sold(world, folder.name)
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


def priced_and_ordered(world: World, page: Page, total: str) -> dict[str, Any]:
    """The manifest of what was bought at that price."""
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name=f"Pay {total} and run").click()
    page.wait_for_url("**/account/jobs/0x*")
    return ordered(world, page)[1]


def sold(world: World, folder: str) -> None:
    definition = load(ROOT / "bundles" / folder).with_image("sha256:" + "ab" * 32)
    world.publish(**definition.to_json())


def of_csv(*contents: str) -> list[Any]:
    names = ("b.csv", "a.csv", "c.csv")
    return [
        {"name": name, "mimeType": "text/csv", "buffer": content.encode()}
        for name, content in zip(names, contents, strict=False)
    ]


def test_from_nothing_to_a_result_are_six_clicks_and_four_of_them_on_the_bundles_page(
    visit: Visit, world: World, tmp_path: Path
) -> None:
    sold(world, "pivot")
    page, clicks = visit.page, counting_clicks(visit.page)
    visit.open("/")
    page.get_by_role("link", name=load(ROOT / "bundles" / "pivot").title).click()
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    assert visit.faults() == []
    visit.keep("bundle-signed-out")
    page.get_by_role("button", name="Open an account").click()
    field = page.get_by_label("Choose a file")
    expect(field).to_be_enabled()
    assert page.url == f"{visit.url}/bundles/pivot"
    assert visit.faults() == []
    visit.keep("bundle-signed-in")
    assert clicks() == 2
    account = page.locator("#run").get_attribute("data-address") or ""
    world.chain.accounts[account] = world.chain.accounts[CUSTOMER.address]

    table = tmp_path / "sales.csv"
    table.write_text("region,amount\nNorth,1.50\nSouth,2.25\n")
    chosen_by(page, field.click).set_files(table)
    page.get_by_role("button", name="See the price").click()
    pay = page.get_by_role("button", name="Pay $2.00 and run")
    expect(page.locator("#spendable")).to_have_text("You can spend $100.00.")
    pay.click()
    page.wait_for_url("**/account/jobs/0x*")
    hand_in(world, world.running(ordered(world, page)[0]), pivot_csv=RESULT.encode())
    with page.expect_download() as taken:
        page.locator("#job").get_by_role("link", name="pivot.csv").click()
    assert taken.value.path().read_bytes() == RESULT.encode()
    assert clicks() == 6
    assert visit.faults() == []
    job = page.url.rpartition("/")[2]
    with page.expect_download() as taken:
        page.get_by_role("link", name="Certificate (JSON)").click()
    assert taken.value.suggested_filename == f"certificate-{job}.json"
    assert json.loads(taken.value.path().read_bytes())["job"] == job


def test_several_files_are_merged_when_their_columns_agree(visit: Visit, world: World) -> None:
    sold(world, "split")
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/split/run")
    field = page.get_by_label("Choose one file or several")
    expect(field).to_be_enabled()
    first, second = f"{EVIL};place\n1;x\n2;y\n", f"{EVIL};place\n3;z\n"
    field.set_input_files(of_csv(first, f"place;{EVIL}\n1;2\n"))
    expect(page.get_by_role("alert")).to_contain_text("a.csv has other columns than b.csv")
    expect(page.locator("#columns")).to_be_hidden()
    # What is guessed of one file is so of all: of this first one alone nothing could be.
    field.set_input_files(of_csv("place\nx\n", "place;amount\n1;2\n"))
    expect(page.get_by_role("alert")).to_contain_text("a.csv has other columns than b.csv")

    field.set_input_files(of_csv(first, second))
    expect(page.get_by_role("status")).to_contain_text("b.csv, a.csv: 3 rows, 2 columns")
    expect(page.locator("#column-rows tr").first).to_contain_text(EVIL)
    expect(page.get_by_label("Type of place")).to_have_count(0)
    page.get_by_label("By").select_option("place")
    page.get_by_label("Rows", exact=True).fill("2")
    assert visit.faults() == []
    visit.keep("run-several")
    manifest = priced_and_ordered(world, page, "$2.00")
    assert [each["name"] for each in manifest["inputs"]] == ["b.csv", "a.csv"]
    asked = {name: manifest["parameters"][name] for name in ("by", "rows", "delimiter")}
    assert asked == {"by": "place", "rows": 2, "delimiter": ";"}

    page.get_by_role("link", name="Run again on a new file").click()
    expect(field).to_be_enabled()
    field.set_input_files(of_csv(second))
    expect(page.get_by_label("By")).to_have_value("place")
    expect(page.get_by_label("Rows", exact=True)).to_have_value("2")


def test_a_page_waits_when_its_account_asked_for_all_that_it_may(visit: Visit, world: World) -> None:
    sold(world, "split")
    page = visit.page
    account = signed_up(page, visit, world)
    for _ in range(world.services.settings.inspections_per_minute):  # somebody else of this account did
        world.services.shares.take("inspections", account)
    visit.open("/bundles/split/run")
    field = page.get_by_label("Choose one file or several")
    expect(field).to_be_enabled()
    files = of_csv("a\n1\n", "a\n2\n")
    files[0]["name"], files[1]["name"] = "é.csv", "ü.csv"  # both are letters that no input's name has
    field.set_input_files(files)
    expect(page.get_by_role("status")).to_contain_text("The service takes no more from this account")
    world.clock.now += 60
    expect(page.get_by_role("status")).to_contain_text("input_.csv, 2-input_.csv: 2 rows, 1 columns")


def test_files_that_are_taken_as_they_are_need_no_look(visit: Visit, world: World) -> None:
    world.publish()
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/echo/run")
    field = page.get_by_label("Choose one file or several")
    expect(field).to_be_enabled()
    field.set_input_files(of_csv("1", "2", "3"))
    expect(page.get_by_role("alert")).to_contain_text("At most 2 files")
    field.set_input_files(of_csv("1", "2"))
    page.get_by_label("word").fill("hello")
    page.get_by_label("times").fill("3")
    assert visit.faults() == []
    visit.keep("run-as-is")
    manifest = priced_and_ordered(world, page, "$4.00")
    assert manifest["parameters"] == {"word": "hello", "times": 3}
    assert [each["name"] for each in manifest["inputs"]] == ["b.csv", "a.csv"]


def test_a_column_has_several_uses(visit: Visit, world: World) -> None:
    sold(world, "pivot")
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/pivot/run")
    table = "region,amount,count\nNorth,1.50,3\nSouth,2.25,4\n"
    chosen(page, table)
    more = page.get_by_role("button", name="One more use for amount")
    further = page.get_by_label("Further use for amount")
    more.click()
    expect(further).to_be_focused()
    expect(further).to_have_value("average")
    more.click()
    further.nth(1).select_option("max")
    more.click()
    further.nth(2).select_option("")  # it goes
    expect(further).to_have_count(2)
    page.get_by_role("button", name="One more use for region").click()
    page.get_by_label("Further use for region").select_option("count")
    expect(page.get_by_role("button", name="One more use for count")).to_be_hidden()  # it has none yet
    assert visit.faults() == []
    visit.keep("run-uses")
    manifest = priced_and_ordered(world, page, "$2.00")
    assert manifest["parameters"]["rows"] == ["region"]
    assert manifest["parameters"]["values"] == [
        {"column": "region", "aggregates": ["count"]},
        {"column": "amount", "aggregates": ["sum", "average", "max"]},
    ]
    page.get_by_role("link", name="Run again on a new file").click()
    chosen(page, table)
    expect(page.get_by_label("Use of amount")).to_have_value("sum")
    expect(further).to_have_count(2)
    expect(further.nth(1)).to_have_value("max")
    expect(page.get_by_label("Further use for region")).to_have_value("count")


def test_a_column_may_have_the_name_of_what_an_object_has(visit: Visit, world: World) -> None:
    sold(world, "pivot")
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/pivot/run")
    table = "__proto__,constructor\n1,1.50\n2,2.25\n"
    chosen(page, table)
    page.get_by_label("Use of __proto__").select_option("rows")
    page.get_by_label("Type of __proto__").select_option("integer")
    page.get_by_label("Use of constructor").select_option("sum")
    manifest = priced_and_ordered(world, page, "$2.00")
    assert manifest["parameters"]["types"] == {"__proto__": "integer"}
    page.get_by_role("link", name="Run again on a new file").click()
    chosen(page, table)
    expect(page.get_by_label("Type of __proto__")).to_have_value("integer")
    expect(page.get_by_label("Type of constructor")).to_have_value("decimal")


LONG = "account,region,amount\n" + "".join(f"{at:08},region {at % 7},{at}.25\n" for at in range(180_000))


@pytest.fixture
def broken(visit: Visit, world: World, request: pytest.FixtureRequest) -> Iterator[BreakingLine]:
    """The line to the service that the page is loaded over. It breaks in the midst of a long file."""
    line = BreakingLine(world, visit.url, 2_000_000, **request.param)
    visit.url = line.url
    yield line
    line.close()


def long_sent(visit: Visit, world: World) -> tuple[str, list[int]]:
    """Somebody's page begins to send the long file: their account, and where the parts begin that the page
    sends from now on."""
    sold(world, "pivot")
    account = signed_up(visit.page, visit, world)
    offsets: list[int] = []
    visit.page.on(
        "request",
        lambda sent: offsets.append(int(sent.headers["upload-offset"])) if sent.method == "PATCH" else None,
    )
    visit.open("/bundles/pivot/run")
    chosen(visit.page, LONG)
    return account, offsets


@pytest.mark.parametrize("broken", [{"times": 1, "stays": True}], indirect=True, ids=["away"])
def test_an_upload_that_was_cut_goes_on_when_the_file_is_chosen_again(
    visit: Visit, world: World, broken: BreakingLine
) -> None:
    page = visit.page
    account, offsets = long_sent(visit, world)
    expect(page.get_by_role("status")).to_contain_text("The connection was lost")
    visit.keep("run-lost")
    page.goto("about:blank")
    digest = sha256_hex(LONG.encode())
    kept = world.services.uploads.state(digest, account).offset
    assert 1_000_000 < kept < len(LONG)
    offsets.clear()
    broken.mend()
    visit.open("/bundles/pivot/run")
    chosen(page, LONG)
    expect(page.get_by_role("status")).to_contain_text("180,000 rows, 3 columns")
    assert offsets == [kept]
    assert world.services.blobs.size_for(digest, account) == len(LONG)


@pytest.mark.parametrize("broken", [{"times": 2}], indirect=True, ids=["back"])
def test_an_upload_goes_on_by_itself_over_a_line_that_breaks(
    visit: Visit, world: World, broken: BreakingLine
) -> None:
    account, offsets = long_sent(visit, world)
    expect(visit.page.get_by_role("status")).to_contain_text("180,000 rows, 3 columns")
    assert broken.left == 0
    assert offsets[0] == 0 < offsets[-1]
    assert offsets == sorted(offsets)
    assert world.services.blobs.size_for(sha256_hex(LONG.encode()), account) == len(LONG)


def test_what_is_paid_is_what_the_page_says(visit: Visit, world: World) -> None:
    world.publish(inputs=TABLES, parameters=PARAMETERS)
    page = visit.page
    signed_up(page, visit, world)
    visit.open("/bundles/echo/run")
    chosen(page, TABLE)
    page.get_by_label("Use of account").select_option("")
    page.get_by_label("Use of region").select_option("rows")
    see, price = page.get_by_role("button", name="See the price"), page.locator("#price")
    use = page.get_by_label("Use of account")
    held: list[Route] = []
    page.route("**/v1/quotes", lambda route: held.append(route), times=1)
    with page.expect_request("**/v1/quotes"):
        see.click()
    assert page.locator("#form").evaluate("form => form.inert")  # nobody changes it by hand meanwhile
    use.evaluate("use => { use.value = 'rows'; use.dispatchEvent(new Event('change', { bubbles: true })); }")
    held[0].continue_()
    expect(see).to_be_enabled()
    expect(price).to_be_hidden()

    # Nor is anything else paid that the page came to say after its price.
    see.click()
    pay = page.get_by_role("button", name="Pay $4.00 and run")
    expect(pay).to_be_enabled()
    use.evaluate("use => { use.value = 'columns'; }")
    with page.expect_response("**/v1/quotes"):
        pay.click()
    expect(pay).to_be_enabled()
    pay.click()
    page.wait_for_url("**/account/jobs/0x*")
    _, manifest = ordered(world, page)
    assert (manifest["parameters"]["rows"], manifest["parameters"]["columns"]) == (["region"], ["account"])


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
