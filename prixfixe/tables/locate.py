"""The slow, exact walk through a CSV file that finds its first fault, with row, line, column and value.

It runs only after the fast reader has refused the file (about a second for a million rows), so that an error
always points at the same first place, whatever the number of threads.
"""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse

_SHOWN = 80
"""Characters of a value that an error repeats."""


def first_fault(
    path: Path,
    delimiter: str,
    quote: str,
    names: Sequence[str],
    uses: Sequence[ColumnUse],
    max_line_bytes: int,
) -> InvalidInput | None:
    """The first record that has too few or too many cells, or a used cell that cannot be read; None when
    all is well.

    Rows are counted from 1 after the header; lines from 1 at the top of the file.
    """
    name = path.name
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(
                file,
                delimiter=delimiter,
                quotechar=quote,
                strict=True,
                skipinitialspace=_holds(path, f"{delimiter} {quote}".encode()),
            )
            next(reader)
            row, line = 0, reader.line_num + 1
            while True:
                row += 1
                try:
                    record = next(reader, None)
                except csv.Error as error:
                    return InvalidInput(
                        f"row {row} of {name} (line {line}) has a quote out of place: {error}",
                        hint="double every quote inside a quoted cell, and close the cell",
                        file=name,
                        row=row,
                        line=line,
                    )
                if record is None:
                    return None
                if not record and len(names) > 1:
                    row, line = row - 1, reader.line_num + 1
                    continue
                fault = _record_fault(name, row, line, record or [""], names, uses, max_line_bytes)
                if fault is not None:
                    return fault
                line = reader.line_num + 1
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


def _record_fault(
    file: str,
    row: int,
    line: int,
    record: Sequence[str],
    names: Sequence[str],
    uses: Sequence[ColumnUse],
    max_line_bytes: int,
) -> InvalidInput | None:
    place = f"row {row} of {file} (line {line})"
    while len(record) > len(names) and not record[-1].strip(" "):
        record = record[:-1]
    if len(record) != len(names):
        return InvalidInput(
            f"{place} has {len(record)} cells, and the header has {len(names)}",
            hint="quote cells that contain the delimiter, or check that the delimiter is the right one",
            file=file,
            row=row,
            line=line,
            value=_shown(record[-1]),
        )
    if sum(map(len, record)) > max_line_bytes:
        return InvalidInput(
            f"{place} is longer than {max_line_bytes >> 20} MiB",
            hint="check that its quotes are closed",
            file=file,
            row=row,
            line=line,
        )
    for use in uses:
        cell = record[use.index]
        if not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell):
            return InvalidInput(
                f"{place}: {use.name!r} is not UTF-8",
                hint="save the table as CSV (UTF-8) and run again",
                file=file,
                row=row,
                line=line,
                column=use.name,
                value=_shown(cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")),
            )
        if use.bad(cell):
            return InvalidInput(
                f"{place}: {use.name} is {_shown(cell)!r}, and {use.type} is {use.type.description}",
                hint=_way_out(use, cell),
                file=file,
                row=row,
                line=line,
                column=use.name,
                value=_shown(cell),
            )
    return None


def _way_out(use: ColumnUse, cell: str) -> str:
    """What to do about a cell that does not fit its type."""
    text = cell.strip(" ")
    if not any(letter.isdigit() for letter in text):
        option = f"--null-values {shlex.quote(text)}" if text else "--null-values"
        return f'if {text!r} means "no value", declare it as a null value ({option}); else correct the cell'
    if use.type.numeric:
        if "," in text or "'" in text or " " in text:
            return "write numbers with a point and without thousands separators: 1234.56"
        return "correct the cell, or declare another type for the column"
    return "correct the cell, or declare the column as text"


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
