"""The pivot itself: one scan that groups, one ordered walk over the groups.

Sums are exact (DECIMAL, never DOUBLE), an average is the exact sum over the exact count, divided at the
very end. Order: text by its UTF-8 bytes, numbers and dates by value, false before true, blank keys last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb

from pivot import numbers
from prixfixe.tables.reader import CsvTable
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.survey import Survey, check_shape, key_uses, value_uses

Key = tuple[str | None, ...]
"""Values of the fields of rows or columns, as text; None is a blank cell."""

_BATCH = 2_000
"""Groups taken from DuckDB at a time."""


@dataclass(frozen=True)
class Measured:
    """One value column in one group: how many cells had a value, and their sum in units of its last
    decimal."""

    count: int
    sum: int | None


@dataclass(frozen=True)
class Group:
    """Where a row meets a column: how many rows of the table are in it, and what each value column
    measured."""

    rows: int
    values: tuple[Measured, ...]


@dataclass(frozen=True)
class PivotRow:
    """One line of the result. `groups` maps a position in `Pivot.column_keys` to what is there; the rest is
    empty."""

    key: Key
    groups: dict[int, Group]


class Pivot:
    """The grouped table, ready to be walked once. Make it with `Pivot.build`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        request: PivotRequest,
        survey: Survey,
        row_keys: int,
        column_keys: tuple[Key, ...],
    ) -> None:
        self._connection = connection
        self.request = request
        self.survey = survey
        self.row_keys = row_keys
        self.column_keys = column_keys

    @classmethod
    def build(
        cls, connection: duckdb.DuckDBPyConnection, table: CsvTable, request: PivotRequest, survey: Survey
    ) -> Pivot:
        """Group the table. InvalidInput when the result would not fit a sheet."""
        keys, values = key_uses(table, request), value_uses(table, request)
        side = len(request.rows)
        parts = [f"{use.sql_value(use.sql_text())} AS key_{i}" for i, use in enumerate(keys)]
        parts.append("count(*) AS rows")
        for i, (use, value) in enumerate(zip(values, request.values, strict=True)):
            parts.append(f"count({use.sql_text()}) AS count_{i}")
            if value.summed:
                parts.append(f"sum({use.sql_value(use.sql_text())}) AS sum_{i}")
        by = ", ".join(f"key_{i}" for i in range(len(keys)))
        with table.explained((*keys, *values)), table.scan() as source:
            connection.execute(
                f"CREATE TEMP TABLE groups AS SELECT {', '.join(parts)} FROM {source} GROUP BY {by}"
            )
        row_keys = _count_distinct(connection, range(side))
        width = _count_distinct(connection, range(side, len(keys)))
        check_shape(request, row_keys, width, table.path.name)
        pivot = cls(connection, request, survey, row_keys, ())
        pivot.column_keys = tuple(pivot._column_keys())
        return pivot

    def rows(self) -> Iterator[PivotRow]:
        """Every line of the result, in order. To be walked once."""
        side = len(self.request.rows)
        fields = (*self.request.rows, *self.request.columns)
        wanted = [*(self._key_text(i) for i in range(len(fields))), "rows"]
        for i, value in enumerate(self.request.values):
            wanted += [f"count_{i}", f"sum_{i}" if value.summed else "NULL"]
        order = ", ".join(f"key_{i} ASC NULLS LAST" for i in range(len(fields)))
        cursor = self._connection.execute(f"SELECT {', '.join(wanted)} FROM groups ORDER BY {order}")
        position = {key: i for i, key in enumerate(self.column_keys)}
        for key, lines in groupby(_fetch(cursor), key=lambda line: line[:side]):
            groups = {position[line[side : len(fields)]]: self._group(line[len(fields) :]) for line in lines}
            yield PivotRow(key, groups)

    def _group(self, line: tuple[Any, ...]) -> Group:
        measured = []
        for i, total in enumerate(self.survey.totals):
            count, amount = line[1 + 2 * i], line[2 + 2 * i]
            measured.append(
                Measured(count, None if amount is None else numbers.scaled(amount, total.decimals))
            )
        return Group(line[0], tuple(measured))

    def _column_keys(self) -> Iterator[Key]:
        first, last = len(self.request.rows), len(self.request.rows) + len(self.request.columns)
        if first == last:
            yield ()
            return
        names = ", ".join(f"key_{i}" for i in range(first, last))
        texts = ", ".join(self._key_text(i) for i in range(first, last))
        order = ", ".join(f"key_{i} ASC NULLS LAST" for i in range(first, last))
        yield from _fetch(
            self._connection.execute(
                f"SELECT {texts} FROM (SELECT DISTINCT {names} FROM groups) ORDER BY {order}"
            )
        )

    def _key_text(self, position: int) -> str:
        """SQL of a key as it is written: numbers without needless zeros in front, with the column's
        decimals."""
        name = (*self.request.rows, *self.request.columns)[position]
        kind = self.request.key_type(name)
        if kind.kind == "decimal":
            return f"CAST(CAST(key_{position} AS DECIMAL(38,{self.survey.key_decimals[name]})) AS VARCHAR)"
        return f"CAST(key_{position} AS VARCHAR)"


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(_BATCH):
        yield from batch


def _count_distinct(connection: duckdb.DuckDBPyConnection, positions: range) -> int:
    if not positions:
        return 1
    names = ", ".join(f"key_{i}" for i in positions)
    answer = connection.execute(f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM groups)").fetchone()
    assert answer is not None
    return int(answer[0])
