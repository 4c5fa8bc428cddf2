"""Workbooks opened again and compared cell by cell: with what was kept, and with the CSV beside them."""

from __future__ import annotations

import csv
import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import golden


@pytest.fixture(scope="module", params=sorted(golden.CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("golden")
    outputs, spill = folder / "outputs", folder / "spill"
    outputs.mkdir()
    spill.mkdir()
    golden.ran(request.param, outputs, spill)
    return request.param, outputs


def test_every_cell_format_and_sentence_is_the_golden_one(case: tuple[str, Path]) -> None:
    name, outputs = case
    kept = json.loads((golden.FOLDER / f"{name}.json").read_bytes())
    found = golden.described(outputs / "pivot.xlsx")
    for sheet, cells in found["sheets"].items():
        assert cells == kept["sheets"][sheet], f"if this is meant: python {golden.__file__}"
    assert {**found, "csv": (outputs / "pivot.csv").read_text(encoding="utf-8").splitlines()} == kept


def test_the_workbook_says_what_the_csv_says_to_the_last_digit(case: tuple[str, Path]) -> None:
    name, outputs = case
    with (outputs / "pivot.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, strict=True))[1:]
    sheet = openpyxl.load_workbook(outputs / "pivot.xlsx")["Pivot"]
    side, head = len(golden.CASES[name]["rows"]), len(golden.CASES[name]["columns"]) + 1
    rows = list(sheet.iter_rows(min_row=head + 1, values_only=True))
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        for column, (shown, written) in enumerate(zip(row, line, strict=True)):
            assert same(shown, written, key=column < side), (line[:side], column)


def same(shown: Any, written: str, *, key: bool) -> bool:
    """Whether a sheet's cell is the CSV's."""
    if shown is None or shown == "(blank)":
        return written == ""
    if isinstance(shown, datetime.datetime):
        return shown.date().isoformat() == written
    if isinstance(shown, int | float):
        return Decimal(repr(shown)) == Decimal(written)
    return str(shown) == written
