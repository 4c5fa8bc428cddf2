"""The same table gives the same bytes on any run, machine, number of threads and order of rows, workbook
included."""

from __future__ import annotations

import csv
import json
import random
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prixfixe.testing.determinism import same_bytes

Pivot = Callable[..., Any]
FOLDER = Path(__file__).parents[1]
ALL = ["sum", "count", "average", "distinct", "min", "max", "share"]
PARAMETERS: dict[str, Any] = {
    "rows": ["account", "text"],
    "columns": ["year"],
    "values": [{"column": "amount", "aggregates": ["sum", "count", "average"]}],
    "types": {"year": "integer"},
}


def rows(seed: int, count: int) -> list[tuple[str, ...]]:
    """Cells of every kind."""
    source = random.Random(seed)
    return [
        (
            f"{source.randrange(40):05d}",
            source.choice(["plain", "two\nlines", 'a "quote"', "=SUM(A1)", "ümlaut"]),
            str(source.randrange(2019, 2025)),
            f"{source.randrange(-(10**9), 10**9) / 100:.2f}",
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def records() -> list[tuple[str, ...]]:
    return rows(7, 100_000)


HEAD = ("account", "text", "year", "amount")


def test_runs_threads_and_row_orders_change_no_byte(pivot: Pivot, records: list[tuple[str, ...]]) -> None:
    first = pivot([HEAD, *records], threads=1, **PARAMETERS).files
    assert set(first) == {"pivot.xlsx", "pivot.csv", "pivot.parquet", "control.json"}
    assert pivot([HEAD, *records], threads=4, **PARAMETERS).files == first
    shuffled = list(records)
    random.Random(1).shuffle(shuffled)
    assert pivot([HEAD, *shuffled], threads=4, **PARAMETERS).files == first


def test_threads_memory_processor_and_place_change_no_byte(
    records: list[tuple[str, ...]], tmp_path: Path
) -> None:
    source, table = tmp_path / "t.csv", tmp_path / "table.parquet"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([HEAD, *records[:50_000]])
    # Small row groups, so that several threads share the table.
    duckdb.sql(f"COPY (FROM read_csv('{source}', all_varchar=true)) TO '{table}' (ROW_GROUP_SIZE 2048)")
    found = same_bytes(
        FOLDER,
        [table],
        {
            **PARAMETERS,
            "values": [{"column": "amount", "aggregates": ALL}],
            "totals": ["rows", "columns", "subtotals"],
            "filters": ["text!=plain"],
        },
    )
    assert json.loads(found["control.json"])["rows"]["in"] == 50_000


def test_the_workbook_holds_no_clock(pivot: Pivot, records: list[tuple[str, ...]]) -> None:
    files = pivot([HEAD, *records[:100]], **PARAMETERS).files
    with zipfile.ZipFile(BytesIO(files["pivot.xlsx"])) as book:
        assert {entry.date_time[:2] for entry in book.infolist()} == {(1980, 1)}
        assert b"2000-01-01T00:00:00Z" in book.read("docProps/core.xml")


def test_another_value_is_another_hash(pivot: Pivot, records: list[tuple[str, ...]]) -> None:
    one = pivot([HEAD, *records[:100]], **PARAMETERS).outcome.table_sha256
    account, text, year, _ = records[0]
    other = pivot([HEAD, (account, text, year, "0.01"), *records[1:100]], **PARAMETERS).outcome.table_sha256
    assert one != other
