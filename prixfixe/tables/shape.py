"""What a sheet holds: a result beyond it is refused, never cut."""

from __future__ import annotations

from prixfixe.errors import InvalidInput
from prixfixe.tables.request import PivotRequest

SHEET_ROWS = 1_048_576
SHEET_COLUMNS = 16_384
MAX_CELLS = 10_000_000
"""Cells of one result: about a minute and a half of writing a workbook, and 300 MB of it."""


def check_shape(request: PivotRequest, row_keys: int, column_keys: int, file: str) -> None:
    """Refuse a result that no sheet can hold: it is never cut."""
    across = column_keys + ("columns" in request.totals and bool(request.columns))
    width = len(request.rows) + across * len(request.measures)
    if request.top:
        row_keys = min(row_keys, request.top + 1)
    height = row_keys + len(request.columns) + 1 + ("rows" in request.totals)
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
