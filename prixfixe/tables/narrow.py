"""The narrowest exact type of a number: what makes reading, writing and adding a column several times faster.

A number that was declared by nobody may have 28 digits, and DuckDB keeps more than 18 in 128 bits. Nearly
every column fits in 64: which decimals it takes is guessed from its first rows, every cell is held against
the guess, and only when one does not fit the whole column is measured. So the type never depends on luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from prixfixe.tables.columns import ColumnType, ColumnUse
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.survey import checked
from prixfixe.tables.table import Table

FAST_DIGITS = 18
"""Digits of a DECIMAL that DuckDB keeps in 64 bits."""

FIRST_ROWS = 20_000
"""Rows that types are guessed from."""

FEW_TEXTS = 12
"""Texts of a column that are still told apart faster than any text is written."""

FEW_LETTERS = 100
"""Letters of the longest of them."""


def guessed(
    connection: duckdb.DuckDBPyConnection, table: Table, uses: Sequence[ColumnUse]
) -> tuple[ColumnUse, ...]:
    """The uses with the narrow types and the few texts that the first rows fit, and texts trusted. Nothing is
    checked."""
    wanted = {}
    for i, use in enumerate(uses):
        if use.type.open_scale:
            wanted[i] = f"max({use.sql_decimals(f'text_{i}')})"
        elif use.type.kind == "text":
            wanted[i] = f"histogram(text_{i})"
    told: dict[int, Any] = {}
    if wanted:
        texts = ", ".join(f"{use.sql_text()} AS text_{i}" for i, use in enumerate(uses))
        with table.scan() as source:
            found = connection.execute(
                f"SELECT {', '.join(wanted.values())} FROM (SELECT {texts} FROM {source} LIMIT {FIRST_ROWS})"
            ).fetchone()
        assert found is not None
        told = dict(zip(wanted, found, strict=True))
    return _without_surprises(
        table,
        tuple(
            narrowed(use, int(told[i] or 0) if use.type.open_scale else use.type.scale, 0)
            if use.type.numeric
            else replace(use, trusted=True, few=_few(told.get(i) or {}))
            for i, use in enumerate(uses)
        ),
    )


def _few(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The texts, the most frequent first; none when they are too many or too odd."""
    odd = any(len(text) > FEW_LETTERS or "\0" in text for text in counts)
    if odd or len(counts) > FEW_TEXTS:
        return ()
    return tuple(sorted(counts, key=lambda text: (-counts[text], text)))


def _without_surprises(table: Table, uses: tuple[ColumnUse, ...]) -> tuple[ColumnUse, ...]:
    """The uses without those `few` texts which are not all of them, by a sample. A sample adds none: a piece
    of another column, read by mistake, must not travel."""
    known = {i: {"", *use.blanks, *use.few} for i, use in enumerate(uses) if use.few}
    surprised = set()
    for line in table.sample() if known else ():
        surprised |= {i for i, texts in known.items() if line[uses[i].index] not in texts}
    return tuple(replace(use, few=()) if i in surprised else use for i, use in enumerate(uses))


def measured(
    connection: duckdb.DuckDBPyConnection, table: Table, request: PivotRequest, uses: Sequence[ColumnUse]
) -> tuple[ColumnUse, ...]:
    """The uses with the narrowest types that every cell fits, by a scan of the whole table. InvalidInput for
    its first fault."""
    wanted = ["bool_or(rejected)"]
    for i, use in enumerate(uses):
        decimals = f"max({use.sql_decimals(f'text_{i}')})" if use.type.open_scale else str(use.type.scale)
        wanted += [decimals, f"max(abs(value_{i}))"] if use.type.numeric else ["0", "0"]
    with table.explained(uses), table.scan() as source:
        found = connection.execute(
            f"SELECT {', '.join(wanted)} FROM ({checked(uses, request, source)})"
        ).fetchone()
    assert found is not None
    if found[0]:
        raise table.fault(uses) or table.unreadable("a cell cannot be read")
    return tuple(
        narrowed(use, int(found[1 + 2 * i] or 0), len(str(int(found[2 + 2 * i] or 0))))
        if use.type.numeric
        else use
        for i, use in enumerate(uses)
    )


def narrowed(use: ColumnUse, decimals: int, whole: int) -> ColumnUse:
    """The use with a type of so many decimals and at least so many digits before the point, in 64 bits when
    they fit.

    Where no scale was declared the decimals are the ones that cells are written with: results show them."""
    if whole + decimals > FAST_DIGITS:
        if not use.type.open_scale:
            return use
        digits = FAST_DIGITS + decimals
    else:
        digits = FAST_DIGITS
    as_written = use.type.open_scale and decimals < use.type.scale
    return replace(use, type=ColumnType("decimal", digits, decimals, as_written=as_written))
