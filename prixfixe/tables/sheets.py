"""Excel workbooks through calamine: values as they are stored, turned into the texts that a CSV would hold.

A number is taken with the 15 digits that a spreadsheet keeps and shows; one with more is refused, since the
workbook has lost the rest already. A formula is its stored value. A cell that holds an error is refused: the
reader would call it empty. Days before 1 March 1900 are refused: spreadsheets count a 29 February 1900 that
never was, so that which day is meant is unsure. An archive is measured before it is opened.
"""

from __future__ import annotations

import datetime
import threading
import time
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from prixfixe.errors import InvalidInput
from prixfixe.tables.archive import choose, measure, refused, require_archive
from prixfixe.tables.celltexts import ColumnTexts, NoText, cell_text, quoted
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.locate import cells_fault, records
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.table import Table, check_names, disk_errors, stamp_of

_MEASURED, _LOADED = 0.15, 0.8
"""Shares of the time that have passed when the archive is measured, and when its sheet is loaded."""

_LOAD_TO_MEASURE = 5.0
"""How much longer a sheet takes to load than to be measured, about: the reader does not say how far it is."""

_EVERY_SECONDS = 0.25

_BATCH = 1024
"""Rows whose cells become texts together."""


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
    no workbook should be.
    """
    import python_calamine as calamine

    stamp = stamp_of(path)
    require_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            chosen, part = choose(path, archive, sheet)
            began = time.monotonic()
            measure(path, archive, part, chosen, lambda share: report(_MEASURED * share))
            about = _LOAD_TO_MEASURE * (time.monotonic() - began)
        with calamine.CalamineWorkbook.from_path(str(path)) as book:
            with _estimated(about, report):
                loaded = book.get_sheet_by_name(chosen)
            return _written(path, target, loaded, stamp, header_row, header_rows, wanted, report)
    except (
        zipfile.BadZipFile,
        calamine.CalamineError,
        ElementTree.ParseError,
        EOFError,
        zlib.error,
    ) as error:
        raise refused(
            path, f"is not a whole workbook: {error}", "open it, save it as .xlsx and run again"
        ) from error
    except (KeyError, ValueError, NotImplementedError, zipfile.LargeZipFile) as error:
        raise refused(
            path, f"is not a whole workbook: {error}", "open it, save it as .xlsx and run again"
        ) from error


@contextmanager
def _estimated(seconds: float, report: Report) -> Iterator[None]:
    """Report, while the block loads the sheet, the share that is done by the time that it should take."""
    if report is unheard:
        yield
        return
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(_EVERY_SECONDS):
            share = (time.monotonic() - began) / max(seconds, _EVERY_SECONDS)
            report(_MEASURED + (_LOADED - _MEASURED) * min(0.99, share))

    thread = threading.Thread(target=tell, name="sheet-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _written(
    path: Path,
    target: Path,
    sheet: Any,
    stamp: tuple[int, int],
    header_row: int,
    header_rows: int,
    wanted: Collection[str] | None,
    report: Report,
) -> SheetTable:
    if sheet.start is None:
        raise refused(path, f"has nothing on sheet {sheet.name!r}", "name another sheet with --sheet")
    first_row, first_column = sheet.start
    rows = sheet.iter_rows()
    at, head = first_row, []
    start, end = header_row - 1, header_row - 1 + header_rows
    merged = _merged(sheet, start, end)
    for cells in rows:
        if start <= at < end:
            head.append(cells)
        at += 1
        if at >= end:
            break
    head = [[]] * max(0, min(first_row, end) - start) + head
    if not any(cell != "" for line in head for cell in line):
        raise refused(
            path,
            f"has nothing in row {header_row} of sheet {sheet.name!r}",
            f"name the row of the header with --header-row (the first that holds any is {first_row + 1})",
            row=header_row,
        )
    width = max(map(len, head))
    names = check_names(path.name, _names(head, width, start, first_column, merged))
    indices = tuple(i for i, name in enumerate(names) if wanted is None or name in wanted)
    records = _Records(path, names, indices, rows, at + 1, sheet.total_height, report)
    with disk_errors(), target.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join([*(f"c{i}" for i in indices), "place"]) + "\n")
        file.writelines(records)
    return SheetTable(target, names, stamp, path, indices, sheet.name, records.empty)


class _Records:
    """The sheet's rows as pieces of a CSV, the number of the row last; to be walked once. Rows that hold
    nothing are left out and counted in `empty`."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        indices: Sequence[int],
        rows: Iterator[Sequence[Any]],
        first: int,
        height: int,
        report: Report,
    ) -> None:
        self.empty = 0
        self._path, self._names, self._indices = path, names, indices
        self._rows, self._first, self._height, self._report = rows, first, height, report

    def __iter__(self) -> Iterator[str]:
        columns = [ColumnTexts() for _ in self._indices]
        line = self._first
        while batch := list(islice(self._rows, _BATCH)):
            lines: Sequence[int] = range(line, line + len(batch))
            line += len(batch)
            cells = list(zip(*batch, strict=True))
            if all("" in column for column in cells):
                used = [at for at, row in enumerate(batch) if any(cell != "" for cell in row)]
                self.empty += len(batch) - len(used)
                if not used:
                    continue
                lines = [lines[at] for at in used]
                cells = list(zip(*(batch[at] for at in used), strict=True))
            chosen = [cells[index] for index in self._indices]
            try:
                texts = [quoted(column.of(part)) for column, part in zip(columns, chosen, strict=True)]
            except NoText:
                raise self._fault(lines, chosen) from None
            yield "\n".join(map(",".join, zip(*texts, map(str, lines), strict=True))) + "\n"
            self._report(_LOADED + (1 - _LOADED) * line / max(line, self._height))

    def _fault(self, lines: Sequence[int], columns: Sequence[Sequence[Any]]) -> InvalidInput:
        """The first cell, by rows, that has no text."""
        for line, cells in zip(lines, zip(*columns, strict=True), strict=True):
            for index, cell in zip(self._indices, cells, strict=True):
                try:
                    cell_text(cell)
                except NoText:
                    tell = _number if isinstance(cell, float) else _day
                    return tell(self._path, cell, line, self._names[index])
        raise AssertionError("rows without a fault")


def _merged(sheet: Any, start: int, end: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    ranges = sheet.merged_cell_ranges or []
    return [(a, b) for a, b in ranges if a[0] < end and b[0] >= start]


def _names(
    head: Sequence[Sequence[Any]],
    width: int,
    start: int,
    first_column: int,
    merged: Sequence[tuple[tuple[int, int], tuple[int, int]]],
) -> list[str]:
    """A name for each column: its header cells from above, joined."""
    grid = [[*map(_name, line), *[""] * (width - len(line))] for line in head]
    for (top, left), (bottom, right) in merged:
        row, column = top - start, left - first_column
        if not (0 <= row < len(grid) and 0 <= column < width):
            continue
        for y in range(row, min(bottom - start, len(grid) - 1) + 1):
            for x in range(column, min(right - first_column, width - 1) + 1):
                grid[y][x] = grid[row][column]
    names = []
    for x in range(width):
        parts = [line[x] for line in grid if line[x]]
        names.append(" / ".join(dict.fromkeys(parts)))
    while names and not names[-1]:
        names.pop()
    return names


def _name(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _number(path: Path, cell: float, row: int, column: str) -> InvalidInput:
    return refused(
        path,
        f"row {row}: {column} is {cell:.0f}, and a spreadsheet keeps 15 digits of a number",
        "write long numbers as text in the workbook, or give the table as CSV or Parquet",
        row=row,
        column=column,
        value=f"{cell:.0f}",
    )


def _day(path: Path, cell: datetime.date, row: int, column: str) -> InvalidInput:
    return refused(
        path,
        f"row {row}: {column} is a day before 1 March 1900 ({cell}), and spreadsheets count a 29 February "
        "1900 that never was",
        "write the day as text: YYYY-MM-DD",
        row=row,
        column=column,
        value=str(cell),
    )
