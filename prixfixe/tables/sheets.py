"""Excel workbooks through calamine: values as they are stored, turned into the texts that a CSV would hold.

A number is taken with the 15 digits that a spreadsheet keeps and shows; one with more is refused, since the
workbook has lost the rest already. A formula is its stored value. A cell that holds an error is refused: the
reader would call it empty. Days before 1 March 1900 are refused: spreadsheets count a 29 February 1900 that
never was, so that which day is meant is unsure. An archive is measured before it is opened.
"""

from __future__ import annotations

import csv
import datetime
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.locate import cells_fault, records, shown
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.table import Table, check_names, disk_errors, stamp_of

MAX_XML_BYTES = 4 << 30
"""Unpacked size of one part of a workbook: a full sheet of 16 columns has about 1 GB."""

MAX_CELLS = 60_000_000
"""Cells between the first and the last used one; they are held in memory, empty ones too."""

_SMALL_XML = 16 << 20
_ERROR = re.compile(
    rb'<c [^>]*?r="([A-Z]+)([0-9]+)"[^>]*?t="e"[^>]*?>(?:<f.*?(?:</f>|/>))?<v>([^<]{0,20})', re.S
)
_WIDE = re.compile(rb'<c r="([A-Z]{2,3})')
_ROW = re.compile(rb'<row r="([0-9]+)')
_FIRST_SURE_DAY = datetime.date(1900, 3, 1)


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
    wanted: names that are needed, None for all. InvalidInput for what no workbook should be.
    """
    import python_calamine as calamine

    stamp = stamp_of(path)
    _require_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            chosen, part = _choose(path, archive, sheet)
            _measure(path, archive, part, chosen)
        with calamine.CalamineWorkbook.from_path(str(path)) as book:
            loaded = book.get_sheet_by_name(chosen)
            return _written(path, target, loaded, stamp, header_row, header_rows, wanted)
    except (
        zipfile.BadZipFile,
        calamine.CalamineError,
        ElementTree.ParseError,
        EOFError,
        zlib.error,
    ) as error:
        raise _refused(
            path, f"is not a whole workbook: {error}", "open it, save it as .xlsx and run again"
        ) from error
    except (KeyError, ValueError, NotImplementedError, zipfile.LargeZipFile) as error:
        raise _refused(
            path, f"is not a whole workbook: {error}", "open it, save it as .xlsx and run again"
        ) from error


def _require_archive(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        with path.open("rb") as file:
            locked = "EncryptedPackage".encode("utf-16-le") in file.read(1 << 22)
        if locked:
            raise _refused(path, "is protected by a password", "save it without a password and run again")
        raise _refused(path, "is an old Excel workbook (.xls)", "save it as .xlsx and run again")
    if not head.startswith(b"PK\x03\x04"):
        raise _refused(path, "is not an Excel workbook", "give it its own ending, or save it as .xlsx")


def _choose(path: Path, archive: zipfile.ZipFile, wanted: str) -> tuple[str, str]:
    """Name of the sheet and of its part in the archive."""
    names = archive.namelist()
    if len(names) != len(set(names)) or len(names) > 10_000:
        raise _refused(path, "has parts twice or too many of them", "open it, save it again as .xlsx")
    if sum(info.compress_size for info in archive.infolist()) > path.stat().st_size:
        raise _refused(path, "has parts that overlap, as archives made to do harm have", "save it again")
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise _refused(path, "is protected by a password", "save it without a password and run again")
    if "xl/vbaProject.bin" in names:
        raise _refused(
            path, "has macros", "save it as .xlsx, without macros, and run again", value="xl/vbaProject.bin"
        )
    if "xl/workbook.bin" in names:
        raise _refused(path, "is a binary workbook (.xlsb)", "save it as .xlsx and run again")
    book = ElementTree.fromstring(_small(path, archive, "xl/workbook.xml"))
    links = ElementTree.fromstring(_small(path, archive, "xl/_rels/workbook.xml.rels"))
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    sheets: dict[str, str] = {}
    for element in book.iter():
        if element.tag.endswith("}sheet") or element.tag == "sheet":
            link = next((value for key, value in element.attrib.items() if key.endswith("}id")), "")
            target = targets.get(link, "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            if part in names and "worksheets/" in part:
                sheets[element.get("name", "")] = part
    if not sheets:
        raise _refused(path, "has no sheet with cells", "save it as .xlsx and run again")
    if not wanted and len(sheets) == 1:
        return next(iter(sheets.items()))
    if wanted not in sheets:
        shown_names = ", ".join(sheets)
        said = f"has no sheet {wanted!r}" if wanted else f"has {len(sheets)} sheets"
        raise _refused(
            path, said, f"name one with --sheet: {shown_names}", value=wanted or None, sheets=list(sheets)
        )
    return wanted, sheets[wanted]


def sheet_names(path: Path) -> tuple[str, ...]:
    """The names of the sheets with cells, in the workbook's order."""
    try:
        _require_archive(path)
        with zipfile.ZipFile(path) as archive:
            return (_choose(path, archive, "")[0],)
    except InvalidInput as error:
        return tuple(error.values.get("sheets", ()))
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError):
        return ()


def _small(path: Path, archive: zipfile.ZipFile, part: str) -> bytes:
    with archive.open(part) as file:
        data = file.read(_SMALL_XML + 1)
    if len(data) > _SMALL_XML:
        raise _bomb(path, part, len(data))
    return data


def _measure(path: Path, archive: zipfile.ZipFile, sheet_part: str, sheet: str) -> None:
    """Unpack, without keeping, each part that the reader will unpack: sizes are told by nobody."""
    for info in archive.infolist():
        name = info.filename
        other_sheet = name.startswith("xl/worksheets/") and name != sheet_part
        if not name.endswith((".xml", ".rels")) or other_sheet:
            continue
        if name != sheet_part and info.compress_size * 1032 < _SMALL_XML:
            continue  # deflate packs at most 1,032 to 1
        size, kept, width, last = 0, b"", b"A", 1
        with archive.open(info) as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                if size > MAX_XML_BYTES:
                    raise _bomb(path, name, size)
                if name == sheet_part:
                    window = kept + chunk
                    if b't="e"' in window:
                        _refuse_error(path, window, sheet)
                    for found in _WIDE.finditer(window):
                        if (len(found[1]), found[1]) > (len(width), width):
                            width = found[1]
                    rows = window.rfind(b'<row r="')
                    if rows >= 0 and (row := _ROW.match(window, rows)):
                        last = max(last, int(row[1]))
                    kept = window[-2000:]
        columns = column_number(width.decode()) if width != b"A" else 26
        if columns * last > MAX_CELLS:
            raise _refused(
                path,
                f"has cells as far as column {width.decode()} and row {last:,} on sheet {sheet!r}",
                "delete what lies beyond the table, or save the table as CSV or Parquet",
                row=last,
                column=width.decode(),
            )


def _refuse_error(path: Path, window: bytes, sheet: str) -> None:
    for found in _ERROR.finditer(window):
        column, row, value = found[1].decode(), int(found[2]), found[3].decode("utf-8", "replace")
        raise _refused(
            path,
            f"has the error {value} in cell {column}{row} of sheet {sheet!r}",
            "correct the formula, or clear the cell",
            row=row,
            column=column,
            value=value,
        )


def _written(
    path: Path,
    target: Path,
    sheet: Any,
    stamp: tuple[int, int],
    header_row: int,
    header_rows: int,
    wanted: Collection[str] | None,
) -> SheetTable:
    if sheet.start is None:
        raise _refused(path, f"has nothing on sheet {sheet.name!r}", "name another sheet with --sheet")
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
        raise _refused(
            path,
            f"has nothing in row {header_row} of sheet {sheet.name!r}",
            f"name the row of the header with --header-row (the first that holds any is {first_row + 1})",
            row=header_row,
        )
    width = max(map(len, head))
    names = check_names(path.name, _names(head, width, start, first_column, merged))
    indices = tuple(i for i, name in enumerate(names) if wanted is None or name in wanted)
    empty = 0
    with disk_errors(), target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(f"c{i}" for i in indices), "place"])
        for line, cells in enumerate(rows, start=at + 1):
            if all(cell == "" for cell in cells):
                empty += 1
                continue
            record = []
            for i in indices:
                cell = cells[i] if i < len(cells) else ""
                record.append(cell if type(cell) is str else _text(path, cell, line, names[i]))
            record.append(str(line))
            writer.writerow(record)
    return SheetTable(target, names, stamp, path, indices, sheet.name, empty)


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


def _text(path: Path, cell: Any, row: int, column: str) -> str:
    """A cell as the text that a CSV would hold."""
    if type(cell) is float:
        if cell != cell or abs(cell) >= 1e15:
            raise _number(path, cell, row, column)
        text = format(cell, ".15g")
        return format(Decimal(text), "f") if "e" in text else text
    if cell is True or cell is False:
        return "true" if cell else "false"
    if isinstance(cell, datetime.datetime):
        if cell.date() < _FIRST_SURE_DAY:
            raise _day(path, cell, row, column)
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat(" ")
    if isinstance(cell, datetime.date):
        if cell < _FIRST_SURE_DAY:
            raise _day(path, cell, row, column)
        return cell.isoformat()
    return str(cell)


def _number(path: Path, cell: float, row: int, column: str) -> InvalidInput:
    return _refused(
        path,
        f"row {row}: {column} is {cell:.0f}, and a spreadsheet keeps 15 digits of a number",
        "write long numbers as text in the workbook, or give the table as CSV or Parquet",
        row=row,
        column=column,
        value=f"{cell:.0f}",
    )


def _day(path: Path, cell: datetime.date, row: int, column: str) -> InvalidInput:
    return _refused(
        path,
        f"row {row}: {column} is a day before 1 March 1900 ({cell}), and spreadsheets count a 29 February "
        "1900 that never was",
        "write the day as text: YYYY-MM-DD",
        row=row,
        column=column,
        value=str(cell),
    )


def column_number(letters: str) -> int:
    """A is 1, Z is 26, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _bomb(path: Path, part: str, size: int) -> InvalidInput:
    return _refused(
        path,
        f"unpacks to more than {size - 1:,} bytes in its part {part}",
        "open it, delete what is not the table, and save it again",
        value=part,
    )


def _refused(path: Path, what: str, hint: str, **values: Any) -> InvalidInput:
    text = f"{path.name} {what}" if not what.startswith("row ") else f"{path.name}, {what}"
    return InvalidInput(shown(text) if len(text) > 2000 else text, hint=hint, file=path.name, **values)
