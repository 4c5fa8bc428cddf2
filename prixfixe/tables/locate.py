"""The slow, exact walk through a CSV file that finds its first fault, with row, line, column and value.

It runs only after the fast reader has refused the file (about a second for a million rows), so that an error
always points at the same first place, whatever the number of threads.
"""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse
from prixfixe.tables.notation import DATE_FORMATS, SPACES

_SHOWN = 80
"""Characters of a value that an error repeats."""


def all_faults(
    path: Path,
    name: str,
    delimiter: str,
    quote: str,
    header_row: int,
    names: Sequence[str],
    uses: Sequence[ColumnUse],
    max_line_bytes: int,
) -> Iterator[InvalidInput]:
    """Each record that has too few or too many cells, or a used cell that cannot be read.

    Rows are counted from 1 after the header; lines from 1 at the top of the file.
    """
    for row, line, record in records(path, name, delimiter, quote, header_row):
        if isinstance(record, InvalidInput):
            yield record
            return
        if not record and len(names) > 1:
            continue
        place = f"row {row} of {name} (line {line})"
        fault = record_shape(place, name, row, line, record or [""], names, max_line_bytes)
        fault = fault or cells_fault(place, name, row, line, record or [""], uses)
        if fault is not None:
            yield fault


def records(
    path: Path, name: str, delimiter: str, quote: str, header_row: int
) -> Iterator[tuple[int, int, list[str] | InvalidInput]]:
    """Row, line and cells of every record after the header; an error ends it. A record that is an empty line
    has no cells, and the row after it the same number."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for _ in range(1, header_row):
            file.readline()
        reader = csv.reader(
            file,
            delimiter=delimiter,
            quotechar=quote,
            strict=True,
            skipinitialspace=_holds(path, f"{delimiter} {quote}".encode()),
        )
        above = header_row - 1
        _next(reader)
        row, line = 0, reader.line_num + 1 + above
        while True:
            row += 1
            try:
                record = _next(reader)
            except csv.Error as error:
                yield (
                    row,
                    line,
                    InvalidInput(
                        f"row {row} of {name} (line {line}) has a quote out of place: {error}",
                        hint="double every quote inside a quoted cell, and close the cell",
                        file=name,
                        row=row,
                        line=line,
                    ),
                )
                return
            if record is None:
                return
            yield row, line, record
            row, line = row - (not record), reader.line_num + 1 + above


def _next(reader: Any) -> list[str] | None:
    # The limit is the module's own, not the reader's: it is lifted for each record and put back.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        record: list[str] | None = next(reader, None)
        return record
    finally:
        csv.field_size_limit(limit)


def _holds(path: Path, wanted: bytes) -> bool:
    """Whether the bytes are in the file."""
    kept = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            if wanted in kept + chunk:
                return True
            kept = chunk[-len(wanted) :]
    return False


def record_shape(
    place: str,
    file: str,
    row: int,
    line: int,
    record: Sequence[str],
    names: Sequence[str],
    max_line_bytes: int,
) -> InvalidInput | None:
    """The fault of a record whose number of cells or length is wrong."""
    while len(record) > len(names) and not record[-1].strip(" "):
        record = record[:-1]
    if len(record) != len(names):
        return InvalidInput(
            f"{place} has {len(record)} cells, and the header has {len(names)}",
            hint="quote cells that contain the delimiter, or check that the delimiter is the right one",
            file=file,
            row=row,
            line=line,
            column=names[min(len(record), len(names)) - 1],
            value=shown(record[-1]),
        )
    if sum(map(len, record)) > max_line_bytes:
        longest = max(range(len(record)), key=lambda i: len(record[i]))
        return InvalidInput(
            f"{place} is longer than {max_line_bytes >> 20} MiB",
            hint="check that its quotes are closed",
            file=file,
            row=row,
            line=line,
            column=names[longest],
            value=shown(record[longest]),
        )
    return None


def cells_fault(
    place: str, file: str, row: int, line: int, record: Sequence[str], uses: Sequence[ColumnUse]
) -> InvalidInput | None:
    """The fault of the first used cell that cannot be read as its column's type."""
    for use in uses:
        cell = record[use.index]
        if not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell):
            return InvalidInput(
                f"{place}: {use.name!r} is not UTF-8",
                hint="declare the file's encoding, such as cp1252, or save the table as CSV (UTF-8)",
                file=file,
                row=row,
                line=line,
                column=use.name,
                value=shown(cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")),
            )
        if use.bad(cell):
            return InvalidInput(
                f"{place}: {use.name} is {shown(cell)!r}, and {use.type} is {use.describe()}",
                hint=way_out(use, cell),
                file=file,
                row=row,
                line=line,
                column=use.name,
                value=shown(cell),
            )
    return None


def way_out(use: ColumnUse, cell: str) -> str:
    """What to do about a cell that does not fit its type."""
    text = cell.strip(" ")
    if use.type.kind == "text":
        return (
            "remove the character from the cell" if "\x00" in cell else "shorten it, or take another column"
        )
    if not any(letter.isdigit() for letter in text):
        option = f"--null-values {shlex.quote(text)}" if text else "--null-values"
        return f'if {text!r} means "no value", declare it as a null value ({option}); else correct the cell'
    if use.type.numeric:
        if any(mark in text for mark in (",", "'", *SPACES)) or text.count(".") > 1:
            return (
                "write numbers with a point and without thousands separators: 1234.56, or declare how "
                "they are written (decimal, thousands)"
            )
        return "correct the cell, or declare another type for the column"
    if use.type.kind == "date":
        return f"correct the cell, or declare how dates are written: {', '.join(DATE_FORMATS)}"
    return "correct the cell, or declare the column as text"


def shown(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
