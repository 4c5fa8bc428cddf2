"""CSV through DuckDB: a header read by us, every cell as text, types applied afterwards.

Rules: UTF-8, strictly, with or without a byte order mark; one header record; every record as many cells as
the header (further cells are let pass when they are empty); the delimiter and quote that were declared;
quotes doubled inside quotes, spaces around quotes dropped. An empty line is no row in a table of two
columns or more. Nothing is guessed and nothing is skipped: what breaks a rule is an error with file, row,
column and value.
"""

from __future__ import annotations

import csv
import difflib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.locate import first_fault

HEADER_BYTES = 1 << 20
"""A header record longer than this is no header."""

MAX_LINE_BYTES = 2 << 20
"""The longest record, quoted line breaks included. DuckDB reads in buffers of sixteen times this."""

DELIMITERS = (";", "\t", "|", ",")
"""What else may separate cells, likeliest first."""

_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF document"),
)


@dataclass(frozen=True)
class Dialect:
    """How the file separates and quotes its cells. Declared, with the defaults of RFC 4180."""

    delimiter: str = ","
    quote: str = '"'


@dataclass(frozen=True)
class Engine:
    """What DuckDB may use. `spill` is the folder for what does not fit `memory_mib`."""

    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_mib: int = 2048
    spill: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, in memory, that loads no extension and leaves nothing in `spill`."""
        with tempfile.TemporaryDirectory(prefix="prixfixe-", dir=self.spill) as folder:
            settings: dict[str, Any] = {
                "threads": self.threads,
                "memory_limit": f"{self.memory_mib}MiB",
                "temp_directory": folder,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,  # every query here is an aggregate or is ordered
            }
            connection = duckdb.connect(":memory:", config=settings)
            try:
                yield connection
            finally:
                connection.close()


@dataclass(frozen=True)
class CsvTable:
    """An opened CSV file: its path and its header. Make it with `CsvTable.open`."""

    path: Path
    dialect: Dialect
    names: tuple[str, ...]
    stamp: tuple[int, int]
    """Size in bytes and modification time in nanoseconds when it was opened."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], dialect: Dialect = Dialect()) -> CsvTable:
        """Read the header. InvalidInput when there is none, or it cannot be one."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                head = file.read(HEADER_BYTES)
                status = os.fstat(file.fileno())
        except OSError as error:
            raise InvalidInput(
                f"{path.name} cannot be read: {error.strerror or error}",
                hint="check the path and that you may read the file",
                file=path.name,
            ) from error
        names = _header(path.name, head, dialect)
        return cls(path, dialect, names, (status.st_size, status.st_mtime_ns))

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp[0]

    def index(self, column: str) -> int:
        """Position of a column by its exact name. InvalidInput names what the table has instead."""
        if column in self.names:
            return self.names.index(column)
        folded = {name.strip().casefold(): name for name in reversed(self.names)}
        near = folded.get(column.strip().casefold())
        if near is None:
            close = difflib.get_close_matches(column, self.names, n=1)
            near = close[0] if close else None
        shown = ", ".join(self.names[:20]) + (
            f" and {len(self.names) - 20} more" if len(self.names) > 20 else ""
        )
        raise InvalidInput(
            f"{self.path.name} has no column {column!r}",
            hint=(f"did you mean {near!r}? " if near else "")
            + f"its columns are: {shown}"
            + self._other_delimiter(),
            file=self.path.name,
            column=column,
        )

    def _other_delimiter(self) -> str:
        """What to try when the whole header was read as one cell."""
        found = next((each for each in DELIMITERS if len(self.names) == 1 and each in self.names[0]), None)
        if found is None:
            return ""
        # A tab in a shell is $'...'; what the user types must work as printed.
        typed = "$'\\t'" if found == "\t" else f"'{found}'"
        return f"; if they are separated by {found!r}, say so: --delimiter {typed}"

    @contextmanager
    def scan(self) -> Iterator[str]:
        """The SQL of a table function with columns c0, c1 ... of text, valid inside the block."""
        with tempfile.TemporaryDirectory(prefix="prixfixe-") as folder:
            path = self.path.absolute()
            if any(letter in str(path) for letter in "*?[]{}"):
                # DuckDB would read these as a pattern of several files.
                link = Path(folder) / "table.csv"
                link.symlink_to(path)
                path = link
            columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(self.names)))
            quote = literal(self.dialect.quote)
            yield (
                f"read_csv({literal(str(path))}, columns={{{columns}}}, auto_detect=false, header=true, "
                f"delim={literal(self.dialect.delimiter)}, quote={quote}, escape={quote}, nullstr='', "
                f"comment='', compression='none', encoding='utf-8', strict_mode=true, null_padding=false, "
                f"ignore_errors=false, max_line_size={MAX_LINE_BYTES})"
            )

    @contextmanager
    def explained(self, uses: Sequence[ColumnUse]) -> Iterator[None]:
        """Turn DuckDB's refusal of the file into InvalidInput with row, line, column and value."""
        try:
            yield
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            first_line = str(error).splitlines()[0]
            if "memory" in first_line.lower():
                raise
            fault = self.fault(uses)
            if fault is not None:
                raise fault from error
            raise InvalidInput(
                f"{self.path.name} cannot be read as CSV: {_plain(str(error))}",
                hint="save it again as UTF-8 CSV with one kind of line ending, quotes doubled inside quotes",
                file=self.path.name,
            ) from error
        if self.changed():
            raise InvalidInput(
                f"{self.path.name} changed while it was read",
                hint="wait until nothing writes to it, or copy it, and run again",
                file=self.path.name,
            )

    def changed(self) -> bool:
        """Whether the file is no longer the one that was opened."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) != self.stamp

    def fault(self, uses: Sequence[ColumnUse]) -> InvalidInput | None:
        """The first thing in the file that is wrong, found slowly and exactly."""
        return first_fault(
            self.path, self.dialect.delimiter, self.dialect.quote, self.names, uses, MAX_LINE_BYTES
        )


def _header(name: str, head: bytes, dialect: Dialect) -> tuple[str, ...]:
    def refuse(message: str, hint: str, *, column: str | None = None) -> InvalidInput:
        return InvalidInput(message, hint=hint, file=name, column=column)

    if not head:
        raise refuse(f"{name} is empty", "give a CSV file with a header and at least one row")
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise refuse(f"{name} is {what}, not CSV", "save the table as CSV (UTF-8) and run again")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head[:4096]:
        raise refuse(f"{name} is not UTF-8 text", "save the table as CSV (UTF-8) and run again")
    text = head.decode("utf-8-sig", errors="surrogateescape")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True
    )
    limit = csv.field_size_limit(HEADER_BYTES)
    try:
        names = next(reader)
        complete = len(head) < HEADER_BYTES or next(reader, None) is not None
    except (csv.Error, StopIteration) as error:
        raise refuse(f"the header of {name} cannot be read: {error}", "check its quotes") from error
    finally:
        csv.field_size_limit(limit)
    if not complete:
        raise refuse(f"the header of {name} is longer than 1 MiB", "check the delimiter and the quotes")
    if not names:
        raise refuse(
            f"the first line of {name} is empty", "the first line must be the header: delete lines above it"
        )
    seen: dict[str, int] = {}
    for position, column in enumerate(names, start=1):
        if any("\udc80" <= letter <= "\udcff" for letter in column):
            raise refuse(
                f"the name of column {position} of {name} is not UTF-8",
                "save the table as CSV (UTF-8) and run again",
            )
        if column and column in seen:
            raise refuse(
                f"the header of {name} has {column!r} twice, as column {seen[column]} and column {position}",
                "rename one of them",
                column=column,
            )
        seen[column] = position
    return tuple(names)


def _plain(message: str) -> str:
    """DuckDB's message without its list of options."""
    lines = [line.strip() for line in message.splitlines()]
    kept: Mapping[str, None] = dict.fromkeys(
        line for line in lines[:3] if line and not line.startswith(("Possible", "*", "file ="))
    )
    return "; ".join(kept).removeprefix("Invalid Input Error: ")
