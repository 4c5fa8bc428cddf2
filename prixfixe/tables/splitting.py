"""What a split is asked to do: merge many tables of the same columns, or cut one by a column or by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.progress import Report, Steps, unheard, watched
from prixfixe.tables.reader import Engine
from prixfixe.tables.source import SOURCE_PARAMETERS, BadParameters, Source, open_table

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
    """Rows of one file, counted on the customer's machine."""

    units: int
    columns: tuple[str, ...]


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
        if request.by:
            table.index(request.by)
        for position in range(len(table.names)):
            table.stored(position)
        with table.explained(()), table.scan() as scan, watched(connection, steps.reading(table)):
            cells = ", ".join(f"count(c{i})" for i in range(len(table.names)))
            found = connection.execute(f"SELECT count(*), {cells} FROM {scan}").fetchone()
        assert found is not None
        if found[0] == 0:
            raise InvalidInput(
                f"{table.name} has a header and no rows",
                hint="leave the file out",
                file=table.name,
                row=0,
            )
        return Count(int(found[0]), table.names)
