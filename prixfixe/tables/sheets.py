"""Excel workbooks through calamine: values as they are stored, turned into the texts that a CSV would hold.

A number is taken with the 15 digits that a spreadsheet keeps and shows; one with more is refused, since the
workbook has lost the rest already. A formula is its stored value. A cell that holds an error is refused: the
reader would call it empty. Days before 1 March 1900 are refused: spreadsheets count a 29 February 1900 that
never was, so that which day is meant is unsure. An archive is measured before it is believed.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.archive import choose, measure, most_bytes, require_archive
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.loading import load_apart
from prixfixe.tables.locate import cells_fault, records
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.sheetrows import Layout, SheetRows, Written, workbook_errors
from prixfixe.tables.table import Table, disk_errors, stamp_of

APART_BYTES = 16 << 20
"""A sheet of so many unpacked bytes, as its archive says, is loaded in a process of its own, whatever its
texts: from here on it gains more by it than a process takes to start."""

HERE_BYTES = 512 << 20
"""So is one, however small, whose cells could take more memory than this if each were a copy of all shared
texts: how long the longest is shows only when they are unpacked. 300 KB of cells with 30 KB of texts are
enough, so that this decides for most sheets; it errs on the side of the process, which costs its start."""


@dataclass(frozen=True)
class SheetTable(Table):
    """One sheet, written out as CSV with the used columns and the number of each sheet's row."""

    indices: tuple[int, ...] = ()
    sheet: str = ""
    empty_rows: int = 0

    def scan(self) -> Any:
        from contextlib import nullcontext

        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in self.indices)
        return nullcontext(
            f"read_csv({literal(str(self.path))}, columns={{{columns}, 'place': 'VARCHAR'}}, "
            f"auto_detect=false, header=true, delim=',', quote='\"', escape='\"', nullstr='', comment='', "
            f"compression='none', encoding='utf-8', strict_mode=true, max_line_size={8 << 20})"
        )

    def faults(self, uses: Sequence[ColumnUse]) -> Iterator[InvalidInput]:
        for row, _, record in records(self.path, self.name, ",", '"', 1):
            if isinstance(record, InvalidInput):
                yield record
                return
            line = int(record[-1])
            cells = [""] * len(self.names)
            for index, cell in zip(self.indices, record, strict=False):
                cells[index] = cell
            place = f"row {row} of {self.name} (sheet {self.sheet!r}, row {line} there)"
            fault = cells_fault(place, self.name, row, line, cells, uses)
            if fault is not None:
                yield fault


def open_sheet(
    path: Path,
    target: Path,
    *,
    sheet: str = "",
    header_row: int = 1,
    header_rows: int = 1,
    wanted: Collection[str] | None = None,
    report: Report = unheard,
) -> SheetTable:
    """Write the sheet into `target` as CSV and return its table.

    sheet: its name; "" for the only one. header_row: the header's first row, from 1. header_rows: how many
    rows the header has; a merged cell counts for all that it covers, and the parts are joined by " / ".
    wanted: names that are needed, None for all. report: told the share that is done. InvalidInput for what
    no workbook should be; `ReaderKilled` when the process that reads it was ended.
    """
    stamp = stamp_of(path)
    layout = Layout(header_row, header_rows, None if wanted is None else tuple(wanted))
    require_archive(path)
    with disk_errors(), workbook_errors(path), zipfile.ZipFile(path) as archive:
        chosen, part = choose(path, archive, sheet)
        large = archive.getinfo(part).file_size >= APART_BYTES or most_bytes(archive, part) >= HERE_BYTES
        if large and sys.platform == "linux":
            written = load_apart(
                path, target, chosen, layout, lambda tell: measure(path, archive, part, chosen, tell), report
            )
        else:
            measure(path, archive, part, chosen)
            written = _load_here(path, target, chosen, layout)
    return SheetTable(target, written.names, stamp, path, written.indices, chosen, written.empty_rows)


def _load_here(path: Path, target: Path, sheet: str, layout: Layout) -> Written:
    import python_calamine as calamine

    with calamine.CalamineWorkbook.from_path(str(path)) as book:
        rows = SheetRows(path, book.get_sheet_by_name(sheet), layout)
        with target.open("w", encoding="utf-8", newline="") as file:
            file.write(rows.header())
            empty = rows.write(file, unheard)
    return Written(rows.names, rows.indices, empty)
