"""The golden workbooks: what is asked, and how an opened workbook is written down to be compared.

Run this file to write golden/*.json again, and read the difference before it is committed.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl

sys.path.insert(0, str(Path(__file__).parents[1]))

FOLDER = Path(__file__).parent / "golden"
TABLE = FOLDER / "sales.csv"
WRITTEN = {"delimiter": ";", "decimal": ",", "thousands": ".", "null_values": ["NA"]}
ALL = ["sum", "count", "average", "distinct", "min", "max", "share"]
CASES: Mapping[str, Mapping[str, Any]] = {
    "everything": {
        **WRITTEN,
        "rows": ["region", "account"],
        "columns": ["day.year", "paid"],
        "values": [{"column": "amount", "aggregates": ALL}, {"column": "note", "aggregates": ["count"]}],
        "types": {"day": "date", "paid": "boolean"},
        "totals": ["rows", "columns", "subtotals"],
        "filters": ["region!=void"],
        "tolerate": 1,
        "average_decimals": 3,
    },
    "keys": {
        **WRITTEN,
        "rows": ["day", "rate"],
        "columns": ["day.quarter"],
        "values": [
            {"column": "amount", "aggregates": ["sum"]},
            {"column": "day", "aggregates": ["min", "max"]},
        ],
        "types": {"day": "date", "rate": "decimal", "amount": "decimal(18,2)"},
        "filters": ["amount<1000000"],
        "tolerate": 5,
    },
    "ranked": {
        **WRITTEN,
        "rows": ["account"],
        "columns": ["paid"],
        "values": [{"column": "amount", "aggregates": ["sum", "average"]}],
        "types": {"paid": "boolean"},
        "sort": "sum(amount)",
        "top": 2,
        "totals": ["rows", "columns"],
        "tolerate": 1,
        "average_decimals": 0,
    },
}


def described(workbook: Path) -> dict[str, Any]:
    """Every cell of every sheet that holds something or looks like something: place, kind, value, number
    format, look."""
    book = openpyxl.load_workbook(workbook)
    sheets = {}
    for sheet in book.worksheets:
        cells = []
        for cell in (cell for row in sheet.iter_rows() for cell in row if cell.value is not None):
            value = cell.value.date() if isinstance(cell.value, datetime.datetime) else cell.value
            look = [
                word for word, on in (("bold", cell.font.bold), ("line above", cell.border.top.style)) if on
            ]
            kind = type(value).__name__
            cells.append([cell.coordinate, kind, str(value), cell.number_format, " ".join(look)])
        sheets[sheet.title] = {"frozen": sheet.freeze_panes, "size": sheet.dimensions, "cells": cells}
    return {"title": book.properties.title, "created": str(book.properties.created), "sheets": sheets}


def ran(case: str, outputs: Path, spill: Path) -> None:
    """Run one of `CASES` into `outputs`."""
    from pivot.job import run

    from prixfixe.tables import Engine

    run(TABLE, CASES[case], outputs, engine=Engine(threads=2, memory_mib=256, spill=spill))


def main() -> None:
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            outputs = Path(scratch) / "outputs"
            outputs.mkdir()
            ran(case, outputs, Path(scratch))
            document = {"csv": (outputs / "pivot.csv").read_text(encoding="utf-8").splitlines()}
            document |= described(outputs / "pivot.xlsx")
        text = json.dumps(document, ensure_ascii=False, indent=1)
        # A cell is one line: that is how a person reads the difference.
        for old, new in (("[\n     ", "["), (",\n     ", ", "), ("\n    ]", "]")):
            text = text.replace(old, new)
        (FOLDER / f"{case}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
