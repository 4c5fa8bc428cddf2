"""What a split is asked to do: merge many tables of the same columns, or cut one by a column or by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import MAX_SHEET_TEXT, TEXT, ColumnUse
from prixfixe.tables.locate import shown
from prixfixe.tables.looked import SOURCE_PARAMETERS
from prixfixe.tables.progress import Report, Steps, unheard, watched
from prixfixe.tables.reader import Engine
from prixfixe.tables.source import BadParameters, Source, open_table
from prixfixe.tables.table import Table

MAX_PARTS = 1_000
MAX_PART_ROWS = 1_048_575
"""Rows of one workbook, its header not counted."""


@dataclass(frozen=True)
class SplitRequest:
    """`by`: a column, one workbook for each of its values; "" for none. `rows`: rows of a part at most."""

    by: str
    rows: int
    source: Source

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> SplitRequest:
        """Read a job's parameters; BadParameters names the one at fault."""
        for name in parameters:
            if name not in {"by", "rows", *SOURCE_PARAMETERS}:
                raise BadParameters(name, "is no parameter of a split: by, rows")
        by, rows = parameters.get("by", ""), parameters.get("rows", MAX_PART_ROWS)
        if not isinstance(by, str):
            raise BadParameters("by", "the name of a column")
        if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= MAX_PART_ROWS:
            raise BadParameters("rows", f"a whole number from 1 to {MAX_PART_ROWS:,}")
        return cls(by, rows, Source.from_parameters(parameters))


@dataclass(frozen=True)
class Count:
    """Rows of one file, counted on the customer's machine, and the parts that it alone would make."""

    units: int
    columns: tuple[str, ...]
    parts: int


def text_uses(table: Table) -> tuple[ColumnUse, ...]:
    """Every column of a table as texts that a sheet's cell holds. InvalidInput for a column of anything
    else, or of a longer name."""
    for name in table.names:
        if len(name) > MAX_SHEET_TEXT:
            raise InvalidInput(
                f"the header of {table.name} has a name of {len(name):,} characters, and a sheet's cell "
                f"holds {MAX_SHEET_TEXT:,}",
                hint="check the delimiter and the quotes, or shorten the name",
                file=table.name,
                row=0,
                column=shown(name),
                value=shown(name),
            )
    return tuple(
        ColumnUse(i, name, TEXT, stored=table.stored(i), longest=MAX_SHEET_TEXT)
        for i, name in enumerate(table.names)
    )


def require_parts(parts: int, request: SplitRequest, file: str) -> None:
    """InvalidInput when there would be more than `MAX_PARTS`."""
    if parts > MAX_PARTS:
        raise InvalidInput(
            f"the result would have {parts:,} parts, and a split makes at most {MAX_PARTS:,}",
            hint="cut by a column with fewer values, or into larger parts",
            file=file,
            column=request.by or None,
        )


def count_rows(
    path: Path, parameters: Mapping[str, Any], *, engine: Engine | None = None, report: Report = unheard
) -> Count:
    """Check and count a table that is to be split or merged. report: told the share that is read, when that
    takes a while."""
    request = SplitRequest.from_parameters(parameters)
    engine = engine or Engine()
    steps = Steps(report)
    opened = open_table(path, request.source, spill=engine.spill, report=steps.opening)
    with opened as table, engine.connect() as connection:
        by = table.index(request.by) if request.by else None
        uses = text_uses(table)
        bad = " OR ".join(f"coalesce({use.sql_bad(use.sql_text(), '')}, false)" for use in uses)
        # Each row once, with its part's column: counted by value, then summed up.
        value = "NULL" if by is None else uses[by].sql_text()
        with table.explained(uses), table.scan() as scan, watched(connection, steps.reading(table)):
            found = connection.execute(
                f"SELECT sum(n), sum(bad), sum(ceil(n / {request.rows})) FROM (SELECT count(*) AS n, "
                f"count(*) FILTER ({bad}) AS bad FROM {scan} GROUP BY {value})"
            ).fetchone()
        assert found is not None
        if not found[0]:
            raise InvalidInput(
                f"{table.name} has a header and no rows",
                hint="leave the file out",
                file=table.name,
                row=0,
            )
        if found[1]:
            raise table.fault(uses) or table.unreadable("it has cells that cannot be read")
        require_parts(int(found[2]), request, table.name)
        return Count(int(found[0]), table.names, int(found[2]))
