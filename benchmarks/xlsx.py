"""`scripts/bench xlsx`: a full sheet of 8 columns read into a checked table, against calamine alone.

The workbook holds 1,048,575 of the order lines that `tpchgen-cli` makes: four columns of numbers, three of
text, one of days. Calamine alone loads the sheet and walks its rows as Python values; our reader measures the
archive, loads, and writes every cell as the text that a CSV would hold. In turns; the best of each counts.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path

from prixfixe.devnet.demo_data import order_lines
from tests.support.timing import timed

GOAL = 1.2
ROWS = 1_048_575
COLUMNS = (0, 4, 5, 7, 8, 9, 14, 10)  # orderkey, quantity, price, tax, flag, status, ship mode, ship date
CALAMINE = """
import sys
from python_calamine import CalamineWorkbook
for row in CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).iter_rows():
    pass
"""
READER = """
import sys
from prixfixe.tables import open_table
with open_table(sys.argv[1]) as table:
    assert len(table.names) == 8
"""


def workbook(folder: Path) -> Path:
    """A new workbook with a full sheet, as xlsxwriter writes it."""
    import xlsxwriter  # type: ignore[import-untyped]  # ships no types

    target = folder / "full.xlsx"
    book = xlsxwriter.Workbook(str(target), {"constant_memory": True})
    sheet = book.add_worksheet("lines")
    dated = book.add_format({"num_format": "yyyy-mm-dd"})
    with order_lines(folder, ROWS).path.open(encoding="utf-8", newline="") as file:
        records = csv.reader(file)
        header = next(records)
        for column, index in enumerate(COLUMNS):
            sheet.write_string(0, column, header[index])
        for row, record in enumerate(islice(records, ROWS), start=1):
            cells = [record[index] for index in COLUMNS]
            for column, cell in enumerate(cells[:4]):
                sheet.write_number(row, column, float(cell))
            for column, cell in enumerate(cells[4:7], start=4):
                sheet.write_string(row, column, cell)
            sheet.write_datetime(row, 7, datetime.date.fromisoformat(cells[7]), dated)
    book.close()
    return target


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench xlsx", description=__doc__)
    parser.add_argument("--table", type=Path, help="this workbook of 8 columns instead of a new one")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name:
        table = options.table or workbook(Path(name))
        turns = [
            [timed(sys.executable, "-c", program, table) for program in (CALAMINE, READER)]
            for _ in range(options.runs)
        ]
    alone, reader = (min(each) for each in zip(*turns, strict=True))
    found = {
        "name": "xlsx",
        "calamine_s": round(alone[0], 2),
        "calamine_cpu_s": round(alone[1], 2),
        "calamine_gib": round(alone[2], 2),
        "reader_s": round(reader[0], 2),
        "reader_cpu_s": round(reader[1], 2),
        "reader_gib": round(reader[2], 2),
        "value": round(reader[0] / alone[0], 2),
        "unit": "times calamine alone",
        "goal": GOAL,
        "ok": reader[0] <= GOAL * alone[0],
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
