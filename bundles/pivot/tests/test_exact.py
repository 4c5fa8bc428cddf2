"""Sums, counts and averages are those of a slow exact oracle, cell by cell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import oracle

Pivot = Callable[..., Any]

NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12).map(
        lambda number: f"{number:f}"
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-100, max_value=100).map(
        lambda number: f"{number:f}"
    ),
    st.integers(-(10**18) + 1, 10**18 - 1).map(str),
    st.sampled_from(["", "NA", "0", "-0.00", "+1", ".5", "-.5", "7.", " 2.50 ", "0005", "9007199254740993"]),
)
KEYS = st.one_of(
    st.sampled_from(["", "a", "b", "B", "00123", "123", "NA", "=1+1", "@x", "ä", "z\ny", 'q"q', "10", "9"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=4),
)
RECORDS = st.lists(st.tuples(KEYS, KEYS, KEYS, NUMBERS, NUMBERS), min_size=1, max_size=40)
AGGREGATES = st.lists(st.sampled_from(["sum", "count", "average"]), min_size=1, max_size=3, unique=True)


@given(
    records=RECORDS,
    rows=st.sampled_from([["k"], ["k", "l"], ["l"]]),
    columns=st.sampled_from([[], ["m"]]),
    first=AGGREGATES,
    second=st.one_of(st.none(), AGGREGATES),
    places=st.integers(0, 10),
    threads=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_cell_is_the_oracles(
    pivot: Pivot,
    records: list[tuple[str, ...]],
    rows: list[str],
    columns: list[str],
    first: list[str],
    second: list[str] | None,
    places: int,
    threads: int,
) -> None:
    table = [("k", "l", "m", "v", "w"), *records]
    values = [{"column": "v", "aggregates": first}]
    if second is not None:
        values.append({"column": "w", "aggregates": second})
    parameters = {
        "rows": rows,
        "columns": columns,
        "values": values,
        "null_values": ["NA"],
        "average_decimals": places,
    }
    result = pivot(table, threads=threads, **parameters)
    assert result.table == oracle.expected(table, parameters)
    assert result.control["rows"] == {"in": len(records), "used": len(records)}


def test_accounts_keep_their_zeros_and_large_numbers_their_last_digit(pivot: Pivot) -> None:
    table = [
        ("account", "amount"),
        ("00123", "9007199254740993"),
        ("123", "0.10"),
        ("123", "0.20"),
    ]
    result = pivot(table, rows=["account"], values=[{"column": "amount", "aggregates": ["sum"]}])
    assert result.table == [
        ["account", "sum(amount)"],
        ["00123", "9007199254740993.00"],
        ["123", "0.30"],
    ]


def test_a_declared_decimal_shows_its_decimals(pivot: Pivot) -> None:
    table = [("k", "v"), ("a", "1"), ("a", "2.5")]
    values = [{"column": "v", "aggregates": ["sum"]}]
    assert pivot(table, rows=["k"], values=values, types={"v": "decimal(18,2)"}).table[1] == ["a", "3.50"]
    assert pivot(table, rows=["k"], values=values).table[1] == ["a", "3.5"]


def test_averages_are_rounded_half_to_even_at_the_very_end(pivot: Pivot) -> None:
    table = [("k", "v"), *[("a", "1"), ("a", "0")], *[("b", "3"), ("b", "0")], *[("c", "-1"), ("c", "0")]]
    values = [{"column": "v", "aggregates": ["average"]}]
    result = pivot(table, rows=["k"], values=values, average_decimals=0)
    assert result.table[1:] == [["a", "0"], ["b", "2"], ["c", "0"]]


def test_typed_keys_are_ordered_by_value_and_text_by_its_bytes(pivot: Pivot) -> None:
    months = ("10", "9", " 1", "", "02")
    table = [("k", "m", "v"), *(("x", month, "1") for month in months)]
    values = [{"column": "v", "aggregates": ["count"]}]
    by_value = pivot(table, rows=["m"], values=values, types={"m": "integer"})
    assert [line[0] for line in by_value.table[1:]] == ["1", "2", "9", "10", ""]
    by_bytes = pivot(table, rows=["m"], values=values)
    assert [line[0] for line in by_bytes.table[1:]] == [" 1", "02", "10", "9", ""]


def test_dates_booleans_and_decimals_are_keys_too(pivot: Pivot) -> None:
    table = [
        ("day", "paid", "rate", "v"),
        ("2024-02-29", "TRUE", "1.50", "1"),
        ("1899-12-31", "0", "01.5", "2"),
        ("2024-02-29", "1", "-2", "3"),
    ]
    values = [{"column": "v", "aggregates": ["sum"]}]
    types = {"day": "date", "paid": "boolean", "rate": "decimal"}
    result = pivot(table, rows=["day", "rate"], columns=["paid"], values=values, types=types)
    assert result.table == [
        ["day", "rate", "false / sum(v)", "true / sum(v)"],
        ["1899-12-31", "1.50", "2", ""],
        ["2024-02-29", "-2.00", "", "3"],
        ["2024-02-29", "1.50", "", "1"],
    ]


def test_a_cell_without_rows_is_empty_and_one_without_values_counts_none(pivot: Pivot) -> None:
    table = [("k", "c", "v"), ("a", "x", ""), ("b", "y", "1")]
    aggregates = ["sum", "count", "average"]
    result = pivot(table, rows=["k"], columns=["c"], values=[{"column": "v", "aggregates": aggregates}])
    assert result.table[1:] == [["a", "", "0", "", "", "", ""], ["b", "", "", "", "1", "1", "1.000000"]]
