"""A table made smaller before it travels: only the columns that are used, typed, as Parquet.

The result of a run is the same to the last byte, whether it reads the original or this. Named columns can be
replaced by pseudonyms on the way: HMAC-SHA256 of the text under a key that never leaves the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnType, literal
from prixfixe.tables.parquet import MARK
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.source import BadParameters, open_table
from prixfixe.tables.survey import all_uses, checked
from prixfixe.tables.table import Table, disk_errors

WORTH_BYTES = 1 << 20
"""A file below this is sent as it is: converting it saves nobody anything."""

PSEUDONYM_DIGITS = 32
"""Hex digits of a pseudonym: 128 bits, so that two values never meet."""


@dataclass(frozen=True)
class Conversion:
    """What became of a file: its digest and size before, its size after, which columns travel."""

    sha256: str
    bytes_before: int
    bytes_after: int
    columns: tuple[str, ...]
    columns_before: int
    pseudonymised: tuple[str, ...]


def convert(
    path: Path,
    request: PivotRequest,
    target: Path,
    *,
    engine: Engine,
    pseudonymise: Collection[str] = (),
    key: bytes = b"",
    mapping: Path | None = None,
) -> Conversion:
    """Write `target` with the columns that `request` uses. InvalidInput for what a preflight would refuse.

    pseudonymise: text columns to replace, with `key` (32 bytes or more). mapping: a CSV of pseudonyms and
    what they stand for, readable by its owner only; it is never uploaded.
    """
    kinds = _kinds(request)
    _check_pseudonyms(request, kinds, pseudonymise, key)
    if request.tolerate:
        raise BadParameters("tolerate", "rows that cannot be read are listed by the original's rows: send it")
    opened = open_table(path, request.source, wanted=request.used_columns, spill=engine.spill)
    with opened as table, engine.connect() as connection:
        names = tuple(sorted(kinds, key=table.index))
        uses = all_uses(table, request)
        where = {use.name: i for i, use in reversed(list(enumerate(uses)))}
        digest = _digest(table)
        first = target.with_suffix(".part")
        try:
            _checked_copy(connection, table, request, names, kinds, where, first)
            _final_copy(connection, first, names, kinds, target, _mark(table, digest), pseudonymise, key)
            if pseudonymise and mapping is not None:
                _write_mapping(connection, first, names, pseudonymise, mapping)
        finally:
            first.unlink(missing_ok=True)
        table.require_unchanged()
        return Conversion(
            digest, table.size, target.stat().st_size, names, len(table.names), tuple(sorted(pseudonymise))
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


def _checked_copy(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    names: tuple[str, ...],
    kinds: dict[str, ColumnType | None],
    where: dict[str, int],
    target: Path,
) -> None:
    """One scan of the original: every used cell is checked and stored."""
    uses = all_uses(table, request)
    parts = []
    for position, name in enumerate(names):
        kind, i = kinds[name], where[name]
        part = f"raw_{i}" if kind is None else f"value_{i}"
        if position == 0:
            part = f"CASE WHEN rejected THEN error('a cell cannot be read') ELSE {part} END"
        sql = "VARCHAR" if kind is None else kind.sql_type
        parts.append(f"CAST({part} AS {sql}) AS c{position}")
        if kind is not None and kind.open_scale:
            parts.append(f"CAST({uses[i].sql_decimals(f'text_{i}')} AS TINYINT) AS d{position}")
    with table.explained(uses), table.scan() as source:
        raw = tuple(
            f"CAST(c{uses[where[n]].index} AS VARCHAR) AS raw_{where[n]}" for n in names if kinds[n] is None
        )
        connection.execute(
            f"COPY (SELECT {', '.join(parts)} FROM ({checked(uses, request, source, raw)})) "
            f"TO {literal(str(target))} (FORMAT parquet, COMPRESSION snappy)"
        )


def _final_copy(
    connection: duckdb.DuckDBPyConnection,
    first: Path,
    names: tuple[str, ...],
    kinds: dict[str, ColumnType | None],
    target: Path,
    mark: str,
    pseudonymise: Collection[str],
    key: bytes,
) -> None:
    source = f"read_parquet({literal(str(first))})"
    parts = []
    for i, name in enumerate(names):
        kind, cell = kinds[name], f"c{i}"
        if kind is not None and kind.open_scale:
            found = connection.execute(f"SELECT coalesce(max(d{i}), 0) FROM {source}").fetchone()
            assert found is not None
            places = int(found[0])
            cell = f"CAST(c{i} AS DECIMAL({18 + places},{places}))"
        if name in pseudonymise:
            cell = _pseudonym(cell)
        quoted = '"' + name.replace('"', '""') + '"'
        parts.append(f"{cell} AS {quoted}")
    if pseudonymise:
        _set_key(connection, key)
    with disk_errors():
        connection.execute(
            f"COPY (SELECT {', '.join(parts)} FROM {source}) TO {literal(str(target))} "
            f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{MARK}: {literal(mark)}}})"
        )


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
        f"SELECT DISTINCT {literal(name)} AS column_name, {_pseudonym(f'c{i}')} AS pseudonym, c{i} AS value "
        f"FROM read_parquet({literal(str(first))}) WHERE c{i} IS NOT NULL"
        for i, name in enumerate(names)
        if name in pseudonymise
    ]
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with disk_errors():
        connection.execute(
            f"COPY (SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY ALL) TO {literal(str(target))} "
            "(FORMAT csv, HEADER, USE_TMP_FILE false)"
        )


def _digest(table: Table) -> str:
    with table.origin.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark(table: Table, digest: str) -> str:
    return json.dumps({"from_sha256": digest, "from_bytes": table.size}, sort_keys=True)


def require_room(target: Path) -> None:
    """InvalidInput when a mapping would replace a file."""
    if target.exists():
        raise InvalidInput(f"{target} exists already", hint="move it away, or name another result with --out")
