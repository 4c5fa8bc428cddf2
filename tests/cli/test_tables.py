"""Tables on the command line, against a real service: seen before they are paid for, priced by their rows,
and sent without what they need not tell."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from prixfixe.protocol.bundle import load
from tests.cli.conftest import Terminal
from tests.support.service import CUSTOMER, World

BUNDLES = Path(__file__).parents[2] / "bundles"
IMAGE = "sha256:" + "ab" * 32
SALES = ("run", "pivot", "sales.csv", "--rows", "name", "--values", "amount:sum,count")


@pytest.fixture
def market(world: World) -> World:
    """`pivot` with tiers of two, four and six rows, and `split`."""
    pivot = load(BUNDLES / "pivot").with_image(IMAGE).to_json()
    tiers = [{**tier, "up_to": 2 * n} for n, tier in enumerate(pivot["tiers"], start=1)]
    world.publish(**{**pivot, "tiers": tiers})
    world.publish(**load(BUNDLES / "split").with_image(IMAGE).to_json())
    return world


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("name;amount;other\nAlice Example;1.234,50;unasked\nBob;2;x\nAlice Example;-0,25;y\n")
    return path


def kept(tmp_path: Path, word: str) -> list[str]:
    """The files of the service that hold a word."""
    files = (path for path in (tmp_path / "service").rglob("*") if path.is_file())
    return [path.name for path in files if word.encode() in path.read_bytes()]


def jobs(world: World) -> int:
    return len(world.services.jobs.page(CUSTOMER.address, None, 10)[0])


def test_a_preview_shows_rows_types_shape_and_price_and_buys_nothing(
    types: Terminal, market: World, sales: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    shown = types(*SALES, "--preview")
    assert shown.code == 0, shown.err
    heads, first, *_ = shown.out.splitlines()
    assert heads.split("  ")[0] == "name (text)"
    assert "amount (decimal)" in heads
    assert first.split() == ["Alice", "Example", "1.234,50"]
    assert "3 rows, 0 filtered out; the result: about 2 rows by 3 columns" in shown.out
    assert "cuts each of the first 4 lines into 3 cells" in shown.err, "what was guessed is shown"
    assert "tier       medium: 3 rows" in shown.err
    assert "price      $4.00, and nothing beside it" in shown.err
    assert (jobs(market), kept(tmp_path, "Alice")) == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_preview_for_programs_is_one_object(types: Terminal, market: World, sales: Path) -> None:
    found = types(*SALES, "--preview", "--filters", "name=Bob", "--json").json
    assert found["types"] == {"name": "text", "amount": "decimal"}
    assert found["first_rows"][1] == {"name": "Bob", "amount": "2"}
    assert (found["rows"], found["rows_filtered"], found["result_rows_about"]) == (3, 2, 1)
    assert (found["tier"], found["price"]) == ("medium", "4000000")


def test_a_preview_of_a_split_tells_its_parts(types: Terminal, market: World, sales: Path) -> None:
    split = ("run", "split", "sales.csv", "--delimiter", ";", "--preview")
    shown = types(*split, "--by", "name")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split("  ")[0] == "name (text)"
    assert "3 rows of 3 columns in 1 table; the result: 2 parts, each a workbook and a CSV" in shown.out
    assert types(*split, "--rows", "1", "--json").json["result_parts_at_least"] == 3


@pytest.mark.parametrize(
    ("rows", "tier", "price"), [(2, "small", "2"), (4, "medium", "4"), (6, "large", "9")]
)
def test_the_price_is_that_of_the_rows_tier(
    types: Terminal, market: World, tmp_path: Path, rows: int, tier: str, price: str
) -> None:
    (tmp_path / "sales.csv").write_text("name,amount\n" + "a,1\n" * rows)
    shown = types(*SALES, "--preview")
    assert f"tier       {tier}: {rows} rows" in shown.err
    assert f"price      ${price}.00, and nothing beside it" in shown.err


def test_a_table_above_the_top_tier_is_refused_before_a_price_or_an_upload(
    types: Terminal, market: World, tmp_path: Path
) -> None:
    (tmp_path / "sales.csv").write_text("name,amount\n" + "Alice,1\n" * 7)
    shown = types(*SALES, "--yes", "--json")
    assert shown.code == 4
    error = shown.json["error"]
    assert error["code"] == "above-tier"
    assert "7" in error["detail"]
    assert "6" in error["detail"]
    assert error["hint"]
    assert (jobs(market), kept(tmp_path, "Alice")) == (0, [])


def test_pseudonyms_travel_and_what_they_stand_for_stays_here(
    types: Terminal, market: World, sales: Path, tmp_path: Path, home: Path
) -> None:
    declared = ("--delimiter", ";", "--decimal", ",", "--thousands", ".", "--yes", "--detach", "--json")
    shown = types(*SALES, "--pseudonymise", "name", *declared)
    assert shown.code == 0, shown.err
    assert "name as pseudonyms, whose meaning stays in sales-pseudonyms.csv" in shown.err
    assert jobs(market) == 1
    assert [kept(tmp_path, word) for word in ("Alice", "Bob", "unasked")] == [[], [], []]
    mapping = tmp_path / "sales-pseudonyms.csv"
    assert mapping.stat().st_mode & 0o777 == 0o600
    with mapping.open(encoding="utf-8", newline="") as file:
        meaning = {line["pseudonym"]: line["value"] for line in csv.DictReader(file)}
    assert sorted(meaning.values()) == ["Alice Example", "Bob"]
    (blob,) = (path for path in (tmp_path / "service").rglob("*") if _is_parquet(path))
    sent = duckdb.sql(f"SELECT name, sum(amount) FROM read_parquet('{blob}') GROUP BY 1").fetchall()
    assert {meaning[name]: total for name, total in sent} == {
        "Alice Example": Decimal("1234.25"),
        "Bob": Decimal("2.00"),
    }
    (key,) = (path for path in tmp_path.rglob("pseudonym.key"))
    assert key.stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path, key.read_text().strip()) == []
    assert types(*SALES, "--pseudonymise", "name", *declared).code == 0
    assert (tmp_path / "sales-pseudonyms-2.csv").read_bytes() == mapping.read_bytes(), "the key is the same"


def _is_parquet(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[:4] == b"PAR1"
