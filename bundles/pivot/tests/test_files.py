"""What a person opens: a workbook whose cells are what they seem, a CSV that loses nothing, equal totals."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pivot import job
from pivot.controls import ControlMismatch, Controls

from prixfixe.errors import AboveTier, InvalidInput

Pivot = Callable[..., Any]
SUM = [{"column": "v", "aggregates": ["sum"]}]


def sheet(folder: Path, name: str = "Pivot") -> list[list[Any]]:
    book = openpyxl.load_workbook(folder / "pivot.xlsx")
    return [[cell.value for cell in row] for row in book[name].iter_rows()]


def test_the_workbook_has_the_cells_of_the_csv(pivot: Pivot) -> None:
    table = [("k", "c", "v"), ("a", "x", "1.25"), ("b", "y", "-2"), ("", "", "3")]
    result = pivot(table, rows=["k"], columns=["c"], values=SUM)
    assert sheet(result.folder) == [
        ["c", "x", "y", "(blank)"],
        ["k", "sum(v)", "sum(v)", "sum(v)"],
        ["a", 1.25, None, None],
        ["b", None, -2, None],
        ["(blank)", None, None, 3],
    ]
    assert result.table == [
        ["k", "x / sum(v)", "y / sum(v)", "(blank) / sum(v)"],
        ["a", "1.25", "", ""],
        ["b", "", "-2.00", ""],
        ["", "", "", "3.00"],
    ]


def test_headers_are_frozen_and_number_formats_follow_the_types(pivot: Pivot) -> None:
    table = [("k", "c", "v"), ("a", "x", "1.25")]
    values = [{"column": "v", "aggregates": ["sum", "count", "average"]}]
    book = openpyxl.load_workbook(
        pivot(table, rows=["k"], columns=["c"], values=values).folder / "pivot.xlsx"
    )
    assert book.sheetnames == ["Pivot", "Control"]
    assert book["Pivot"].freeze_panes == "B3"
    formats = [cell.number_format for cell in book["Pivot"][3]]
    assert formats == ["General", "#,##0.00", "#,##0", "#,##0.00####"]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")', "{=A1}", "http://a.b", "00123"]
)
def test_text_that_looks_like_something_else_stays_text(pivot: Pivot, text: str) -> None:
    result = pivot([("k", "v"), (text, "1")], rows=["k"], values=SUM)
    cell = openpyxl.load_workbook(result.folder / "pivot.xlsx")["Pivot"]["A2"]
    assert (cell.value, cell.data_type, cell.hyperlink) == (
        text,
        "s" if cell.data_type == "s" else "inlineStr",
        None,
    )
    assert result.table[1][0] == text


def test_a_number_that_a_sheet_would_shorten_is_written_as_text(pivot: Pivot) -> None:
    result = pivot([("k", "v"), ("a", "9007199254740993"), ("b", "1")], rows=["k"], values=SUM)
    assert sheet(result.folder)[1:] == [["a", "9007199254740993"], ["b", 1]]
    assert result.control["result"]["numbers_written_as_text_in_the_workbook"] == 1


def test_dates_are_dates_where_a_sheet_can_hold_them(pivot: Pivot) -> None:
    table = [("d", "v"), ("2024-02-29", "1"), ("1900-02-28", "1"), ("0999-01-01", "1")]
    result = pivot(table, rows=["d"], values=SUM, types={"d": "date"})
    assert [line[0] for line in sheet(result.folder)[1:]] == [
        "0999-01-01",
        "1900-02-28",
        datetime.datetime(2024, 2, 29),
    ]


def test_the_control_totals_say_what_went_in_and_came_out(pivot: Pivot) -> None:
    table = [("k", "v", "w"), ("a", "1.50", "x"), ("b", "NA", "y"), ("c", "-0.25", "")]
    values = [{"column": "v", "aggregates": ["average"]}, {"column": "w", "aggregates": ["count"]}]
    result = pivot(table, rows=["k"], values=values, null_values=["NA"])
    assert result.control["rows"] == {"in": 3, "used": 3}
    assert result.control["values"] == [
        {
            "column": "v",
            "type": "decimal",
            "count": {"in": 2, "out": 2},
            "blank": 1,
            "sum": {"in": "1.25", "out": "1.25"},
        },
        {"column": "w", "type": "text", "count": {"in": 2, "out": 2}, "blank": 1, "sum": None},
    ]
    assert result.outcome.sentences == (
        "Rows of the table: 3 = rows used: 3.",
        "Values of v in the table: 2 = values counted in the cells: 2.",
        "Sum of v over the table: 1.25 = sum over the cells: 1.25.",
        "1 row has no value in v: no sum, average or count of it has it.",
        "Values of w in the table: 2 = values counted in the cells: 2.",
        "1 row has no value in w: no sum, average or count of it has it.",
    )
    assert [line[1] for line in sheet(result.folder, "Control")[:6]] == list(result.outcome.sentences)


def test_a_lost_row_stops_the_delivery(pivot: Pivot, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[object] = []
    add = Controls.add

    def forgetful(self: Controls, group: Any) -> None:
        if lost:
            add(self, group)
        lost.append(group)

    monkeypatch.setattr(job.Controls, "add", forgetful)
    with pytest.raises(ControlMismatch, match="Rows of the table: 2, but rows used: 1"):
        pivot([("k", "v"), ("a", "1"), ("b", "2")], rows=["k"], values=SUM)
    assert lost


def test_a_table_above_its_tier_is_refused(pivot: Pivot) -> None:
    table = [("k", "v"), ("a", "1"), ("b", "2")]
    assert pivot(table, rows=["k"], values=SUM, limit=2).control["rows"]["in"] == 2
    with pytest.raises(AboveTier, match="the table has 2 rows, and this tier takes 1"):
        pivot(table, rows=["k"], values=SUM, limit=1)


def test_a_result_wider_than_a_sheet_is_refused_and_never_cut(pivot: Pivot) -> None:
    def across(count: int) -> list[tuple[str, ...]]:
        return [("k", "c", "v"), *(("a", str(number), "1") for number in range(count))]

    widest = pivot(across(16_383), rows=["k"], columns=["c"], values=SUM)
    assert len(widest.table[0]) == 16_384
    with pytest.raises(InvalidInput) as refused:
        pivot(across(16_384), rows=["k"], columns=["c"], values=SUM)
    assert refused.value.message == "the result would have 16,385 columns, and a sheet holds 16,384"
    assert refused.value.hint == "move c to rows, or group by fewer distinct values"


def test_a_result_longer_than_a_sheet_is_refused_and_never_cut(pivot: Pivot) -> None:
    data = b"k,v\n" + b"".join(b"%d,1\n" % number for number in range(1_048_576))
    with pytest.raises(
        InvalidInput, match="the result would have 1,048,577 rows, and a sheet holds 1,048,576"
    ):
        pivot(data, rows=["k"], values=SUM)


def test_a_text_longer_than_a_cell_is_refused_and_never_cut(pivot: Pivot) -> None:
    longest = [("k", "v"), ("x" * 32_767, "1")]
    assert sheet(pivot(longest, rows=["k"], values=SUM).folder)[1] == ["x" * 32_767, 1]
    with pytest.raises(InvalidInput, match="at most 32,767 characters, as a sheet's cell holds") as refused:
        pivot([*longest, ("y" * 32_768, "1")], rows=["k"], values=SUM)
    assert (refused.value.row, refused.value.column) == (2, "k")
    counted = [("k", "v"), ("a", "y" * 32_768)]
    result = pivot(counted, rows=["k"], values=[{"column": "v", "aggregates": ["count"]}], filters=["v!="])
    assert result.table[1] == ["a", "1"], "what is not written may be of any length"
