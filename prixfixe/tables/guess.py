"""What a file probably is, with the reason: a suggestion that a person confirms, never one that is used
silently.

Only what was not declared is guessed, and only what differs from the default is worth a question.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.tables.notation import DATE_FORMATS, SPACES, Notation
from prixfixe.tables.original import Utf8, first_odd_byte
from prixfixe.tables.reader import DELIMITERS
from prixfixe.tables.source import kind_by_name

SAMPLE_BYTES = 1 << 20
SAMPLE_RECORDS = 1_000
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Guess:
    """One parameter that the file seems to ask for. `option` is how a person declares it."""

    parameter: str
    value: str | int
    reason: str

    @property
    def option(self) -> str:
        shown = {"\t": r"'\t'", " ": "' '", "": "''"}.get(str(self.value), str(self.value))
        quoted = shown if re.fullmatch(r"[\w./-]+|'.*'", shown) else "'" + shown.replace("'", "'\\''") + "'"
        return f"--{self.parameter.replace('_', '-')} {quoted}"


def guess(
    path: str | os.PathLike[str],
    declared: Mapping[str, Any],
    guessable: Collection[str],
    *,
    whole: bool = True,
) -> tuple[Guess, ...]:
    """Guesses for a file, of the parameters in `guessable` that are not in `declared`. Empty when the
    defaults fit, or nothing is certain enough to be suggested. whole: all of the file is searched for bytes
    that are no UTF-8; else its beginning, for those who will read the rest anyway."""
    path = Path(path)
    if kind_by_name(path) != "csv" or not path.is_file():
        return ()
    found: list[Guess] = []
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    encoding = str(declared.get("encoding", "utf-8"))
    if "encoding" not in declared:
        told = _encoding(path, head, whole)
        if told is not None:
            found.append(told)
            encoding = str(told.value)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError):
        return tuple(one for one in found if one.parameter in guessable)
    if len(head) == SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1]
    skipped = int(declared.get("header_row", 1)) - 1
    text = "".join(text.splitlines(keepends=True)[skipped:])
    quote = str(declared.get("quote", '"'))
    delimiter = str(declared.get("delimiter", ","))
    if "delimiter" not in declared:
        told = _delimiter(text, quote)
        if told is not None:
            found.append(told)
            delimiter = str(told.value)
    records = _records(text, delimiter, quote)
    if records:
        names, rows = records[0], records[1:]
        if "decimal" not in declared and "thousands" not in declared:
            found += numbers(names, rows, _numeric(declared))
        if "date_format" not in declared:
            found += dates(names, rows, declared.get("types", {}))
    return tuple(one for one in found if one.parameter in guessable)


def _encoding(path: Path, head: bytes, whole: bool) -> Guess | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Guess("encoding", "utf-16", "the file starts with the byte order mark of UTF-16")
    sample = head[:4096]
    if len(sample) >= 4 and sample.count(0) >= len(sample) // 3:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        name = "utf-16-le" if odd > even else "utf-16-be"
        return Guess("encoding", name, "every other byte is zero")
    at = first_odd_byte(path) if whole else _odd_byte(head)
    if at is None or 0 in sample:
        return None
    line = 1
    with path.open("rb") as file:
        while left := at - file.tell():
            line += file.read(min(left, _PIECE_BYTES)).count(b"\n")
        byte = file.read(1)[0]
    return Guess("encoding", "cp1252", f"line {line} is not UTF-8 (byte {byte:#04x})")


def _odd_byte(head: bytes) -> int | None:
    text = Utf8()
    text.feed(head)
    return text.odd


def _delimiter(text: str, quote: str) -> Guess | None:
    """The delimiter that cuts every record of the sample into equally many cells, when the comma does not."""
    widths = {}
    for delimiter in DELIMITERS:
        records = _records(text, delimiter, quote)
        counts = {len(record) for record in records if record}
        if len(counts) == 1 and (width := counts.pop()) > 1:
            widths[delimiter] = (width, len(records))
    if not widths or ("," in widths and widths[","][0] == max(width for width, _ in widths.values())):
        return None
    best = max(widths, key=lambda delimiter: widths[delimiter][0])
    width, count = widths[best]
    if best == ",":
        return None
    name = {"\t": "a tab", ";": "';'", "|": "'|'"}[best]
    return Guess("delimiter", best, f"{name} cuts each of the first {count:,} lines into {width} cells")


def _records(text: str, delimiter: str, quote: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
    records: list[list[str]] = []
    try:
        for record in reader:
            if record:
                records.append(record)
            if len(records) > SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    return records


def _numeric(declared: Mapping[str, Any]) -> set[str]:
    """Columns that are to be read as numbers."""
    types = dict(declared.get("types", {}))
    columns = {name for name, kind in types.items() if str(kind).startswith(("decimal", "integer"))}
    for value in declared.get("values", ()):
        if set(value["aggregates"]) - {"count", "distinct"}:
            columns.add(value["column"])
    return {name for name in columns if types.get(name) not in ("date", "text", "boolean")}


def numbers(names: Sequence[str], rows: Sequence[Sequence[str]], wanted: Collection[str]) -> list[Guess]:
    """The marks of numbers in these columns, when they are not the default ones."""
    cells = [
        (name, row[i].strip(" "))
        for i, name in enumerate(names)
        if name in wanted
        for row in rows
        if i < len(row) and any(letter.isdigit() for letter in row[i])
    ]
    if not cells or all(re.fullmatch(r"[+-]?[0-9]*[.]?[0-9]*", cell) for _, cell in cells):
        return []
    # In this order: the first notation that reads every cell; the comma as decimal mark before as thousands.
    for decimal, thousands in (
        (",", ""),
        (",", "."),
        (",", " "),
        (".", ","),
        (".", "'"),
        (".", " "),
        (",", "'"),
    ):
        shape = re.compile(Notation(decimal, thousands).number_shape)
        if all(shape.fullmatch(cell) for _, cell in cells):
            break
    else:
        return []
    odd = re.compile(rf"[,'{SPACES}]")
    name, cell = next((pair for pair in cells if odd.search(pair[1])), cells[0])
    reason = f"{name} has {cell!r}"
    unsure = (
        decimal == ","
        and not thousands
        and all(re.fullmatch(r"[+-]?[0-9]{1,3},[0-9]{3}|[+-]?[0-9]*", c) for _, c in cells)
    )
    if unsure:
        reason += ", which could also mean thousands"
    made = [Guess("decimal", decimal, reason)] if decimal != "." else []
    return made + ([Guess("thousands", thousands, reason)] if thousands else [])


def dates(names: Sequence[str], rows: Sequence[Sequence[str]], types: Mapping[str, str]) -> list[Guess]:
    """How the columns that are declared as dates are written, when it is not the default way."""
    cells = [
        (name, row[i].strip(" "))
        for i, name in enumerate(names)
        if types.get(name) == "date"
        for row in rows
        if i < len(row) and any(letter.isdigit() for letter in row[i])
    ]
    if not cells:
        return []
    fitting = [f for f in DATE_FORMATS if all(Notation(date_format=f).date(c) is not None for _, c in cells)]
    if not fitting or "YYYY-MM-DD" in fitting:
        return []
    name, cell = cells[0]
    reason = f"{name} has {cell!r}"
    if len(fitting) > 1:
        reason += f", which could also be {' or '.join(fitting[1:])}"
    return [Guess("date_format", fitting[0], reason)]
