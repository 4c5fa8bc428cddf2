"""Filters, totals, order and tolerance: each against plain Python, and nothing lost on any of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import openpyxl
import pytest

from prixfixe.errors import InvalidInput

Pivot = Callable[..., Any]
HEAD = ("k", "l", "c", "v", "d")


def rows(count: int = 400, seed: int = 5) -> list[tuple[str, ...]]:
    source = random.Random(seed)
    return [
        (
            source.choice(["a", "b", "", "z"]),
            source.choice(["x", "y"]),
            source.choice(["1", "2", ""]),
            source.choice(["", f"{source.randrange(-500, 500) / 100:.2f}"]),
            f"{source.randrange(2022, 2025)}-{source.randrange(1, 13):02d}-{source.randrange(1, 29):02d}",
        )
        for _ in range(count)
    ]


DATA = rows()
ALL = ["sum", "count", "average", "distinct", "min", "max", "share"]


def reckon(cells: Sequence[str], aggregate: str, whole: Decimal) -> str:
    numbers = [Decimal(cell) for cell in cells if cell]
    if aggregate == "count":
        return str(len(numbers))
    if aggregate == "distinct":
        return str(len(set(numbers)))
    if not numbers:
        return ""
    total = sum(numbers, Decimal(0))
    match aggregate:
        case "sum":
            return f"{total:.2f}"
        case "min":
            return f"{min(numbers):.2f}"
        case "max":
            return f"{max(numbers):.2f}"
        case "average":
            return f"{(total / len(numbers)).quantize(Decimal('0.000001')) + 0:f}"
        case _:
            return f"{(total / whole).quantize(Decimal('0.000001')) + 0:f}"


def order(key: str) -> tuple[bool, str]:
    return (key == "", key)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_aggregate_with_totals_and_subtotals_is_pythons(pivot: Pivot, threads: int) -> None:
    result = pivot(
        [HEAD, *DATA],
        threads=threads,
        rows=["k", "l"],
        columns=["c"],
        values=[{"column": "v", "aggregates": ALL}],
        types={"v": "decimal(9,2)"},
        totals=["rows", "columns", "subtotals"],
    )
    whole = sum((Decimal(r[3]) for r in DATA if r[3]), Decimal(0))
    columns = ["1", "2", "", None]
    expected = []
    for k in sorted({r[0] for r in DATA}, key=order):
        for inner in [*sorted({r[1] for r in DATA if r[0] == k}), None]:
            expected.append(
                (
                    k,
                    "(total)" if inner is None else inner,
                    lambda r, k=k, inner=inner: r[0] == k and inner in (None, r[1]),
                )
            )
    expected.append(("(total)", "", lambda r: True))
    assert len(result.table) == 1 + len(expected)
    assert result.table[0][2 + 3 * len(ALL)] == "(total) / sum(v)"
    for line, (k, inner, mine) in zip(result.table[1:], expected, strict=True):
        assert line[:2] == [k, inner]
        at = 2
        for c in columns:
            group = [r for r in DATA if mine(r) and c in (None, r[2])]
            for aggregate in ALL:
                assert line[at] == (reckon([r[3] for r in group], aggregate, whole) if group else "")
                at += 1
    assert "Sum of v in the line of totals" in " ".join(result.outcome.sentences)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (["k=a,b"], lambda r: r[0] in ("a", "b")),
        (["k!=a"], lambda r: r[0] != "a"),
        (["k="], lambda r: r[0] == ""),
        (["k!="], lambda r: r[0] != ""),
        (["v>=1.5"], lambda r: r[3] != "" and Decimal(r[3]) >= Decimal("1.5")),
        (["v<0", "d>2023-06-30"], lambda r: r[3] != "" and Decimal(r[3]) < 0 and r[4] > "2023-06-30"),
        (['"k"=a,'], lambda r: r[0] in ("a", "")),
    ],
)
def test_filters_use_the_rows_that_python_would_and_the_totals_say_so(
    pivot: Pivot, filters: list[str], kept: Callable[[tuple[str, ...]], bool]
) -> None:
    values = [{"column": "v", "aggregates": ["sum"]}]
    result = pivot(
        [HEAD, *DATA],
        rows=["k"],
        values=values,
        filters=filters,
        types={"d": "date"} if "d>" in str(filters) else {},
    )
    used = [r for r in DATA if kept(r)]
    sums: dict[str, Decimal] = {}
    for r in used:
        sums[r[0]] = sums.get(r[0], Decimal(0)) + Decimal(r[3] or 0)
    assert {line[0]: Decimal(line[1] or 0) for line in result.table[1:]} == sums
    assert result.control["rows"] == {
        "in": len(DATA),
        "used": len(used),
        "filtered": len(DATA) - len(used),
        "rejected": 0,
    }
    amount = result.control["values"][0]["sum"]
    assert Decimal(amount["in"]) == Decimal(amount["out"]) + Decimal(amount["filtered"])


def test_filters_that_leave_nothing_are_refused(pivot: Pivot) -> None:
    with pytest.raises(InvalidInput, match="none of the 400 rows"):
        pivot(
            [HEAD, *DATA], rows=["k"], values=[{"column": "v", "aggregates": ["sum"]}], filters=["k=nobody"]
        )


def test_parts_of_dates_are_fields(pivot: Pivot) -> None:
    result = pivot(
        [HEAD, *DATA],
        rows=["d.quarter", "d.weekday"],
        columns=["d.year"],
        values=[{"column": "v", "aggregates": ["count"]}, {"column": "d", "aggregates": ["min", "max"]}],
        types={"d": "date"},
    )
    assert result.table[0][:3] == ["d.quarter", "d.weekday", "2022 / count(v)"]
    quarters = sorted({f"{r[4][:4]}-Q{(int(r[4][5:7]) + 2) // 3}" for r in DATA})
    assert sorted({line[0] for line in result.table[1:]}) == quarters
    first = [r for r in DATA if r[4] < "2022-04-01"]
    lines = [line for line in result.table[1:] if line[0] == "2022-Q1"]
    assert sum(int(line[2]) for line in lines) == sum(1 for r in first if r[3])
    assert min(line[3] for line in lines) == min(r[4] for r in first)
    assert result.control["rows"]["used"] == len(DATA)


def test_the_top_rows_stand_first_and_the_rest_is_one_line(pivot: Pivot) -> None:
    data = [(f"k{n}", "x", str(n % 2), f"{n * n % 71}.5", "2024-01-01") for n in range(60)]
    result = pivot(
        [HEAD, *data],
        rows=["k"],
        columns=["c"],
        values=[{"column": "v", "aggregates": ["sum", "average"]}],
        sort="sum(v)",
        top=5,
        totals=["rows", "columns"],
    )
    ranked = sorted(data, key=lambda r: (-Decimal(r[3]), r[0]))
    assert [line[0] for line in result.table[1:]] == [*(r[0] for r in ranked[:5]), "(others)", "(total)"]
    rest = sum((Decimal(r[3]) for r in ranked[5:]), Decimal(0))
    assert Decimal(result.table[6][-2]) == rest
    assert Decimal(result.table[7][-2]) == sum((Decimal(r[3]) for r in data), Decimal(0))
    assert result.control["rows"]["used"] == 60


def test_rows_that_cannot_be_read_are_listed_when_that_was_asked_for(pivot: Pivot) -> None:
    table = [("k", "v"), ("a", "1.5"), ("b", "oops"), ("a", "2"), ("c", "1,5")]
    values = [{"column": "v", "aggregates": ["sum"]}]
    with pytest.raises(InvalidInput, match="2 rows cannot be read, and 1 are tolerated"):
        pivot(table, rows=["k"], values=values, tolerate=1)
    result = pivot(table, rows=["k"], values=values, tolerate=2)
    assert result.table[1:] == [["a", "3.5"]]
    assert result.control["rows"] == {"in": 4, "used": 2, "filtered": 0, "rejected": 2}
    listed = (result.folder / "rejected.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:3] for line in listed[1:]] == [["2", "3", "v"], ["4", "5", "v"]]
    assert result.outcome.sentences[0] == (
        "Rows of the table: 4 = rows used: 2 + rows filtered: 0 + rows rejected: 2."
    )


def test_the_workbook_marks_totals_and_says_what_it_cannot_hold(pivot: Pivot) -> None:
    values = [{"column": "v", "aggregates": ["sum", "share"]}]
    result = pivot([HEAD, *DATA], rows=["k"], values=values, totals=["rows"], filters=["k!=z"])
    book = openpyxl.load_workbook(result.folder / "pivot.xlsx")
    last = list(book["Pivot"].rows)[-1]
    assert (last[0].value, last[0].font.bold, last[2].value, last[2].number_format) == (
        "(total)",
        True,
        1,
        "0.00%",
    )
    control = {line[0].value: line[1].value for line in book["Control"].rows}
    assert control["Filter"] == "k!=z"
    assert "cannot hold its receipt's id" in control["Receipt"]
    assert len(control["Parameters SHA-256"]) == 64


def test_parquet_beside_it_is_typed_and_exact(pivot: Pivot) -> None:
    values = [{"column": "v", "aggregates": ["sum", "count"]}]
    result = pivot([HEAD, *DATA], rows=["d"], values=values, types={"d": "date"})
    found = duckdb.sql(f"SELECT * FROM '{result.folder / 'pivot.parquet'}'")
    assert [str(kind) for kind in found.types] == ["DATE", "DECIMAL(38,2)", "BIGINT"]
    lines = [["" if cell is None else str(cell) for cell in line] for line in found.fetchall()]
    assert lines == result.table[1:]


@pytest.mark.parametrize("cell", ["1e-3", "0.12345x", "1,5"])
def test_a_rejected_cell_adds_nothing_and_lengthens_no_number(pivot: Pivot, cell: str) -> None:
    values = [{"column": "v", "aggregates": ["sum"]}]
    result = pivot([("k", "v"), ("a", "1.5"), ("b", cell)], rows=["k"], values=values, tolerate=1)
    assert result.table[1:] == [["a", "1.5"]]
    assert result.control["values"][0]["sum"] == {
        "in": "1.5",
        "out": "1.5",
        "filtered": "0.0",
        "rejected": "0.0",
    }


def test_a_column_that_is_added_up_is_filtered_by_its_numbers(pivot: Pivot) -> None:
    table = [("k", "v"), ("a", "5"), ("b", "5.00"), ("c", "05.1")]
    values = [{"column": "v", "aggregates": ["sum"]}]
    kept = pivot(table, rows=["k"], values=values, filters=["v=5,5.10"])
    assert [line[0] for line in kept.table[1:]] == ["a", "b", "c"]
    with pytest.raises(InvalidInput, match="'five' is not a number"):
        pivot(table, rows=["k"], values=values, filters=["v=five"])
