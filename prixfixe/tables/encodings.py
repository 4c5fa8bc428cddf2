"""Text in a declared encoding, turned into UTF-8 strictly: a byte that means nothing is an error."""

from __future__ import annotations

import codecs
import csv
import sys
from pathlib import Path

from prixfixe.errors import InvalidInput
from prixfixe.tables.locate import shown
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.table import disk_errors

ENCODINGS = (
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "latin-1",
    "iso-8859-15",
    "cp1252",
    "cp1250",
    "cp850",
    "mac-roman",
)
_CHUNK = 1 << 20


def to_utf8(
    source: Path,
    target: Path,
    encoding: str,
    delimiter: str,
    quote: str,
    header_row: int,
    report: Report = unheard,
) -> None:
    """Write `source` as UTF-8 into `target`. InvalidInput names row, line, column and bytes at fault."""
    _refuse_utf8(source, encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    line, whole, done = 1, source.stat().st_size, 0
    try:
        with (
            disk_errors(),
            source.open("rb") as read,
            target.open("w", encoding="utf-8", newline="") as write,
        ):
            while True:
                data = read.read(_CHUNK)
                text = decoder.decode(data, final=not data)
                if line == 1:
                    text = text.removeprefix("\ufeff")
                line += text.count("\n")
                write.write(text)
                if not data:
                    return
                done += len(data)
                report(min(1.0, done / whole))
    except UnicodeDecodeError as error:
        place = _place(source, encoding, delimiter, quote, header_row)
        raise place or _fault(source, encoding, None, line, None, _hex(error)) from error


def _refuse_utf8(source: Path, encoding: str) -> None:
    """A file that is UTF-8 would be read as any one-byte encoding without an error, and wrongly."""
    if encoding.startswith("utf"):
        return
    with source.open("rb") as file:
        head = file.read(_CHUNK)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return
    odd = next((line for line in text.splitlines() if not line.isascii()), None)
    if odd is not None:
        raise InvalidInput(
            f"{source.name} was declared {encoding}, and it is UTF-8: {shown(odd)!r}",
            hint="declare the encoding utf-8, or none",
            file=source.name,
            row=text[: text.index(odd)].count("\n"),
            value=shown(odd),
        )


def _place(source: Path, encoding: str, delimiter: str, quote: str, header_row: int) -> InvalidInput | None:
    """The first cell that cannot be decoded."""
    # One-byte encodings keep the stray byte; others can only mark where it was.
    marking = "replace" if encoding.startswith("utf") else "surrogateescape"
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with source.open(encoding=encoding, errors=marking, newline="") as file:
            for _ in range(1, header_row):
                file.readline()
            reader = csv.reader(file, delimiter=delimiter, quotechar=quote)
            names = next(reader, [])
            line = reader.line_num + header_row
            for row, record in enumerate(reader, start=1):
                for position, cell in enumerate(record):
                    if "\ufffd" in cell or any("\udc80" <= letter <= "\udcff" for letter in cell):
                        name = names[position] if position < len(names) else None
                        value = cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                        return _fault(source, encoding, row, line, name, shown(value))
                line = reader.line_num + header_row
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(limit)
    return None


def _fault(
    source: Path, encoding: str, row: int | None, line: int, column: str | None, value: str
) -> InvalidInput:
    where = f"row {row} of {source.name} (line {line})" if row else f"line {line} of {source.name}"
    what = f"{column!r} is" if column else "holds what is"
    return InvalidInput(
        f"{where}: {what} not {encoding}: {value}",
        hint="declare the encoding that the whole file is in, or save it again as UTF-8",
        file=source.name,
        row=row,
        line=line,
        column=column,
        value=value,
    )


def _hex(error: UnicodeDecodeError) -> str:
    return bytes(error.object[error.start : error.end]).hex(" ")
