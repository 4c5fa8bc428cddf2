"""Preflight: what a table holds, checked and counted before any money moves.

`survey` is the one scan that both the customer's machine and the image make: it counts rows, reads every used
cell as its declared type, and takes the totals that the finished pivot is checked against. `preflight` is the
survey on the customer's machine, with the question of whether the result could fit a sheet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnUse
from prixfixe.tables.reader import CsvTable, Dialect, Engine
from prixfixe.tables.request import PivotRequest

SHEET_ROWS = 1_048_576
SHEET_COLUMNS = 16_384
MAX_CELLS = 10_000_000
"""Cells of one result: about a minute and a half of writing a workbook, and 300 MB of it."""


@dataclass(frozen=True)
class Total:
    """What one value column holds over the whole table: cells with a value, without one, and their exact
    sum."""

    column: str
    count: int
    blank: int
    sum: Decimal | None
    decimals: int


@dataclass(frozen=True)
class Survey:
    """The whole table in totals. `row_keys` and `column_keys` are estimates, good to a few percent."""

    rows: int
    totals: tuple[Total, ...]
    key_decimals: Mapping[str, int]
    row_keys: int
    column_keys: int


@dataclass(frozen=True)
class Preflight:
    """What the customer is told before the price: `rows` is what the price is reckoned by."""

    rows: int
    columns: tuple[str, ...]
    bytes: int
    parameters: Mapping[str, Any]
    row_keys: int
    column_keys: int

    @property
    def units(self) -> int:
        """The unit of the tiers."""
        return self.rows


def key_uses(table: CsvTable, request: PivotRequest) -> tuple[ColumnUse, ...]:
    """How each field of rows, then columns, is read. A text key is taken as it stands: `NA` may be
    Namibia."""
    uses = []
    for name in (*request.rows, *request.columns):
        kind = request.key_type(name)
        blanks = () if kind.kind == "text" else request.null_values
        uses.append(ColumnUse(table.index(name), name, kind, blanks))
    return tuple(uses)


def value_uses(table: CsvTable, request: PivotRequest) -> tuple[ColumnUse, ...]:
    """How each value column is read."""
    return tuple(
        ColumnUse(table.index(v.column), v.column, v.type, request.null_values) for v in request.values
    )


def survey(connection: duckdb.DuckDBPyConnection, table: CsvTable, request: PivotRequest) -> Survey:
    """Read the table once. InvalidInput for the first record or cell that breaks a rule, and for a table of
    no rows."""
    keys, values = key_uses(table, request), value_uses(table, request)
    uses, side = (*keys, *values), len(request.rows)
    wanted = {
        "rows": "count(*)",
        "bad": " + ".join(f"count(*) FILTER (bad_{i})" for i in range(len(uses))),
        "row_keys": _distinct(range(side)),
        "column_keys": _distinct(range(side, len(keys))),
    }
    for i, use in enumerate(uses):
        wanted[f"count_{i}"] = f"count(text_{i})"
        if use.type.kind == "decimal":
            wanted[f"decimals_{i}"] = f"max({use.sql_decimals(f'text_{i}')})"
    for i, value in enumerate(request.values, start=len(keys)):
        if value.summed:
            wanted[f"sum_{i}"] = f"sum(value_{i})"
    with table.explained(uses), table.scan() as source:
        sql = f"SELECT {', '.join(wanted.values())} FROM ({_checked(uses, source)})"
        answer = connection.execute(sql).fetchone()
    assert answer is not None
    found: dict[str, Any] = dict(zip(wanted, answer, strict=True))
    if found["rows"] == 0:
        raise InvalidInput(
            f"{table.path.name} has a header and no rows",
            hint="give a table with at least one row",
            file=table.path.name,
        )
    if found["bad"]:
        fault = table.fault(uses)
        raise fault or InvalidInput(
            f"{found['bad']:,} cells of {table.path.name} cannot be read as their column's type",
            hint="write each cell without spaces around its quotes",
            file=table.path.name,
        )

    def decimals(i: int) -> int:
        return (found[f"decimals_{i}"] or 0) if uses[i].type.open_scale else uses[i].type.scale

    totals = tuple(
        Total(
            column=value.column,
            count=found[f"count_{i}"],
            blank=found["rows"] - found[f"count_{i}"],
            sum=(found[f"sum_{i}"] or Decimal(0)) if value.summed else None,
            decimals=decimals(i),
        )
        for i, value in enumerate(request.values, start=len(keys))
    )
    key_decimals = {use.name: decimals(i) for i, use in enumerate(keys) if use.type.kind == "decimal"}
    return Survey(found["rows"], totals, key_decimals, found["row_keys"], found["column_keys"])


def _checked(uses: Sequence[ColumnUse], source: str) -> str:
    """SQL of the used cells as text_i, value_i and bad_i, each reckoned once a row."""
    texts = ", ".join(f"{use.sql_text()} AS text_{i}" for i, use in enumerate(uses))
    values = ", ".join(f"{use.sql_value(f'text_{i}')} AS value_{i}" for i, use in enumerate(uses))
    bads = ", ".join(f"{use.sql_bad(f'text_{i}', f'value_{i}')} AS bad_{i}" for i, use in enumerate(uses))
    return f"SELECT *, {bads} FROM (SELECT *, {values} FROM (SELECT {texts} FROM {source}))"


def _distinct(positions: Sequence[int]) -> str:
    if not positions:
        return "1"
    values = ", ".join(f"value_{i}" for i in positions)
    return f"approx_count_distinct({values if len(positions) == 1 else f'row({values})'})"


def preflight(
    path: str | os.PathLike[str], parameters: Mapping[str, Any], *, engine: Engine | None = None
) -> Preflight:
    """Check and count a CSV file for a pivot with these parameters.

    Raises InvalidInput (file, row, column, value, way out) for what the image would refuse too, and
    BadParameters for a request that no table could meet. The number of rows and columns of the result is an
    estimate here: a result that is surely too large is refused, a close one is left to the exact check in
    the image."""
    request = PivotRequest.from_parameters(parameters)
    table = CsvTable.open(path, Dialect(request.delimiter, request.quote))
    with (engine or Engine()).connect() as connection:
        found = survey(connection, table, request)
    # The estimate is within a few percent; a quarter is beyond any doubt.
    check_shape(request, found.row_keys * 4 // 5, found.column_keys * 4 // 5, table.path.name)
    return Preflight(
        rows=found.rows,
        columns=table.names,
        bytes=table.size,
        parameters=dict(parameters),
        row_keys=found.row_keys,
        column_keys=found.column_keys,
    )


def check_shape(request: PivotRequest, row_keys: int, column_keys: int, file: str) -> None:
    """Refuse a result that no sheet can hold: it is never cut."""
    width = len(request.rows) + column_keys * len(request.measures)
    height = row_keys + len(request.columns) + 1
    if width > SHEET_COLUMNS:
        raise InvalidInput(
            f"the result would have {width:,} columns, and a sheet holds {SHEET_COLUMNS:,}",
            hint=f"move {', '.join(request.columns)} to rows, or group by fewer distinct values",
            file=file,
            column=request.columns[0] if request.columns else None,
        )
    if height > SHEET_ROWS:
        raise InvalidInput(
            f"the result would have {height:,} rows, and a sheet holds {SHEET_ROWS:,}",
            hint="group by fields with fewer distinct values",
            file=file,
            column=request.rows[0],
        )
    if width * height > MAX_CELLS:
        raise InvalidInput(
            f"the result would have {width * height:,} cells, and the limit is {MAX_CELLS:,}",
            hint="group by fields with fewer distinct values",
            file=file,
        )
