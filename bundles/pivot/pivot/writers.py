"""The result's three forms, written in one walk: the canonical table (hashed), CSV, and a workbook.

Same table, same bytes: no clock, no machine, no floating point enters any of them.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from pivot import numbers
from pivot.engine import Group, Key, Pivot, PivotRow
from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import MAX_SHEET_TEXT, ColumnUse, literal
from prixfixe.tables.request import Aggregate, PivotRequest, ValueRequest
from prixfixe.tables.table import Table

BLANK = "(blank)"
"""How a blank key is shown in headers and in the workbook; in the CSV a blank row key is an empty cell."""

TOTAL = "(total)"
OTHERS = "(others)"

_EPOCH = datetime.datetime(2000, 1, 1)
_FIRST_SHEET_DATE = datetime.date(1900, 3, 1)
"""Before it spreadsheets count a 29 February 1900 that never was, so earlier dates are written as text."""


def label(value: ValueRequest, aggregate: Aggregate) -> str:
    """A measure's name: `sum(amount)`."""
    return f"{aggregate}({value.column})"


def cell_text(pivot: Pivot, group: Group, value: int, aggregate: Aggregate) -> str | None:
    """A cell as exact text, None when it is empty: a sum or average over no values is empty, a count of
    none is 0."""
    measured, total = group.values[value], pivot.survey.totals[value]
    match aggregate:
        case "count":
            return str(measured.count)
        case "distinct":
            return str(measured.distinct)
        case "sum":
            return None if measured.sum is None else numbers.text(measured.sum, total.decimals)
        case "min" | "max":
            edge = measured.min if aggregate == "min" else measured.max
            return numbers.text(edge, total.decimals) if isinstance(edge, int) else edge
        case "share":
            whole = numbers.scaled(total.sum or Decimal(0), total.decimals)
            places = pivot.request.share_decimals
            if measured.sum is None or whole == 0:
                return None
            return numbers.text(numbers.ratio(measured.sum, whole, places), places)
        case "average":
            if measured.sum is None:
                return None
            places = pivot.request.average_decimals
            return numbers.text(numbers.average(measured.sum, total.decimals, measured.count, places), places)


def shown_key(row: PivotRow) -> Key:
    """A line's key as it is shown: lines that are no group say what they are."""
    match row.line:
        case "row":
            return row.key
        case "others":
            return (OTHERS, *[""] * (len(row.key) - 1))
        case "total":
            return (TOTAL, *[""] * (len(row.key) - 1))
        case "subtotal":
            return (*row.key[: row.depth], TOTAL, *[""] * (len(row.key) - row.depth - 1))


def head_keys(pivot: Pivot) -> list[Key]:
    """The keys across the top, that of the total column among them."""
    total = [(TOTAL, *[""] * (len(pivot.request.columns) - 1))] if pivot.total_column else []
    return [*pivot.column_keys, *total]


class TableHash:
    """SHA-256 of the canonical table: a JSON line of what the columns are, then a JSON line for each row."""

    def __init__(self, pivot: Pivot) -> None:
        self._hash = hashlib.sha256()
        request = pivot.request
        self._line(
            {
                "rows": request.rows,
                "columns": request.columns,
                "measures": [[value.column, aggregate] for value, aggregate in request.measures],
                "keys": pivot.column_keys,
                "total_column": pivot.total_column,
            }
        )

    def row(self, row: PivotRow, cells: Sequence[str | None]) -> None:
        kind = [] if row.line == "row" else [{"line": row.line, "depth": row.depth}]
        self._line([*kind, *row.key, *cells])

    def _line(self, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        self._hash.update(text.encode() + b"\n")

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class CsvFile:
    """RFC 4180: UTF-8, CRLF, one header line. Cells are the data as it stands: nothing is put before `=` or
    `+`."""

    def __init__(self, path: Path, pivot: Pivot) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        request = pivot.request
        heads = [
            " / ".join([*(BLANK if p is None else p for p in key if p != ""), label(value, aggregate)])
            for key in head_keys(pivot)
            for value, aggregate in request.measures
        ]
        self._writer.writerow([*request.rows, *heads])

    def row(self, row: PivotRow, cells: Sequence[str | None]) -> None:
        self._writer.writerow([*(part or "" for part in shown_key(row)), *(c or "" for c in cells)])

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Workbook:
    """Two sheets: the pivot, with frozen headers and number formats, and its control totals."""

    def __init__(self, path: Path, pivot: Pivot, scratch: Path) -> None:
        import xlsxwriter  # type: ignore[import-untyped]  # ships no types

        self._path = path
        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "tmpdir": str(scratch),
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "nan_inf_to_errors": False,
            },
        )
        self._book.set_properties({"title": "Pivot", "author": "", "created": _EPOCH})
        self.text_cells = 0
        """Numbers written as text because a sheet's number would lose digits."""
        self._pivot, self._request = pivot, pivot.request
        head = {"bold": True, "bottom": 1, "bg_color": "#E8EEF4"}
        date = {"num_format": "yyyy-mm-dd"}
        self._head = self._book.add_format(head)
        self._number_head = self._book.add_format({**head, "align": "right"})
        self._date_head = self._book.add_format({**head, **date, "align": "right"})
        self._date = self._book.add_format(date)
        self._exact = self._book.add_format({"align": "right"})
        self._total = self._book.add_format({"bold": True, "top": 1})
        self._total_date = self._book.add_format({"bold": True, "top": 1, **date})
        plain = {
            None: {},
            self._total: {"bold": True, "top": 1},
            self._number_head: {**head, "align": "right"},
        }
        self._key_formats = {
            (style, places): self._book.add_format(
                {**look, "num_format": "0." + "0" * places if places else "0"}
            )
            for places in sorted({0, *pivot.survey.key_decimals.values()})
            for style, look in plain.items()
        }
        """Numbers of keys by the style of their line and their decimals: without the commas of amounts."""
        measures = self._request.measures
        self._formats = [self._measure_format(value, aggregate, {}) for value, aggregate in measures]
        strong = {"bold": True, "top": 1}
        self._total_formats = [
            self._measure_format(value, aggregate, strong) for value, aggregate in measures
        ]
        self._sheet = self._book.add_worksheet("Pivot")
        self._widths: dict[int, int] = {}
        try:
            self._next = self._header()
        except InvalidInput:
            self.abandon()
            raise

    def _measure_format(self, value: ValueRequest, aggregate: Aggregate, style: Mapping[str, Any]) -> Any:
        total = self._pivot.survey.totals[self._request.values.index(value)]
        if value.type.kind == "date" and aggregate in ("min", "max"):
            return self._book.add_format({**style, "num_format": "yyyy-mm-dd"})
        if aggregate == "share":
            return self._book.add_format({**style, "num_format": "0.00%"})
        if aggregate == "average":
            decimals = self._request.average_decimals
            shown = "0" * min(decimals, 2) + "#" * max(decimals - 2, 0)
        else:
            shown = "0" * (0 if aggregate in ("count", "distinct") else total.decimals)
        return self._book.add_format({**style, "num_format": "#,##0" + ("." + shown if shown else "")})

    def _header(self) -> int:
        request, side = self._request, len(self._request.rows)
        measures = request.measures
        for line, field in enumerate(request.columns):
            self._put_text(line, side - 1, field, self._head)
            for position, key in enumerate(head_keys(self._pivot)):
                column = side + position * len(measures)
                if position == len(self._pivot.column_keys):
                    self._put_text(line, column, key[line] or "", self._number_head)
                else:
                    self._put_key(line, column, key[line], field, self._number_head)
        line = len(request.columns)
        for column, field in enumerate(request.rows):
            self._put_text(line, column, field, self._head)
        for position in range(self._pivot.width):
            for i, (value, aggregate) in enumerate(measures):
                text = label(value, aggregate)
                self._put_text(line, side + position * len(measures) + i, text, self._number_head)
        self._sheet.freeze_panes(line + 1, side)
        return line + 1

    def row(self, row: PivotRow, cells: Sequence[str | None]) -> None:
        line, self._next = self._next, self._next + 1
        summed = row.line in ("subtotal", "total")
        style, formats = (self._total, self._total_formats) if summed else (None, self._formats)
        for column, (field, part) in enumerate(zip(self._request.rows, shown_key(row), strict=True)):
            if row.line == "row" or (row.line == "subtotal" and column < row.depth):
                self._put_key(line, column, part, field, style)
            else:
                self._put_text(line, column, part or "", style)
        measures = self._request.measures
        for column, text in enumerate(cells, start=len(row.key)):
            if text is None:
                continue
            i = (column - len(row.key)) % len(formats)
            if measures[i][0].type.kind == "date" and measures[i][1] in ("min", "max"):
                self._put_day(line, column, text, formats[i], formats[i])
            else:
                self._put_number(line, column, text, formats[i])

    def _put_key(self, line: int, column: int, part: str | None, field: str, style: Any) -> None:
        kind = self._request.key_type(field).kind
        if part is None:
            self._put_text(line, column, BLANK, style)
        elif kind in ("integer", "decimal"):
            places = self._pivot.survey.key_decimals.get(field, 0)
            self._put_number(line, column, part, self._key_formats[style, places])
        elif kind == "date":
            dated = {None: self._date, self._total: self._total_date, self._number_head: self._date_head}
            self._put_day(line, column, part, dated[style], style)
        else:
            self._put_text(line, column, part, style)

    def _put_day(self, line: int, column: int, written: str, dated: Any, style: Any) -> None:
        day = datetime.date.fromisoformat(written)
        if day < _FIRST_SHEET_DATE:
            self._put_text(line, column, written, style)
            return
        self._sheet.write_datetime(line, column, day, dated)
        self._widen(column, 10)

    def _put_number(self, line: int, column: int, text: str, style: Any) -> None:
        if numbers.fits_double(text):
            self._sheet.write_number(line, column, float(text), style)
        else:
            self.text_cells += 1
            self._sheet.write_string(line, column, text, self._exact)
        self._widen(column, len(text) + len(text) // 4)

    def _put_text(self, line: int, column: int, text: str, style: Any) -> None:
        # write_string, never write: a cell that starts with = + - @ is a text and no formula.
        self._sheet.write_string(line, column, text, style)
        self._widen(column, len(text))

    def _widen(self, column: int, width: int) -> None:
        if width > self._widths.get(column, 0):
            self._widths[column] = width

    def abandon(self) -> None:
        """Close and remove what was begun."""
        self._book.close()
        self._path.unlink(missing_ok=True)

    def finish(self, control_lines: Sequence[tuple[str, str]]) -> None:
        """Write the control sheet and the file."""
        for column, width in self._widths.items():
            self._sheet.set_column(column, column, min(max(width + 2, 8), 60))
        sheet = self._book.add_worksheet("Control")
        sheet.set_column(0, 0, 24)
        sheet.set_column(1, 1, 110)
        for line, (name, text) in enumerate(control_lines):
            sheet.write_string(line, 0, name, self._head)
            sheet.write_string(line, 1, text[:MAX_SHEET_TEXT])
        self._book.close()


def write(pivot: Pivot, row: PivotRow, sinks: Sequence[TableHash | CsvFile | Workbook]) -> None:
    """One line of the result into every form."""
    request: PivotRequest = pivot.request
    positions = {value.column: i for i, value in enumerate(request.values)}
    cells: list[str | None] = [None] * (pivot.width * len(request.measures))
    for position, group in row.groups.items():
        for i, (value, aggregate) in enumerate(request.measures):
            cells[position * len(request.measures) + i] = cell_text(
                pivot, group, positions[value.column], aggregate
            )
    for sink in sinks:
        sink.row(row, cells)


MAX_PARQUET_COLUMNS = 2_000
"""A wider result is not written as Parquet: each column there is a part of its own."""


def write_parquet(pivot: Pivot, csv_path: Path, target: Path, scratch: Path) -> None:
    """The result as Parquet, from the CSV that has just been written: keys by their types (as text where
    lines of totals or others stand among them), measures exact. Nothing when it is too wide."""
    if len(pivot.request.rows) + pivot.width * len(pivot.request.measures) > MAX_PARQUET_COLUMNS:
        return
    request = pivot.request
    with csv_path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
    plain = not request.totals & {"rows", "subtotals"} and not request.top
    kinds = [_key_sql_type(pivot, field) if plain else "VARCHAR" for field in request.rows]
    kinds += [_sql_type(pivot, *measure) for measure in request.measures] * pivot.width
    counts: dict[str, int] = {}
    shown = []
    for i, name in enumerate(names):
        counts[name] = counts.get(name, 0) + 1
        unique = name if counts[name] == 1 else f"{name} ({counts[name]})"
        quoted = '"' + (unique or f"column {i + 1}").replace('"', '""') + '"'
        shown.append(f"CAST(c{i} AS {kinds[i]}) AS {quoted}")
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    part = scratch / "pivot.parquet"
    with duckdb.connect(":memory:", config={"threads": 1, "preserve_insertion_order": True}) as connection:
        connection.execute(
            f"COPY (SELECT {', '.join(shown)} FROM read_csv({literal(str(csv_path))}, columns={{{columns}}}, "
            "auto_detect=false, header=true, delim=',', quote='\"', escape='\"', nullstr='', comment='', "
            f"strict_mode=true, max_line_size={16 << 20})) TO {literal(str(part))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    shutil.move(part, target)


def _key_sql_type(pivot: Pivot, field: str) -> str:
    kind = pivot.request.key_type(field)
    if kind.kind == "decimal":
        return f"DECIMAL(38,{pivot.survey.key_decimals[field]})"
    return "DECIMAL(38,0)" if kind.kind == "integer" else kind.sql_type


def _sql_type(pivot: Pivot, value: ValueRequest, aggregate: Aggregate) -> str:
    decimals = pivot.survey.totals[pivot.request.values.index(value)].decimals
    match aggregate:
        case "count" | "distinct":
            return "BIGINT"
        case "average":
            return f"DECIMAL(38,{pivot.request.average_decimals})"
        case "share":
            return f"DECIMAL(38,{pivot.request.share_decimals})"
        case "min" | "max" if value.type.kind == "date":
            return "DATE"
        case "sum" | "min" | "max":
            return f"DECIMAL(38,{decimals})"


def write_rejected(path: Path, table: Table, uses: Sequence[ColumnUse]) -> int:
    """List the rows that could not be read; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(("row", "line", "column", "value", "why"))
        for fault in table.faults(uses):
            values = fault.values
            place = [values.get(name, "") for name in ("row", "line", "column", "value")]
            writer.writerow([*place, fault.message])
            count += 1
    return count
