"""Preflight: what a table holds, checked and counted before any money moves.

`survey` is the one scan that both the customer's machine and the image make: it counts rows, reads every used
cell as its declared type, and takes the totals that the finished pivot is checked against. `preflight` is the
survey on the customer's machine, with the question of whether the result could fit a sheet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any

import duckdb

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import MAX_SHEET_TEXT, ColumnType, ColumnUse
from prixfixe.tables.progress import Report, Steps, unheard, watched
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.shape import check_shape
from prixfixe.tables.source import open_table
from prixfixe.tables.table import Table


@dataclass(frozen=True)
class Measure:
    """Cells with a value, and their exact sum (None for a column that is not summed)."""

    count: int = 0
    sum: Decimal | None = None


@dataclass(frozen=True)
class Total:
    """What one value column holds: in the rows used (`count`, `blank`, `sum`), in the whole table, in the
    rows that a filter left out and in those that could not be read."""

    column: str
    count: int
    blank: int
    sum: Decimal | None
    decimals: int
    whole: Measure
    filtered: Measure
    rejected: Measure


@dataclass(frozen=True)
class Survey:
    """The whole table in totals: `rows` = `used` + `filtered` + `rejected`."""

    rows: int
    totals: tuple[Total, ...]
    key_decimals: Mapping[str, int]
    filtered: int = 0
    rejected: int = 0

    @property
    def used(self) -> int:
        return self.rows - self.filtered - self.rejected


@dataclass(frozen=True)
class Preflight:
    """What the customer is told before the price: `rows` is what the price is reckoned by. `row_keys` and
    `column_keys` are estimates, good to a few percent."""

    rows: int
    columns: tuple[str, ...]
    bytes: int
    row_keys: int
    column_keys: int
    filtered: int = 0
    rejected: int = 0
    empty_rows: int = 0

    @property
    def units(self) -> int:
        """The unit of the tiers."""
        return self.rows


_PARTS = {
    "year": "CAST(year({0}) AS INTEGER)",
    "quarter": "strftime({0}, '%Y') || '-Q' || quarter({0})",
    "month": "strftime({0}, '%Y-%m')",
    "quarter-number": "CAST(quarter({0}) AS INTEGER)",
    "month-number": "CAST(month({0}) AS INTEGER)",
    "weekday": "CAST(isodow({0}) AS INTEGER)",
}


def key_sql(request: PivotRequest) -> list[str]:
    """SQL of each key of rows, then columns, over `checked`: a column's value, or a part of its date."""
    return [
        _PARTS[part].format(f"value_{i}") if (part := request.part_of(field)) else f"value_{i}"
        for i, field in enumerate((*request.rows, *request.columns))
    ]


def use_of(
    table: Table, column: str, kind: ColumnType, request: PivotRequest, *, key: bool = False
) -> ColumnUse:
    """How a column is read. A text key is taken as it stands: `NA` may be Namibia."""
    index = table.index(column)
    blanks = () if key and kind.kind == "text" else request.null_values
    longest = MAX_SHEET_TEXT if key else 0
    notation, stored = request.source.notation, table.stored(index)
    return ColumnUse(index, column, kind, blanks, notation, stored, longest, table.trusts(column))


def key_uses(table: Table, request: PivotRequest) -> tuple[ColumnUse, ...]:
    """How each field of rows, then columns, is read."""
    return tuple(
        use_of(table, request.column_of(name), request.column_type(name), request, key=True)
        for name in (*request.rows, *request.columns)
    )


def value_uses(table: Table, request: PivotRequest) -> tuple[ColumnUse, ...]:
    """How each value column is read."""
    return tuple(use_of(table, v.column, v.type, request) for v in request.values)


def all_uses(table: Table, request: PivotRequest) -> tuple[ColumnUse, ...]:
    """Keys, values, then the columns of filters."""
    # A filter reads a text as it stands, but writes it nowhere.
    filters = (
        replace(use_of(table, f.column, f.type, request, key=True), longest=0) for f in request.filters
    )
    return (*key_uses(table, request), *value_uses(table, request), *filters)


def checked(
    uses: Sequence[ColumnUse], request: PivotRequest, source: str, further: Sequence[str] = ()
) -> str:
    """SQL of the used cells as text_i, value_i and bad_i, each reckoned once a row, with whether the row is
    `rejected` (a used cell cannot be read) and whether it is `kept` (else a filter leaves it out). `further`
    expressions over the source's own columns are carried along."""
    first = len(uses) - len(request.filters)
    passes = [f.sql(f"text_{i}", f"value_{i}") for i, f in enumerate(request.filters, start=first)]
    kept = " AND ".join(passes) or "true"
    texts = ", ".join([*(f"{use.sql_text()} AS text_{i}" for i, use in enumerate(uses)), *further])
    values = ", ".join(f"{use.sql_value(f'text_{i}')} AS value_{i}" for i, use in enumerate(uses))
    bads = [use.sql_bad(f"text_{i}", f"value_{i}") for i, use in enumerate(uses)]
    real = {i: f"coalesce({bad}, false)" for i, bad in enumerate(bads) if bad != "false"}
    unread = ""
    if request.tolerate and real:
        # `1e-3` has a value to DuckDB and none to us: in a row that is let pass it must not be added up.
        cases = (f"CASE WHEN {bad} THEN NULL ELSE value_{i} END AS value_{i}" for i, bad in real.items())
        unread = f" REPLACE ({', '.join(cases)})"
    return (
        f"SELECT *, NOT rejected AND {kept} AS kept "
        f"FROM (SELECT *{unread}, {' OR '.join(real.values()) or 'false'} AS rejected "
        f"FROM (SELECT *, {values} FROM (SELECT {texts} FROM {source})))"
    )


def survey(connection: duckdb.DuckDBPyConnection, table: Table, request: PivotRequest) -> Survey:
    """Read the table once. InvalidInput for the first record or cell that breaks a rule, and for a table of
    no rows. Cells that cannot be read are let pass in as many rows as `tolerate` says."""
    uses = all_uses(table, request)
    found = _counted(connection, table, request, uses, _totals_wanted)

    def decimals(i: int) -> int:
        return (found[f"decimals_{i}"] or 0) if uses[i].type.open_scale else uses[i].type.scale

    names = (*request.rows, *request.columns)
    totals = tuple(
        _total(found, i, value.column, value.summed, decimals(i), selective=request.selective)
        for i, value in enumerate(request.values, start=len(names))
    )
    key_decimals = {name: decimals(i) for i, name in enumerate(names) if uses[i].type.kind == "decimal"}
    return Survey(
        found["rows"],
        totals,
        key_decimals,
        filtered=found["rows"] - found["kept"] - found["rejected"],
        rejected=found["rejected"],
    )


_Wanted = Callable[[PivotRequest, Sequence[ColumnUse], Mapping[str, str], str], dict[str, str]]
"""Aggregates over `checked` by their names: for the uses of a request, for each part of the table that has a
condition, and with the condition of the rows used."""


def _counted(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    uses: Sequence[ColumnUse],
    wanted: _Wanted,
) -> dict[str, Any]:
    """Rows, rejected, kept and what is wanted, from one scan that looks at every used cell."""
    found = None if request.selective else _counted_at_once(connection, table, request, uses, wanted)
    found = found or _counted_by_row(connection, table, request, uses, wanted)
    _require_rows(table, request, found, uses)
    return found


def _counted_at_once(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    uses: Sequence[ColumnUse],
    further: _Wanted,
) -> dict[str, Any] | None:
    """What is counted, None when some cell may not be readable. No row is judged by itself, which takes
    longer than all the rest: in Parquet most texts are looked at once, however many rows have them."""
    doubts = [use.sql_doubt(f"text_{i}", f"value_{i}") for i, use in enumerate(uses)]
    doubt = " OR ".join(f"coalesce({each}, false)" for each in doubts if each) or "false"
    wanted = {"doubt": doubt, "rows": "count(*)", "rejected": "0", "kept": "count(*)"}
    wanted |= further(request, uses, {"whole": ""}, "")
    found = _asked(connection, table, request, uses, wanted)
    return None if found["doubt"] else found


def _counted_by_row(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    uses: Sequence[ColumnUse],
    further: _Wanted,
) -> dict[str, Any]:
    """What is counted, with each row used, filtered or rejected."""
    wanted = {
        "rows": "count(*)",
        "rejected": "count(*) FILTER (rejected)",
        "kept": "count(*) FILTER (kept)" if request.selective else "count(*) FILTER (NOT rejected)",
    }
    parts = {"whole": ""}
    if request.selective:
        parts |= {"used": " FILTER (kept)", "rejected": " FILTER (rejected)"}
    return _asked(connection, table, request, uses, wanted | further(request, uses, parts, " FILTER (kept)"))


def _keys_wanted(
    request: PivotRequest, uses: Sequence[ColumnUse], parts: Mapping[str, str], kept: str
) -> dict[str, str]:
    """About how many keys the result has."""
    side, sql_keys = len(request.rows), key_sql(request)
    return {
        "row_keys": _distinct(sql_keys[:side], kept),
        "column_keys": _distinct(sql_keys[side:], kept),
    }


def _all_wanted(
    request: PivotRequest, uses: Sequence[ColumnUse], parts: Mapping[str, str], kept: str
) -> dict[str, str]:
    """The same, and every column is read: one that cannot be is found before it is paid for."""
    read = {f"read_{i}": f"count(text_{i})" for i in range(len(uses))}
    return read | _keys_wanted(request, uses, parts, kept)


def _totals_wanted(
    request: PivotRequest, uses: Sequence[ColumnUse], parts: Mapping[str, str], kept: str
) -> dict[str, str]:
    """Decimals, and the measures of each part of the table."""
    wanted = {}
    for i, use in enumerate(uses):
        if use.type.kind == "decimal":
            readable = f" FILTER (value_{i} IS NOT NULL)" if request.tolerate else ""
            wanted[f"decimals_{i}"] = f"max({use.sql_decimals(f'text_{i}')}){readable}"
    for i, value in enumerate(request.values, start=len(key_sql(request))):
        for part, condition in parts.items():
            wanted[f"{part}_count_{i}"] = f"count(text_{i}){condition}"
            if value.summed:
                wanted[f"{part}_sum_{i}"] = f"sum(value_{i}){condition}"
    return wanted


def _asked(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    request: PivotRequest,
    uses: Sequence[ColumnUse],
    wanted: Mapping[str, str],
) -> dict[str, Any]:
    """The answers by their names, from one scan."""
    with table.explained(uses), table.scan() as source:
        sql = f"SELECT {', '.join(wanted.values())} FROM ({checked(uses, request, source)})"
        answer = connection.execute(sql).fetchone()
    assert answer is not None
    return dict(zip(wanted, answer, strict=True))


def _require_rows(
    table: Table, request: PivotRequest, found: Mapping[str, Any], uses: Sequence[ColumnUse]
) -> None:
    if found["rows"] == 0:
        raise InvalidInput(
            f"{table.name} has a header and no rows",
            hint="give a table with at least one row",
            file=table.name,
            row=0,
        )
    if found["rejected"] > request.tolerate:
        fault = table.fault(uses)
        if fault is not None and request.tolerate:
            fault = InvalidInput(
                f"{found['rejected']:,} rows cannot be read, and {request.tolerate:,} are tolerated; "
                f"the first: {fault.message}",
                hint=fault.hint,
                **fault.values,
            )
        raise fault or InvalidInput(
            f"{found['rejected']:,} rows of {table.name} have cells that cannot be read",
            hint="write each cell without spaces around its quotes",
            file=table.name,
        )
    if found["kept"] == 0:
        raise InvalidInput(
            f"none of the {found['rows']:,} rows of {table.name} is used: "
            f"{', '.join(f.written for f in request.filters) or 'all are rejected'}",
            hint="check the filters' columns and values",
            file=table.name,
            column=request.filters[0].column if request.filters else None,
            value=request.filters[0].written if request.filters else None,
        )


def _total(
    found: Mapping[str, Any], i: int, column: str, summed: bool, decimals: int, *, selective: bool
) -> Total:
    def measure(part: str) -> Measure:
        amount = (found[f"{part}_sum_{i}"] or Decimal(0)) if summed else None
        return Measure(found[f"{part}_count_{i}"], amount)

    whole = measure("whole")
    used = measure("used") if selective else whole
    rejected = measure("rejected") if selective else Measure(0, Decimal(0) if summed else None)
    left: Decimal | None = None
    if whole.sum is not None and used.sum is not None and rejected.sum is not None:
        left = _EXACT.subtract(_EXACT.subtract(whole.sum, used.sum), rejected.sum)
    filtered = Measure(whole.count - used.count - rejected.count, left)
    return Total(
        column, used.count, found["kept"] - used.count, used.sum, decimals, whole, filtered, rejected
    )


_EXACT = Context(prec=60)


def _distinct(keys: Sequence[str], kept: str) -> str:
    """SQL of about how many different keys the rows used have, which the condition `kept` picks."""
    if not keys:
        return "1"
    # A row of one key would be hashed far more slowly than the key.
    key = keys[0] if len(keys) == 1 else f"row({', '.join(keys)})"
    return f"approx_count_distinct({key}){kept}"


def preflight(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    *,
    engine: Engine | None = None,
    report: Report = unheard,
) -> Preflight:
    """Check and count a table for a pivot with these parameters.

    Raises InvalidInput (file, row, column, value, way out) for what the image would refuse too, and
    BadParameters for a request that no table could meet. report: told the share that is read, when that
    takes a while."""
    request = PivotRequest.from_parameters(parameters)
    engine = engine or Engine()
    steps = Steps(report)
    opened = open_table(
        path, request.source, wanted=request.used_columns, spill=engine.spill, report=steps.opening
    )
    with opened as table, engine.connect() as connection, watched(connection, steps.reading(table)):
        return preflight_of(connection, table, request)


def preflight_of(
    connection: duckdb.DuckDBPyConnection, table: Table, request: PivotRequest, *, written: bool = False
) -> Preflight:
    """The preflight of an opened table. written: by this process, from cells that it has read, so that a
    column is looked at only for what is not known of it.

    The number of rows and columns of the result is an estimate, unless it is near a limit: then it is
    counted, so that a result which no sheet holds is refused here, before it is paid for."""
    uses = all_uses(table, request)
    found = _counted(connection, table, request, uses, _keys_wanted if written else _all_wanted)
    row_keys, column_keys = found["row_keys"], found["column_keys"]
    try:
        # The estimate is within a few percent; a fifth is beyond any doubt.
        check_shape(request, row_keys * 6 // 5, column_keys * 6 // 5, table.name)
    except InvalidInput:
        row_keys, column_keys = _exact_keys(connection, table, request, uses)
        check_shape(request, row_keys, column_keys, table.name)
    return Preflight(
        rows=found["rows"],
        columns=table.names,
        bytes=table.size,
        row_keys=row_keys,
        column_keys=column_keys,
        filtered=found["rows"] - found["kept"] - found["rejected"],
        rejected=found["rejected"],
        empty_rows=getattr(table, "empty_rows", 0),
    )


def _exact_keys(
    connection: duckdb.DuckDBPyConnection, table: Table, request: PivotRequest, uses: Sequence[ColumnUse]
) -> tuple[int, int]:
    """How many keys rows and columns have, which takes another scan."""
    keys, side = key_sql(request), len(request.rows)
    # In a row a blank is a key like any other; alone it would not be counted.
    wanted = {
        name: f"count(DISTINCT row({', '.join(part)})) FILTER (kept)" if part else "1"
        for name, part in (("rows", keys[:side]), ("columns", keys[side:]))
    }
    told = _asked(connection, table, request, uses, wanted)
    return int(told["rows"]), int(told["columns"])


def first_rows(table: Table, names: Sequence[str], count: int) -> list[dict[str, str]]:
    """The first rows as texts, for a person to look at."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection, table.scan() as source:
        cells = ", ".join(f"CAST(c{table.index(name)} AS VARCHAR)" for name in names)
        lines = connection.execute(f"SELECT {cells} FROM {source} LIMIT {int(count)}").fetchall()
    return [
        {name: str("" if cell is None else cell) for name, cell in zip(names, line, strict=True)}
        for line in lines
    ]
