"""Parquet through DuckDB: types as they are stored, metadata believed only as far as the data bear it out."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse, literal
from prixfixe.tables.locate import shown, way_out
from prixfixe.tables.names import check_names
from prixfixe.tables.table import Table, disk_errors, stamp_of

MAX_ROWS = 1_000_000_000
"""Rows that a footer may claim: a few bytes can claim any number, and reading them would never end."""

MARK = "prixfixe"
"""Key of the footer under which a client writes what it converted."""

_NESTED = ("STRUCT", "MAP", "UNION")


@dataclass(frozen=True)
class ParquetTable(Table):
    """An opened Parquet file. `types` are the SQL types of its columns, `empty` says whether texts in it may
    be empty instead of NULL, `trusted` are columns whose texts are known to be sound."""

    types: tuple[str, ...] = ()
    empty: bool = True
    mark: Mapping[str, object] | None = None
    trusted: frozenset[str] = frozenset()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ParquetTable:
        """Read the footer. InvalidInput when it is no Parquet file or its footer contradicts itself."""
        path = Path(path)
        stamp = stamp_of(path)
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(max(0, stamp[0] - 4))
            tail = file.read(4)
        if head == b"PARE" or tail == b"PARE":
            raise _refused(path, "is encrypted", "write it without encryption")
        if head != b"PAR1" or tail != b"PAR1" or stamp[0] < 12:
            raise _refused(path, "is not a whole Parquet file", "give it its own ending, or write it again")
        with duckdb.connect(":memory:") as connection, _lie(path), _linked(path) as linked:
            connection.execute("SET autoinstall_known_extensions=false")
            told = connection.execute(
                f"SELECT num_rows FROM parquet_file_metadata({literal(linked)})"
            ).fetchone()
            groups = connection.execute(
                f"SELECT coalesce(sum(n), 0) FROM (SELECT DISTINCT row_group_id, row_group_num_rows AS n "
                f"FROM parquet_metadata({literal(linked)}))"
            ).fetchone()
            assert told is not None
            assert groups is not None
            if not 0 <= told[0] <= MAX_ROWS:
                raise _refused(path, f"claims {told[0]:,} rows", f"give at most {MAX_ROWS:,} rows")
            if told[0] != groups[0]:
                raise _refused(
                    path, f"claims {told[0]:,} rows and has {groups[0]:,} in its parts", "write it again"
                )
            fields = connection.execute(
                f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {_read(linked)}"
            ).fetchall()
            raw = connection.execute(
                f"SELECT name FROM parquet_schema({literal(linked)}) WHERE num_children IS NULL"
            ).fetchall()
            marks = connection.execute(
                f"SELECT value FROM parquet_kv_metadata({literal(linked)}) WHERE key = {literal(MARK)}::BLOB"
            ).fetchone()
        types = tuple(str(field[1]) for field in fields)
        flat = not any(kind.startswith(_NESTED) or kind.endswith("]") for kind in types)
        names = tuple(str(field[0]) for field in fields)
        # DuckDB renames the second of two equal names; the file's own names tell.
        names = check_names(
            path.name, [str(row[0]) for row in raw] if flat and len(raw) == len(names) else names
        )
        return cls(path, names, stamp, path, types, mark=_mark(marks[0] if marks else None))

    @property
    def converted(self) -> Mapping[str, object] | None:
        return self.mark

    def trusts(self, column: str) -> bool:
        return column in self.trusted

    def stored(self, index: int) -> str:
        kind = self.types[index]
        if kind.startswith(_NESTED) or kind.endswith("]"):
            raise InvalidInput(
                f"column {self.names[index]!r} of {self.name} holds {kind[:60]}, not one value a row",
                hint="write it as plain columns",
                file=self.name,
                column=self.names[index],
            )
        return kind

    @contextmanager
    def scan(self) -> Iterator[str]:
        with _linked(self.path) as path:
            columns = ", ".join(
                (f"nullif({_quoted(name)}, '')" if kind == "VARCHAR" and self.empty else _quoted(name))
                + f" AS c{i}"
                for i, (name, kind) in enumerate(zip(self.names, self.types, strict=True))
            )
            yield f"(SELECT {columns}, file_row_number AS place FROM {_read(path)})"

    def faults(self, uses: Sequence[ColumnUse]) -> Iterator[InvalidInput]:
        with duckdb.connect(":memory:") as connection, _lie(self.path), self.scan() as source:
            for_each = []
            for use in uses:
                text = use.sql_text()
                bad = use.sql_bad(text, use.sql_value(text))
                for_each.append(f"CASE WHEN {bad} THEN CAST({text} AS VARCHAR) END")
            if not for_each:
                return
            found = connection.execute(
                f"SELECT place, {', '.join(for_each)} FROM {source} "
                f"WHERE coalesce({', '.join(for_each)}) IS NOT NULL ORDER BY place"
            )
            while line := found.fetchone():
                use, cell = next(
                    (use, cell) for use, cell in zip(uses, line[1:], strict=True) if cell is not None
                )
                row = int(line[0]) + 1
                yield InvalidInput(
                    f"row {row} of {self.name}: {use.name} is {shown(cell)!r}, and {use.type} is "
                    f"{use.describe()}",
                    hint=way_out(use, cell),
                    file=self.name,
                    row=row,
                    column=use.name,
                    value=shown(cell),
                )

    def unreadable(self, why: str) -> InvalidInput:
        return _refused(self.path, f"cannot be read as Parquet: {why}", "write it again")


def _read(path: str) -> str:
    return f"read_parquet({literal(path)}, binary_as_string=true, file_row_number=true)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _mark(value: bytes | None) -> Mapping[str, object] | None:
    """What the client wrote, when it is what a client writes: anyone can put anything into a footer."""
    if value is None or len(value) > 10_000:
        return None
    try:
        document = json.loads(value)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


@contextmanager
def _linked(path: Path) -> Iterator[str]:
    """The path as DuckDB takes it: one with a pattern's letters gets another name meanwhile."""
    whole = str(path.absolute())
    if not any(letter in whole for letter in "*?[]{}"):
        yield whole
        return
    with tempfile.TemporaryDirectory(prefix="prixfixe-") as folder:
        link = Path(folder) / "table.parquet"
        link.symlink_to(path.absolute())
        yield str(link)


@contextmanager
def _lie(path: Path) -> Iterator[None]:
    try:
        with disk_errors():
            yield
    except duckdb.Error as error:
        first = str(error).splitlines()[0].replace(str(path.absolute()), path.name)
        raise _refused(path, f"cannot be read as Parquet: {first[:200]}", "write it again") from error


def _refused(path: Path, what: str, hint: str) -> InvalidInput:
    return InvalidInput(f"{path.name} {what}", hint=hint, file=path.name)
