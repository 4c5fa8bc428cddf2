"""A table made smaller before it travels: only the columns that are used, typed, as Parquet.

The result of a run is the same to the last byte, whether it reads the original or this. Rows keep their
order; a table of more than some hundred MB may be cut into other row groups each time. Named columns can be
replaced by pseudonyms on the way: HMAC-SHA256 of the text under a key that never leaves the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnType, ColumnUse, literal
from prixfixe.tables.narrow import guessed, measured
from prixfixe.tables.original import Original, read_beside
from prixfixe.tables.parquet import MARK, ParquetTable
from prixfixe.tables.progress import Report, Steps, unheard, watched
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.source import BadParameters, kind_by_name, open_table
from prixfixe.tables.survey import Preflight, all_uses, checked, preflight_of
from prixfixe.tables.table import Table, disk_errors, is_ours

WORTH_BYTES = 1 << 20
"""A file below this is sent as it is: converting it saves nobody anything."""

PSEUDONYM_DIGITS = 32
"""Hex digits of a pseudonym: 128 bits, so that two values never meet."""

_PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2"
_UNKNOWN = "?" * 64
"""Stands in the footer for the original's digest until that is known."""


@dataclass(frozen=True)
class Conversion:
    """What became of a file: its digest and size before, its size after, which columns travel, and what a
    preflight of it says."""

    sha256: str
    bytes_before: int
    bytes_after: int
    columns: tuple[str, ...]
    columns_before: int
    pseudonymised: tuple[str, ...]
    found: Preflight


def is_worth_converting(path: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a table is made smaller before it travels, when nobody asks for anything else."""
    large = path.stat().st_size >= WORTH_BYTES and path.suffix.lower() != ".parquet"
    return large and not parameters.get("tolerate")


def convert(
    path: Path,
    request: PivotRequest,
    target: Path,
    *,
    engine: Engine,
    pseudonymise: Collection[str] = (),
    key: bytes = b"",
    mapping: Path | None = None,
    undeclared: bool = False,
    report: Report = unheard,
) -> Conversion:
    """Write `target` with the columns that `request` uses. InvalidInput for what a preflight would refuse.

    pseudonymise: text columns to replace, with `key` (32 bytes or more). mapping: a CSV of pseudonyms and
    what they stand for, readable by its owner only; it is never uploaded. undeclared: nobody said which
    encoding a CSV is in, and NotUtf8 is wanted for one that is not UTF-8, wherever in it. report: told the
    share of the table that is read, when that takes a while.
    """
    kinds = _kinds(request)
    _check_pseudonyms(request, kinds, pseudonymise, key)
    if request.tolerate:
        raise BadParameters("tolerate", "rows that cannot be read are listed by the original's rows: send it")
    steps = Steps(report)
    opened = open_table(
        path, request.source, wanted=request.used_columns, spill=engine.spill, report=steps.opening
    )
    first = target.with_suffix(".part")
    text = undeclared and kind_by_name(path) == "csv" and request.source.encoding == "utf-8"
    with (
        opened as table,
        engine.connect(ordered=True) as connection,
        read_beside(table.origin, text=text, alarm=connection.interrupt) as original,
    ):
        names = tuple(sorted(kinds, key=table.index))
        try:
            with watched(connection, steps.reading(table)):
                sure = _typed_copy(connection, table, request, names, kinds, first, original)
            original.require_text()
            found = _preflight(connection, table, request, first, sure)
            if pseudonymise:
                _pseudonymised_copy(connection, table, first, names, target, pseudonymise, key)
                if mapping is not None:
                    _write_mapping(connection, first, names, pseudonymise, mapping)
            else:
                first.replace(target)
        except duckdb.InterruptException:
            original.require_text()  # whichever step its alarm met
            raise
        finally:
            first.unlink(missing_ok=True)
        table.require_unchanged()
        sha256 = original.sha256()
        _fill_in(target, sha256)
        return Conversion(
            sha256,
            table.size,
            target.stat().st_size,
            names,
            len(table.names),
            tuple(sorted(pseudonymise)),
            found,
        )


def _kinds(request: PivotRequest) -> dict[str, ColumnType | None]:
    """The type that each used column is stored as; None for its text, when it is read in two ways."""
    kinds: dict[str, ColumnType | None] = {}
    pairs = [(request.column_of(f), request.column_type(f)) for f in (*request.rows, *request.columns)]
    pairs += [(v.column, v.type) for v in request.values] + [(f.column, f.type) for f in request.filters]
    for column, kind in pairs:
        kinds[column] = kind if kinds.get(column, kind) == kind else None
    for value in request.values:
        # A text key is taken as it stands, a counted text is blank when it is a null value.
        if value.type.kind == "text" and request.null_values:
            kinds[value.column] = None
    return kinds


def _check_pseudonyms(
    request: PivotRequest,
    kinds: dict[str, ColumnType | None],
    pseudonymise: Collection[str],
    key: bytes,
) -> None:
    if pseudonymise and len(key) < 32:
        raise ValueError("a key for pseudonyms has 32 bytes or more")
    for column in pseudonymise:
        if column not in kinds:
            raise BadParameters("pseudonymise", f"{column!r} is not used, so it is not sent at all")
        kind = kinds[column]
        if kind is None or kind.kind != "text":
            raise BadParameters(
                "pseudonymise", f"{column!r} is read as {kind or 'several types'}, not as text"
            )
        if any(f.column == column for f in request.filters):
            raise BadParameters("pseudonymise", f"{column!r} is filtered by what it says: filter it before")


def _typed_copy(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    names: Sequence[str],
    kinds: dict[str, ColumnType | None],
    target: Path,
    original: Original,
) -> frozenset[str]:
    """Every used cell checked and stored, by one scan of the original when all goes well; the names of the
    columns whose texts are surely sound."""
    uses = tuple(dict.fromkeys(all_uses(table, request)))
    # Which rows a filter lets through is for the image to say: all of them travel.
    request = replace(request, filters=())
    try:
        with disk_errors():
            guesses = guessed(connection, table, uses)
            try:
                _checked_copy(connection, table, request, names, kinds, guesses, target)
            except duckdb.ConversionException:
                # A text that neither the first rows nor the sample showed, where few were taken for all.
                if not any(use.few for use in guesses):
                    raise
                guesses = tuple(replace(use, few=()) for use in guesses)
                _checked_copy(connection, table, request, names, kinds, guesses, target)
    except duckdb.Error as error:
        original.require_text()
        if is_ours(error):
            raise
        # Some cell is wrong or does not fit the guess. Looking at all of them tells which, and the types.
        uses = measured(connection, table, request, uses)
        with table.explained(uses):
            _checked_copy(connection, table, request, names, kinds, uses, target)
        return frozenset()
    # What is written as one of a few texts is one of them.
    return frozenset(use.name for use in guesses if use.few and kinds[use.name] is not None)


def _checked_copy(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    names: Sequence[str],
    kinds: dict[str, ColumnType | None],
    uses: Sequence[ColumnUse],
    target: Path,
) -> None:
    """One scan of the original. duckdb.Error when a cell cannot be read as its use says."""
    where = {use.name: i for i, use in reversed(list(enumerate(uses)))}
    parts, raw = [], []
    for position, name in enumerate(names):
        i = where[name]
        part = uses[i].sql_stored(f"value_{i}")
        if kinds[name] is None:
            raw.append(f"CAST(c{uses[i].index} AS VARCHAR) AS raw_{i}")
            part = f"raw_{i}"
        if position == 0:
            part = f"CASE WHEN rejected THEN error('a cell cannot be read') ELSE {part} END"
        parts.append(f"{part} AS {_quoted(name)}")
    with table.scan() as source:
        _copy(connection, table, f"{', '.join(parts)} FROM ({checked(uses, request, source, raw)})", target)


def _copy(connection: duckdb.DuckDBPyConnection, table: Table, selected: str, target: Path) -> None:
    mark = json.dumps({"from_sha256": _UNKNOWN, "from_bytes": table.size}, sort_keys=True)
    connection.execute(
        f"COPY (SELECT {selected}) TO {literal(str(target))} "
        f"({_PARQUET}, KV_METADATA {{{MARK}: {literal(mark)}}})"
    )


def _preflight(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    first: Path,
    sure: frozenset[str],
) -> Preflight:
    """What a preflight of the original says, reckoned from what was taken of it. It looks through the texts
    that are not `sure`, too: most columns have few different ones, and in Parquet each is looked at once."""
    opened = ParquetTable.open(first)
    made = replace(opened, origin=table.origin, stamp=table.stamp, empty=False, trusted=sure)
    try:
        return preflight_of(connection, made, request, written=True)
    except InvalidInput:
        measured(connection, table, request, all_uses(table, request))  # says where in the original
        raise


def _pseudonymised_copy(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    first: Path,
    names: Sequence[str],
    target: Path,
    pseudonymise: Collection[str],
    key: bytes,
) -> None:
    cells = [f"{_pseudonym(_quoted(n))} AS {_quoted(n)}" if n in pseudonymise else _quoted(n) for n in names]
    _set_key(connection, key)
    with disk_errors():
        _copy(connection, table, f"{', '.join(cells)} FROM read_parquet({literal(str(first))})", target)


def _set_key(connection: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """The key as HMAC's two pads, in variables of the connection: never in the text of a query that an error
    could repeat."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    for name, pad in (("prixfixe_inner", 0x36), ("prixfixe_outer", 0x5C)):
        connection.execute(f"SET VARIABLE {name} = $1", [bytes(byte ^ pad for byte in block)])


def _pseudonym(cell: str) -> str:
    """SQL of HMAC-SHA256 (RFC 2104) of a text, NULL for a blank one."""
    inner = f"unhex(sha256(getvariable('prixfixe_inner') || encode({cell})))"
    return f"left(sha256(getvariable('prixfixe_outer') || {inner}), {PSEUDONYM_DIGITS})"


def _write_mapping(
    connection: duckdb.DuckDBPyConnection,
    first: Path,
    names: tuple[str, ...],
    pseudonymise: Collection[str],
    target: Path,
) -> None:
    parts = [
        f"SELECT DISTINCT {literal(name)} AS column_name, {_pseudonym(cell)} AS pseudonym, {cell} AS value "
        f"FROM read_parquet({literal(str(first))}) WHERE {cell} IS NOT NULL"
        for name, cell in ((name, _quoted(name)) for name in names if name in pseudonymise)
    ]
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with disk_errors():
        connection.execute(
            f"COPY (SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY ALL) TO {literal(str(target))} "
            "(FORMAT csv, HEADER, USE_TMP_FILE false)"
        )


def _fill_in(target: Path, sha256: str) -> None:
    """Write the original's digest where the footer has a place for it: the footer is written when it is not
    known yet, and waiting for it would take as long as reading does."""
    with target.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        start = file.seek(-8 - length, os.SEEK_END)
        footer = file.read(length)
        place = footer.rindex(_UNKNOWN.encode())
        file.seek(start + place)
        file.write(sha256.encode())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def require_room(target: Path) -> None:
    """InvalidInput when a mapping would replace a file."""
    if target.exists():
        raise InvalidInput(f"{target} exists already", hint="move it away, or name another result with --out")
