"""The result's three forms, written in one walk: the canonical table (hashed), CSV, and a workbook.

Same table, same bytes: no clock, no machine, no floating point enters any of them.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]  # ships no types

from pivot import numbers
from pivot.engine import Group, Key, Pivot, PivotRow
from prixfixe.errors import InvalidInput
from prixfixe.tables.request import Aggregate, PivotRequest, ValueRequest

BLANK = "(blank)"
"""How a blank key is shown in headers and in the workbook; in the CSV a blank row key is an empty cell."""

MAX_SHEET_TEXT = 32_767
"""Characters that a sheet's cell holds."""

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
        case "sum":
            return None if measured.sum is None else numbers.text(measured.sum, total.decimals)
        case "average":
            if measured.sum is None:
                return None
            places = pivot.request.average_decimals
            return numbers.text(numbers.average(measured.sum, total.decimals, measured.count, places), places)


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
            }
        )

    def row(self, key: Key, cells: Sequence[str | None]) -> None:
        self._line([*key, *cells])

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
            " / ".join([*(part if part is not None else BLANK for part in key), label(value, aggregate)])
            for key in pivot.column_keys
            for value, aggregate in request.measures
        ]
        self._writer.writerow([*request.rows, *heads])

    def row(self, key: Key, cells: Sequence[str | None]) -> None:
        self._writer.writerow(
            [*(part if part is not None else "" for part in key), *(c or "" for c in cells)]
        )

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Workbook:
    """Two sheets: the pivot, with frozen headers and number formats, and its control totals."""

    def __init__(self, path: Path, pivot: Pivot, scratch: Path) -> None:
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
        self._formats = [
            self._measure_format(value, aggregate) for value, aggregate in self._request.measures
        ]
        self._sheet = self._book.add_worksheet("Pivot")
        self._widths: dict[int, int] = {}
        try:
            self._next = self._header()
        except InvalidInput:
            self.abandon()
            raise

    def _measure_format(self, value: ValueRequest, aggregate: Aggregate) -> Any:
        total = self._pivot.survey.totals[self._request.values.index(value)]
        decimals = {"count": 0, "sum": total.decimals, "average": self._request.average_decimals}[aggregate]
        if aggregate == "average":
            shown = "0" * min(decimals, 2) + "#" * max(decimals - 2, 0)
        else:
            shown = "0" * decimals
        return self._book.add_format({"num_format": "#,##0" + ("." + shown if shown else "")})

    def _header(self) -> int:
        request, side = self._request, len(self._request.rows)
        measures = request.measures
        for line, field in enumerate(request.columns):
            self._put_text(line, side - 1, field, self._head)
            for position, key in enumerate(self._pivot.column_keys):
                column = side + position * len(measures)
                self._put_key(line, column, key[line], request.key_type(field).kind, self._number_head)
        line = len(request.columns)
        for column, field in enumerate(request.rows):
            self._put_text(line, column, field, self._head)
        for position in range(len(self._pivot.column_keys)):
            for i, (value, aggregate) in enumerate(measures):
                text = label(value, aggregate)
                self._put_text(line, side + position * len(measures) + i, text, self._number_head)
        self._sheet.freeze_panes(line + 1, side)
        return line + 1

    def row(self, key: Key, cells: Sequence[str | None]) -> None:
        line, self._next = self._next, self._next + 1
        for column, (field, part) in enumerate(zip(self._request.rows, key, strict=True)):
            self._put_key(line, column, part, self._request.key_type(field).kind, None)
        for column, text in enumerate(cells, start=len(key)):
            if text is not None:
                self._put_number(line, column, text, self._formats[(column - len(key)) % len(self._formats)])

    def _put_key(self, line: int, column: int, part: str | None, kind: str, style: Any) -> None:
        if part is None:
            self._put_text(line, column, BLANK, style)
        elif kind in ("integer", "decimal"):
            self._put_number(line, column, part, style)
        elif kind == "date" and datetime.date.fromisoformat(part) >= _FIRST_SHEET_DATE:
            style = self._date if style is None else self._date_head
            self._sheet.write_datetime(line, column, datetime.date.fromisoformat(part), style)
            self._widen(column, 10)
        else:
            self._put_text(line, column, part, style)

    def _put_number(self, line: int, column: int, text: str, style: Any) -> None:
        if numbers.fits_double(text):
            self._sheet.write_number(line, column, float(text), style)
        else:
            self.text_cells += 1
            self._sheet.write_string(line, column, text, self._exact)
        self._widen(column, len(text) + len(text) // 4)

    def _put_text(self, line: int, column: int, text: str, style: Any) -> None:
        if len(text) > MAX_SHEET_TEXT:
            raise InvalidInput(
                f"a text of {len(text):,} characters is longer than a sheet's cell: {MAX_SHEET_TEXT:,}",
                hint="group by another column",
                value=text[:40] + "…",
            )
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
    cells: list[str | None] = [None] * (len(pivot.column_keys) * len(request.measures))
    for position, group in row.groups.items():
        for i, (value, aggregate) in enumerate(request.measures):
            cells[position * len(request.measures) + i] = cell_text(
                pivot, group, positions[value.column], aggregate
            )
    for sink in sinks:
        sink.row(row.key, cells)
