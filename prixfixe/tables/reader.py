"""CSV through DuckDB: a header read by us, every cell as text, types applied afterwards.

Rules: the declared encoding, strictly, with or without a byte order mark; one header record; every record as
many cells as the header (further cells are let pass when they are empty); the delimiter and quote that were
declared; quotes doubled inside quotes, spaces around quotes dropped. An empty line is no row in a table of
two columns or more. Nothing is guessed and nothing is skipped: what breaks a rule is an error with file, row,
column and value.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.locate import all_faults
from prixfixe.tables.names import check_names
from prixfixe.tables.table import Table, stamp_of

HEADER_BYTES = 1 << 20
"""A header record longer than this is no header."""

MAX_LINE_BYTES = 2 << 20
"""The longest record, quoted line breaks included. DuckDB reads in buffers of sixteen times this."""

_SAMPLES = 64
_SAMPLE_BYTES = 1 << 14

DELIMITERS = (",", ";", "\t", "|")
"""What may separate cells, likeliest first."""

_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
)


@dataclass(frozen=True)
class Dialect:
    """How the file separates and quotes its cells, and which line its header is. Declared, with the defaults
    of RFC 4180."""

    delimiter: str = ","
    quote: str = '"'
    header_row: int = 1


@dataclass(frozen=True)
class Engine:
    """What DuckDB may use. `spill` is the folder for what does not fit `memory_mib`."""

    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_mib: int = 2048
    spill: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    @contextmanager
    def connect(self, *, ordered: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, in memory, that loads no extension and leaves nothing in `spill`.

        ordered: rows are written in the order in which they are read; aggregates and queries that order their
        rows need none."""
        with tempfile.TemporaryDirectory(prefix="prixfixe-", dir=self.spill) as folder:
            settings: dict[str, Any] = {
                "threads": self.threads,
                "memory_limit": f"{self.memory_mib}MiB",
                "temp_directory": folder,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": ordered,
                # They believe what a Parquet footer says of its columns, and lose the rows that it hides.
                "disabled_optimizers": "statistics_propagation,filter_pushdown,compressed_materialization",
            }
            connection = duckdb.connect(":memory:", config=settings)
            try:
                yield connection
            finally:
                connection.close()


@dataclass(frozen=True)
class CsvTable(Table):
    """An opened CSV file in UTF-8: its path and its header. Make it with `CsvTable.open`."""

    dialect: Dialect = Dialect()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        dialect: Dialect = Dialect(),
        *,
        origin: Path | None = None,
        stamp: tuple[int, int] | None = None,
    ) -> CsvTable:
        """Read the header. InvalidInput when there is none, or it cannot be one.

        `origin` and its `stamp`: the file that `path` was made from, when it was in another encoding.
        """
        path = Path(path)
        origin = origin or path
        stamp = stamp or stamp_of(origin)
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        return cls(path, _header(origin.name, head, dialect), stamp, origin, dialect)

    def hint_of_names(self) -> str:
        """What to try when the whole header was read as one cell."""
        others = (each for each in DELIMITERS if each != self.dialect.delimiter)
        found = next((each for each in others if len(self.names) == 1 and each in self.names[0]), None)
        if found is None:
            return ""
        # A tab in a shell is $'...'; what the user types must work as printed.
        typed = "$'\\t'" if found == "\t" else f"'{found}'"
        return f"; if they are separated by {found!r}, say so: --delimiter {typed}"

    @contextmanager
    def scan(self) -> Iterator[str]:
        if _endless_line(self.path):
            raise self.fault(()) or self.unreadable("it has a line longer than 2 MiB")
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
                f"skip={self.dialect.header_row - 1}, "
                f"delim={literal(self.dialect.delimiter)}, quote={quote}, escape={quote}, nullstr='', "
                f"comment='', compression='none', encoding='utf-8', strict_mode=true, null_padding=false, "
                f"ignore_errors=false, max_line_size={MAX_LINE_BYTES})"
            )

    def sample(self) -> Iterator[Sequence[str]]:
        with self.path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for place in range(0, size, max(size // _SAMPLES, _SAMPLE_BYTES)):
                file.seek(place)
                # A line that is cut is no record, nor is what comes of beginning within quotes, mostly.
                _, _, text = file.read(_SAMPLE_BYTES).decode("utf-8", "replace").partition("\n")
                text = text[: text.rfind("\n") + 1]
                lines = csv.reader(
                    io.StringIO(text, newline=""),
                    delimiter=self.dialect.delimiter,
                    quotechar=self.dialect.quote,
                )
                with suppress(csv.Error):
                    yield from (line for line in lines if len(line) == len(self.names))

    def faults(self, uses: Sequence[ColumnUse]) -> Iterator[InvalidInput]:
        return all_faults(
            self.path,
            self.name,
            self.dialect.delimiter,
            self.dialect.quote,
            self.dialect.header_row,
            self.names,
            uses,
            MAX_LINE_BYTES,
        )

    def unreadable(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"{self.name} cannot be read as CSV: {why}",
            hint="save it again as UTF-8 CSV with one kind of line ending, quotes doubled inside quotes",
            file=self.name,
        )


def _endless_line(path: Path) -> bool:
    """Whether some line is longer than `MAX_LINE_BYTES`, found by looking at a piece of every MiB.

    DuckDB drops a last line that is longer than its buffer without a word.
    """
    piece, step = 1 << 14, MAX_LINE_BYTES // 2
    with path.open("rb") as file:
        for start in range(0, os.fstat(file.fileno()).st_size, step):
            file.seek(start)
            data = file.read(piece)
            if b"\n" in data or b"\r" in data or len(data) < piece:
                continue
            # Within this MiB there may be a line break further on; from it the next one must be near.
            run = len(data)
            while run < MAX_LINE_BYTES and (data := file.read(piece)):
                if b"\n" in data or b"\r" in data:
                    break
                run += len(data)
            if run >= MAX_LINE_BYTES:
                return True
    return False


def kind_of(head: bytes) -> str | None:
    """What a file is by its first bytes, when it is surely no text."""
    return next((what for magic, what in _MAGIC if head.startswith(magic)), None)


def _header(name: str, head: bytes, dialect: Dialect) -> tuple[str, ...]:
    def refuse(message: str, hint: str, *, column: str | None = None) -> InvalidInput:
        return InvalidInput(message, hint=hint, file=name, column=column, row=0)

    if not head:
        raise refuse(f"{name} is empty", "give a CSV file with a header and at least one row")
    what = kind_of(head)
    if what is not None:
        raise refuse(f"{name} is {what}, not CSV", "give it its own ending, or save the table as CSV (UTF-8)")
    sample = head[:4096]
    # A stray NUL is a cell's fault, and is told with its place; text of two bytes a letter is half NULs.
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or sample.count(0) * 10 > len(sample):
        raise refuse(
            f"{name} is not UTF-8 text",
            "declare its encoding (utf-16, if it is text), or save the table as CSV (UTF-8) and run again",
        )
    text = head.decode("utf-8-sig", errors="surrogateescape")
    lines = io.StringIO(text, newline="")
    for number in range(1, dialect.header_row):
        if not lines.readline():
            raise refuse(
                f"{name} has {number - 1} lines, and line {dialect.header_row} was named as its header",
                "name the line of the header, counted from 1",
            )
    reader = csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
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
            f"the first line of {name} is empty",
            "name the line that is the header (header_row), or delete the lines above it",
        )
    for position, column in enumerate(names, start=1):
        if "\x00" in column:
            raise refuse(
                f"the name of column {position} of {name} holds a NUL character",
                "remove the character from the header",
                column=column,
            )
        if any("\udc80" <= letter <= "\udcff" for letter in column):
            raise refuse(
                f"the name of column {position} of {name} is not UTF-8",
                "declare its encoding, such as cp1252, or save the table as CSV (UTF-8) and run again",
                column=column.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            )
    return check_names(name, names)
