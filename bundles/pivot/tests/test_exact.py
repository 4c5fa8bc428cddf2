"""Every cell, total and order is that of a slow exact oracle, whatever is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import oracle

from prixfixe.errors import InvalidInput

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
MONEY = st.one_of(
    st.integers(-(10**9), 10**9).map(lambda n: f"{n / 100:.2f}"), st.sampled_from(["", "NA", "1"])
)
KEYS = st.one_of(
    st.sampled_from(["", "a", "b", "B", "00123", "123", "NA", "=1+1", "@x", "ä", "z\ny", 'q"q', "10", "9"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=4),
)
FEW = st.sampled_from(["x", "y", "Y", ""])
WHOLE = st.sampled_from(["1", "01", "+2", " 10", "-3", "-0", "2.0", "", "NA", "9007199254740993"])
RATES = st.sampled_from(["1.5", "01.50", "-2", "0.125", "", "NA", ".5"])
YES = st.sampled_from(["true", "FALSE", "1", "0", "", "NA"])
DAYS = st.one_of(
    st.dates().map(lambda day: day.isoformat()),
    st.sampled_from(["2024-02-29", "2024-12-31", "0001-01-01", "0999-05-06", "1900-02-28", "", "NA"]),
)
HEAD = ("k", "l", "m", "n", "p", "b", "d", "v", "w", "x")
RECORDS = st.lists(
    st.tuples(KEYS, FEW, FEW, WHOLE, RATES, YES, DAYS, NUMBERS, NUMBERS, MONEY), min_size=1, max_size=30
)
DECLARED = {"n": "integer", "p": "decimal", "b": "boolean", "d": "date", "x": "decimal(18,2)"}
FIELDS = ["k", "l", "m", "n", "p", "b", "d"]
FIELDS += [f"d.{part}" for part in ("year", "quarter", "month", "quarter-number", "month-number", "weekday")]
FILTERS = [
    *(
        "l=x,y",
        "l!=Y",
        "l=",
        "l!=",
        "k=00123",
        "k!=a,b",
        "n>=2",
        "n=1,10",
        "n!=2.0",
        "p<1.50",
        "b=true",
        "b=",
    ),
    *("d>=2000-01-01", "d<1900-03-01", "d=2024-02-29,", "v>0", "v<=9007199254740993", "w!=", "x>=-100.5"),
    *("v!=0005", "x=1.00"),
]
WRONG = ["1e-3", "0.1234x", "2023-02-29", "1,5"]
ALL = ["sum", "count", "average", "distinct", "min", "max", "share"]
ORDERED = ["count", "distinct", "min", "max"]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Any request that the form could send, over the columns of `HEAD`."""
    fields = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True))
    side = draw(st.integers(1, len(fields)))
    columns = draw(st.lists(st.sampled_from("vwxdkn"), min_size=1, max_size=2, unique=True))
    values = []
    for column in columns:
        among = ORDERED if column == "d" else ["count", "distinct"] if column == "k" else ALL
        aggregates = draw(st.lists(st.sampled_from(among), min_size=1, max_size=4, unique=True))
        values.append({"column": column, "aggregates": aggregates})
    filters = draw(st.lists(st.sampled_from(FILTERS), max_size=2, unique=True))
    used = {field.partition(".")[0] for field in fields} | {*columns, *(written[0] for written in filters)}
    request: dict[str, Any] = {
        "rows": fields[:side],
        "columns": fields[side:],
        "values": values,
        "types": {name: kind for name, kind in DECLARED.items() if name in used},
        "null_values": ["NA"],
        "average_decimals": draw(st.integers(0, 10)),
        "share_decimals": draw(st.integers(0, 10)),
        "filters": filters,
        "totals": draw(st.lists(st.sampled_from(["rows", "columns", "subtotals"]), unique=True)),
        "tolerate": draw(st.sampled_from([0, 100])),
    }
    measures = [(v["column"], a) for v in values for a in v["aggregates"] if a not in ("average", "share")]
    if measures and draw(st.booleans()):
        column, aggregate = draw(st.sampled_from(measures))
        request["sort"] = f"{aggregate}({column}){draw(st.sampled_from(['', ' asc', ' desc']))}"
        request["totals"] = [name for name in request["totals"] if name != "subtotals"]
        if not any("distinct" in value["aggregates"] for value in values):
            request["top"] = draw(st.integers(0, 4))
    return request


@given(
    records=RECORDS,
    request=requests(),
    threads=st.sampled_from([1, 2, 4]),
    wrong=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 6), st.sampled_from(WRONG)), max_size=4),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_asked_every_line_and_every_total_is_the_oracles(
    pivot: Pivot,
    records: list[tuple[str, ...]],
    request: dict[str, Any],
    threads: int,
    wrong: list[tuple[int, int, str]],
) -> None:
    lines = [list(record) for record in records]
    typed = sorted({*request["types"], *(value["column"] for value in request["values"])})
    for line, column, cell in wrong if request["tolerate"] else ():
        lines[line % len(lines)][HEAD.index(typed[column % len(typed)])] = cell
    table = [HEAD, *lines]
    wanted = oracle.expected(table, request)
    if wanted is None:
        with pytest.raises(InvalidInput, match="is used"):
            pivot(table, threads=threads, **request)
        return
    result = pivot(table, threads=threads, **request)
    assert result.table == wanted.lines
    assert result.control["rows"] == wanted.rows
    assert result.control["values"] == wanted.values
    for value in wanted.values:
        for figures in (value["count"], value["sum"]) if wanted.rows.get("filtered") is not None else ():
            if figures is not None:
                parts = [Decimal(figures[name]) for name in ("out", "filtered", "rejected")]
                with localcontext(prec=99):  # a sum may be longer than the 28 digits that are kept otherwise
                    assert Decimal(figures["in"]) == sum(parts), "nothing is lost"


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
