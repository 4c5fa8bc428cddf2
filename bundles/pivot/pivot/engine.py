"""The pivot itself: one scan that groups, one ordered walk over the groups.

Sums are exact (DECIMAL, never DOUBLE), an average is the exact sum over the exact count, divided at the
very end. Order: text by its UTF-8 bytes, numbers and dates by value, false before true, blank keys last.
Totals are grouped from the table too, not added up from cells: so distinct counts are right in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import duckdb

from pivot import numbers
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.shape import check_shape
from prixfixe.tables.survey import Survey, all_uses, checked, key_sql
from prixfixe.tables.table import Table

Key = tuple[str | None, ...]
"""Values of the fields of rows or columns, as text; None is a blank cell."""

Line = Literal["row", "others", "subtotal", "total"]

_BATCH = 2_000
"""Groups taken from DuckDB at a time."""


@dataclass(frozen=True)
class Measured:
    """One value column in one group: cells with a value, their sum in units of its last decimal, distinct
    values, smallest and largest (in such units, or a date as text)."""

    count: int
    sum: int | None
    distinct: int = 0
    min: int | str | None = None
    max: int | str | None = None


@dataclass(frozen=True)
class Group:
    """Where a row meets a column: how many rows of the table are in it, and what each value column
    measured."""

    rows: int
    values: tuple[Measured, ...]


@dataclass(frozen=True)
class PivotRow:
    """One line of the result. `groups` maps a position in `Pivot.column_keys` to what is there, and the
    position after the last to the line's total; the rest is empty. `depth`: parts of the key that a subtotal
    is for."""

    key: Key
    groups: dict[int, Group]
    line: Line = "row"
    depth: int = 0


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

    @property
    def total_column(self) -> bool:
        """Whether there is a total at the end of each line."""
        return "columns" in self.request.totals and bool(self.request.columns)

    @property
    def width(self) -> int:
        """Column keys, the total among them."""
        return len(self.column_keys) + self.total_column

    @classmethod
    def build(
        cls, connection: duckdb.DuckDBPyConnection, table: Table, request: PivotRequest, survey: Survey
    ) -> Pivot:
        """Group the table. InvalidInput when the result would not fit a sheet."""
        uses = all_uses(table, request)
        fields = (*request.rows, *request.columns)
        side, first = len(request.rows), len(fields)
        inner = [f"{sql} AS key_{i}" for i, sql in enumerate(key_sql(request))]
        inner += [f"text_{i}, value_{i}" for i in range(first, first + len(request.values))]
        parts = [f"key_{i}" for i in range(first)] + [f"GROUPING(key_{i}) AS over_{i}" for i in range(first)]
        parts.append("count(*) AS rows")
        for i, value in enumerate(request.values):
            cell, text = f"value_{first + i}", f"text_{first + i}"
            parts.append(f"count({text}) AS count_{i}")
            parts.append(f"{f'sum({cell})' if value.summed else 'NULL'} AS sum_{i}")
            distinct = "distinct" in value.aggregates
            parts.append(f"{f'count(DISTINCT {cell})' if distinct else '0'} AS distinct_{i}")
            for name in ("min", "max"):
                parts.append(f"{f'{name}({cell})' if value.ranged else 'NULL'} AS {name}_{i}")
        where = " WHERE kept" if request.selective else ""
        sets = ", ".join(f"({', '.join(f'key_{i}' for i in level)})" for level in _levels(request))
        with table.explained(uses), table.scan() as source:
            connection.execute(
                f"CREATE TEMP TABLE groups AS SELECT {', '.join(parts)} FROM "
                f"(SELECT {', '.join(inner)} FROM ({checked(uses, request, source)}){where}) "
                f"GROUP BY GROUPING SETS ({sets})"
            )
        row_keys = _count_distinct(connection, range(side), first)
        width = _count_distinct(connection, range(side, first), first)
        check_shape(request, row_keys, width, table.name)
        pivot = cls(connection, request, survey, row_keys, ())
        pivot.column_keys = tuple(pivot._column_keys())
        pivot._arrange()
        return pivot

    def _arrange(self) -> None:
        """Make the view `lines`: groups with the rank of their row, those beyond the top in one."""
        request = self.request
        side, fields = len(request.rows), len(request.rows) + len(request.columns)
        if request.sort is None:
            self._connection.execute("CREATE TEMP VIEW lines AS SELECT *, 0 AS rank, 0 AS others FROM groups")
            return
        by = [value.column for value in request.values].index(request.sort.column)
        keys = ", ".join(f"key_{i}" for i in range(side))
        order = ", ".join(f"key_{i} ASC NULLS LAST" for i in range(side))
        way = "DESC" if request.sort.descending else "ASC"
        whole = " AND ".join([*(f"over_{i} = 0" for i in range(side)), *self._over_columns()])
        self._connection.execute(
            f"CREATE TEMP TABLE ranks AS SELECT {keys}, row_number() OVER "
            f"(ORDER BY {request.sort.aggregate}_{by} {way} NULLS LAST, {order}) AS rank "
            f"FROM groups WHERE {whole}"
        )
        same = " AND ".join(f"groups.key_{i} IS NOT DISTINCT FROM ranks.key_{i}" for i in range(side))
        ranked = (
            f"SELECT groups.*, coalesce(ranks.rank, 0) AS rank, 0 AS others FROM groups "
            f"LEFT JOIN ranks ON over_0 = 0 AND {same}"
        )
        if not request.top:
            self._connection.execute(f"CREATE TEMP TABLE lines AS {ranked}")
            return
        across = [f"key_{i}" for i in range(side, fields)] + [f"over_{i}" for i in range(side, fields)]
        parts = [f"NULL AS key_{i}" for i in range(side)] + [f"key_{i}" for i in range(side, fields)]
        parts += [f"0 AS over_{i}" for i in range(side)] + [f"over_{i}" for i in range(side, fields)]
        parts.append("sum(rows) AS rows")
        for i in range(len(request.values)):
            parts += [f"sum(count_{i}) AS count_{i}", f"sum(sum_{i}) AS sum_{i}", f"0 AS distinct_{i}"]
            parts += [f"min(min_{i}) AS min_{i}", f"max(max_{i}) AS max_{i}"]
        parts += [f"{request.top + 1} AS rank", "1 AS others"]
        group = f"GROUP BY {', '.join(across)}" if across else "HAVING count(*) > 0"
        self._connection.execute(
            f"CREATE TEMP TABLE lines AS WITH ranked AS ({ranked}) "
            f"SELECT * FROM ranked WHERE rank <= {request.top} UNION ALL "
            f"SELECT {', '.join(parts)} FROM ranked WHERE rank > {request.top} {group}"
        )

    def _over_columns(self) -> list[str]:
        first, last = len(self.request.rows), len(self.request.rows) + len(self.request.columns)
        return [f"over_{i} = 1" for i in range(first, last)]

    def rows(self) -> Iterator[PivotRow]:
        """Every line of the result, in order. To be walked once."""
        request = self.request
        side = len(request.rows)
        fields = (*request.rows, *request.columns)
        wanted = ["others", *(f"over_{i}" for i in range(side))]
        wanted += [self._key_text(i) for i in range(len(fields))]
        wanted += [f"over_{len(fields) - 1}" if request.columns else "0", "rows"]
        for i, value in enumerate(request.values):
            wanted += [f"count_{i}", f"sum_{i}", f"distinct_{i}"]
            dated = value.type.kind == "date"
            wanted += [f"CAST({name}_{i} AS VARCHAR)" if dated else f"{name}_{i}" for name in ("min", "max")]
        order = ["over_0", "others", "rank"]
        for i in range(len(fields)):
            order += [f"over_{i}", f"key_{i} ASC NULLS LAST"]
        shown = "" if self.total_column or not request.columns else f" WHERE over_{len(fields) - 1} = 0"
        cursor = self._connection.execute(
            f"SELECT {', '.join(wanted)} FROM lines{shown} ORDER BY {', '.join(order)}"
        )
        position = {key: i for i, key in enumerate(self.column_keys)}
        last = 1 + side + len(fields)
        for head, lines in groupby(_fetch(cursor), key=lambda line: line[: 1 + 2 * side]):
            groups = {
                len(self.column_keys)
                if line[last] and request.columns
                else position[line[1 + 2 * side : last]]: self._group(line[last + 1 :])
                for line in lines
            }
            depth = side - sum(head[1 : 1 + side])
            kind: Line = "others" if head[0] else "row" if depth == side else "subtotal" if depth else "total"
            yield PivotRow(head[1 + side :], groups, kind, depth)

    def _group(self, line: Sequence[Any]) -> Group:
        measured = []
        for i, total in enumerate(self.survey.totals):
            count, amount, distinct, least, most = line[1 + 5 * i : 6 + 5 * i]
            units = [
                value if value is None or isinstance(value, str) else numbers.scaled(value, total.decimals)
                for value in (amount, least, most)
            ]
            assert not isinstance(units[0], str)
            measured.append(Measured(int(count), units[0], distinct, units[1], units[2]))
        return Group(int(line[0]), tuple(measured))

    def _column_keys(self) -> Iterator[Key]:
        first, last = len(self.request.rows), len(self.request.rows) + len(self.request.columns)
        if first == last:
            yield ()
            return
        names = ", ".join(f"key_{i}" for i in range(first, last))
        texts = ", ".join(self._key_text(i) for i in range(first, last))
        order = ", ".join(f"key_{i} ASC NULLS LAST" for i in range(first, last))
        plain = " AND ".join(f"over_{i} = 0" for i in range(last))
        yield from _fetch(
            self._connection.execute(
                f"SELECT {texts} FROM (SELECT DISTINCT {names} FROM groups WHERE {plain}) ORDER BY {order}"
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


def _levels(request: PivotRequest) -> list[tuple[int, ...]]:
    """The sets of keys to group by: the cells, then what the totals asked for need."""
    side, fields = len(request.rows), len(request.rows) + len(request.columns)
    across = tuple(range(side, fields))
    ends = "columns" in request.totals and across
    levels = [tuple(range(fields))]
    if across and (ends or request.sort is not None):
        levels.append(tuple(range(side)))
    if "rows" in request.totals:
        levels += [across, ()] if ends else [across]
    if "subtotals" in request.totals:
        for depth in range(1, side):
            levels.append((*range(depth), *across))
            if ends:
                levels.append(tuple(range(depth)))
    return list(dict.fromkeys(levels))


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(_BATCH):
        yield from batch


def _count_distinct(connection: duckdb.DuckDBPyConnection, positions: range, fields: int) -> int:
    if not positions:
        return 1
    names = ", ".join(f"key_{i}" for i in positions)
    plain = " AND ".join(f"over_{i} = 0" for i in range(fields))
    answer = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM groups WHERE {plain})"
    ).fetchone()
    assert answer is not None
    return int(answer[0])
