"""The rows of a loaded sheet as lines of CSV: its header, then each cell's text and the number of the row."""

from __future__ import annotations

import datetime
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from prixfixe.errors import InvalidInput
from prixfixe.tables.archive import refused
from prixfixe.tables.celltexts import ColumnTexts, NoText, cell_text, quoted
from prixfixe.tables.names import check_names
from prixfixe.tables.progress import Report

_BATCH = 1024
"""Rows whose cells become texts together."""


@dataclass(frozen=True)
class Layout:
    """Which rows are the header (its first one, from 1, and how many), and the names that are needed; None
    for all."""

    header_row: int = 1
    header_rows: int = 1
    wanted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Written:
    """What a sheet became: the names of its columns, those that were kept, and the rows that held nothing."""

    names: tuple[str, ...]
    indices: tuple[int, ...]
    empty_rows: int


@contextmanager
def workbook_errors(path: Path) -> Iterator[None]:
    """InvalidInput for what calamine and the archive's readers say of a broken workbook."""
    import python_calamine as calamine

    try:
        yield
    except (
        zipfile.BadZipFile,
        calamine.CalamineError,
        ElementTree.ParseError,
        EOFError,
        zlib.error,
        KeyError,
        ValueError,
        NotImplementedError,
        zipfile.LargeZipFile,
    ) as error:
        raise refused(
            path, f"is not a whole workbook: {error}", "open it, save it as .xlsx and run again"
        ) from error


class SheetRows:
    """The rows below the header of a sheet that calamine has loaded, to be walked once. InvalidInput for a
    header that cannot be one.

    left: how many there are, empty ones included."""

    def __init__(self, path: Path, sheet: Any, layout: Layout) -> None:
        if sheet.start is None:
            raise refused(path, f"has nothing on sheet {sheet.name!r}", "name another sheet with --sheet")
        self._path = path
        self._rows = sheet.iter_rows()
        at, first_column = sheet.start
        first_row, head = at, []
        start, end = layout.header_row - 1, layout.header_row - 1 + layout.header_rows
        merged = _merged(sheet, start, end)
        for cells in self._rows:
            if start <= at < end:
                head.append(cells)
            at += 1
            if at >= end:
                break
        head = [[]] * max(0, min(first_row, end) - start) + head
        if not any(cell != "" for line in head for cell in line):
            raise refused(
                path,
                f"has nothing in row {layout.header_row} of sheet {sheet.name!r}",
                f"name the row of the header with --header-row (the first that holds any is {first_row + 1})",
                row=layout.header_row,
            )
        width = max(map(len, head))
        self.names = check_names(path.name, _names(head, width, start, first_column, merged))
        wanted = layout.wanted
        self.indices = tuple(i for i, name in enumerate(self.names) if wanted is None or name in wanted)
        self.left = sheet.height - (at - first_row)
        self._next = at + 1

    def header(self) -> str:
        """The first line of the CSV: each kept column is named by its place, since names may be odd."""
        return ",".join([*(f"c{i}" for i in self.indices), "place"]) + "\n"

    def skip(self, count: int) -> None:
        """Pass over so many rows."""
        for _ in islice(self._rows, count):
            pass
        self._next += count

    def write(self, file: IO[str], report: Report, count: int | None = None) -> int:
        """Write the next rows, so many or all; returns how many of them held nothing, which are left out.

        report: told the share of `left` that is done."""
        columns = [ColumnTexts() for _ in self.indices]
        rows, line, empty = islice(self._rows, count), self._next, 0
        first = line
        while batch := list(islice(rows, _BATCH)):
            lines: Sequence[int] = range(line, line + len(batch))
            line += len(batch)
            cells = list(zip(*batch, strict=True))
            if all("" in column for column in cells):
                used = [at for at, row in enumerate(batch) if any(cell != "" for cell in row)]
                empty += len(batch) - len(used)
                if not used:
                    continue
                lines = [lines[at] for at in used]
                cells = list(zip(*(batch[at] for at in used), strict=True))
            chosen = [cells[index] for index in self.indices]
            try:
                texts = [quoted(column.of(part)) for column, part in zip(columns, chosen, strict=True)]
            except NoText:
                raise self._fault(lines, chosen) from None
            file.write("\n".join(map(",".join, zip(*texts, map(str, lines), strict=True))) + "\n")
            report((line - first) / self.left)
        self._next = line
        return empty

    def _fault(self, lines: Sequence[int], columns: Sequence[Sequence[Any]]) -> InvalidInput:
        """The first cell, by rows, that has no text."""
        for line, cells in zip(lines, zip(*columns, strict=True), strict=True):
            for index, cell in zip(self.indices, cells, strict=True):
                try:
                    cell_text(cell)
                except NoText:
                    tell = _number if isinstance(cell, float) else _day
                    return tell(self._path, cell, line, self.names[index])
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
