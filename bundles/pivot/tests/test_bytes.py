"""The same table gives the same bytes on any run, number of threads and order of rows, workbook included."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

Pivot = Callable[..., Any]
PARAMETERS: dict[str, Any] = {
    "rows": ["account", "text"],
    "columns": ["year"],
    "values": [{"column": "amount", "aggregates": ["sum", "count", "average"]}],
    "types": {"year": "integer"},
}


def rows(seed: int, count: int) -> list[tuple[str, ...]]:
    """Enough rows that several threads share them."""
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
    return rows(7, 300_000)


HEAD = ("account", "text", "year", "amount")


def test_runs_threads_and_row_orders_change_no_byte(pivot: Pivot, records: list[tuple[str, ...]]) -> None:
    first = pivot([HEAD, *records], threads=1, **PARAMETERS).files
    assert set(first) == {"pivot.xlsx", "pivot.csv", "pivot.parquet", "control.json"}
    for threads in (1, 2, 4):
        assert pivot([HEAD, *records], threads=threads, **PARAMETERS).files == first
    shuffled = list(records)
    random.Random(1).shuffle(shuffled)
    assert pivot([HEAD, *shuffled], threads=4, **PARAMETERS).files == first


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
