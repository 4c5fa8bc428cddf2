"""One run: check and count, group, write, compare the control totals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pivot.controls import Controls
from pivot.engine import Pivot
from pivot.writers import CsvFile, TableHash, Workbook, write
from prixfixe.errors import AboveTier, InvalidInput
from prixfixe.tables.reader import CsvTable, Dialect, Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.survey import survey

Progress = Callable[[float, str], None]

RULES = (
    ("Order", "text by its UTF-8 bytes, numbers and dates by value, false before true, blank keys last"),
    ("Blank", "an empty cell or a declared null value; it is in no sum, average or count of its column"),
    (
        "Empty",
        "a cell without rows is empty; with rows but no values, a count is 0 and sum and average are empty",
    ),
    ("Exactness", "numbers of more than 15 digits are text in the workbook, so that no digit is lost"),
)


@dataclass(frozen=True)
class Outcome:
    """What the run measured, for the log."""

    sentences: tuple[str, ...]
    row_keys: int
    column_keys: int
    table_sha256: str


def run(
    table_path: Path,
    parameters: Mapping[str, Any],
    outputs: Path,
    *,
    engine: Engine,
    limit_units: int | None = None,
    progress: Progress = lambda share, text: None,
) -> Outcome:
    """Pivot one CSV file into `outputs`: pivot.xlsx, pivot.csv, control.json.

    InvalidInput and BadParameters are the customer's; AboveTier when the table has more rows than were paid
    for; ControlMismatch is ours, and leaves no output.
    """
    request = PivotRequest.from_parameters(parameters)
    table = CsvTable.open(table_path, Dialect(request.delimiter, request.quote))
    with engine.connect() as connection:
        progress(0.02, "checking every cell")
        found = survey(connection, table, request)
        if limit_units is not None and found.rows > limit_units:
            raise AboveTier(
                f"the table has {found.rows:,} rows, and this tier takes {limit_units:,}",
                hint="order the next tier",
                file=table_path.name,
            )
        progress(0.45, f"grouping {found.rows:,} rows")
        pivot = Pivot.build(connection, table, request, found)
        progress(0.85, f"writing {pivot.row_keys:,} rows")
        controls = Controls(request, found)
        digest = TableHash(pivot)
        with TemporaryDirectory(dir=engine.spill) as scratch:
            workbook = Workbook(outputs / "pivot.xlsx", pivot, Path(scratch))
            try:
                with CsvFile(outputs / "pivot.csv", pivot) as csv_file:
                    for position, row in enumerate(pivot.rows()):
                        write(pivot, row, (digest, csv_file, workbook))
                        for group in row.groups.values():
                            controls.add(group)
                        if position % 20_000 == 19_999:
                            share = 0.85 + 0.1 * position / pivot.row_keys
                            progress(share, f"written {position + 1:,} rows")
                outcome = Outcome(
                    controls.check(), pivot.row_keys, len(pivot.column_keys), digest.hexdigest()
                )
            except BaseException:
                workbook.abandon()
                raise
            workbook.finish(_control_lines(pivot, outcome))
    _write_control(outputs / "control.json", pivot, controls, outcome, parameters, workbook.text_cells)
    progress(1.0, "done")
    return outcome


def _rounding(request: PivotRequest) -> str:
    return (
        f"an average is the exact sum over the exact count, rounded half to even to "
        f"{request.average_decimals} decimals; sums and counts are never rounded"
    )


def _control_lines(pivot: Pivot, outcome: Outcome) -> list[tuple[str, str]]:
    request = pivot.request
    lines = [("Control", sentence) for sentence in outcome.sentences]
    lines += [
        ("Rows", ", ".join(request.rows)),
        ("Columns", ", ".join(request.columns)),
        *(("Value", f"{v.column} as {v.type}: {', '.join(v.aggregates)}") for v in request.values),
        *(("Type", f"{name} is {kind}") for name, kind in request.types),
        ("Null values", ", ".join(request.null_values)),
        ("Result", f"{outcome.row_keys:,} rows, {outcome.column_keys:,} columns of groups"),
        ("Rounding", _rounding(request)),
        *RULES,
        ("Table SHA-256", outcome.table_sha256),
    ]
    return lines


def _write_control(
    path: Path,
    pivot: Pivot,
    controls: Controls,
    outcome: Outcome,
    parameters: Mapping[str, Any],
    text_cells: int,
) -> None:
    document = {
        "version": 1,
        **controls.to_json(),
        "result": {
            "rows": outcome.row_keys,
            "column_keys": outcome.column_keys,
            "cells": controls.cells,
            "numbers_written_as_text_in_the_workbook": text_cells,
        },
        "table_sha256": outcome.table_sha256,
        "parameters": parameters,
        "rules": {"rounding": _rounding(pivot.request), **{name.lower(): text for name, text in RULES}},
        "sentences": outcome.sentences,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def refusal(error: InvalidInput) -> str:
    """The last line of stderr when the customer's input is refused."""
    fields = {"code": error.code, "message": error.message, "hint": error.hint}
    fields |= {name: error.values.get(name) for name in ("file", "row", "column", "value")}
    return json.dumps(fields, ensure_ascii=False)


def say(share: float, text: str) -> None:
    """A progress line for the market to read."""
    print(f"progress: {share:.2f} {text}", file=sys.stderr, flush=True)
