"""One run: check and count, group, write, compare the control totals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pivot.controls import Controls
from pivot.engine import Pivot
from pivot.writers import OTHERS, CsvFile, TableHash, Workbook, write, write_parquet, write_rejected
from prixfixe.errors import AboveTier
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.source import open_table
from prixfixe.tables.survey import all_uses, survey

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
    """Pivot one table into `outputs`: pivot.xlsx, pivot.csv, pivot.parquet, control.json, and rejected.csv
    when rows that cannot be read are tolerated.

    InvalidInput and BadParameters are the customer's; AboveTier when the table has more rows than were paid
    for; ControlMismatch is ours, and leaves no output.
    """
    request = PivotRequest.from_parameters(parameters)
    opened = open_table(table_path, request.source, wanted=request.used_columns, spill=engine.spill)
    with opened as table, engine.connect() as connection:
        progress(0.02, "checking every cell")
        # What the workbook is written with is loaded meanwhile: reading needs no interpreter.
        threading.Thread(target=import_module, args=("xlsxwriter",), name="load-writer").start()
        found = survey(connection, table, request)
        if limit_units is not None and found.rows > limit_units:
            raise AboveTier(
                f"the table has {found.rows:,} rows, and this tier takes {limit_units:,}",
                hint="order the next tier",
                file=table.name,
            )
        progress(0.45, f"grouping {found.used:,} rows")
        pivot = Pivot.build(connection, table, request, found)
        progress(0.85, f"writing {pivot.row_keys:,} rows")
        controls = Controls(request, found, len(pivot.column_keys))
        if request.tolerate:
            controls.listed = write_rejected(outputs / "rejected.csv", table, all_uses(table, request))
        digest = TableHash(pivot)
        with TemporaryDirectory(dir=engine.spill) as scratch:
            workbook = Workbook(outputs / "pivot.xlsx", pivot, Path(scratch))
            try:
                with CsvFile(outputs / "pivot.csv", pivot) as csv_file:
                    for position, row in enumerate(pivot.rows()):
                        write(pivot, row, (digest, csv_file, workbook))
                        controls.add(row)
                        if position % 20_000 == 19_999:
                            share = min(0.95, 0.85 + 0.1 * position / pivot.row_keys)
                            progress(share, f"written {position + 1:,} rows")
                outcome = Outcome(
                    controls.check(), pivot.row_keys, len(pivot.column_keys), digest.hexdigest()
                )
                write_parquet(pivot, outputs / "pivot.csv", outputs / "pivot.parquet", Path(scratch))
            except BaseException:
                workbook.abandon()
                raise
            lines = _control_lines(
                pivot, outcome, table.converted, getattr(table, "empty_rows", 0), parameters
            )
            workbook.finish(lines)
        _write_control(outputs / "control.json", pivot, controls, outcome, parameters, workbook.text_cells)
    progress(1.0, "done")
    return outcome


def _rounding(request: PivotRequest) -> str:
    return (
        f"an average is the exact sum over the exact count, rounded half to even to "
        f"{request.average_decimals} decimals; a share is the exact sum over the exact sum of all rows used, "
        f"rounded alike to {request.share_decimals}; sums, counts, smallest and largest are never rounded"
    )


def _control_lines(
    pivot: Pivot,
    outcome: Outcome,
    converted: Mapping[str, object] | None,
    empty_rows: int,
    parameters: Mapping[str, Any],
) -> list[tuple[str, str]]:
    request, source = pivot.request, pivot.request.source
    lines = [("Control", sentence) for sentence in outcome.sentences]
    if empty_rows:
        lines.append(
            ("Control", f"{empty_rows:,} rows of the sheet hold nothing and are no rows of the table.")
        )
    lines += [
        ("Rows", ", ".join(request.rows)),
        ("Columns", ", ".join(request.columns)),
        *(("Value", f"{v.column} as {v.type}: {', '.join(v.aggregates)}") for v in request.values),
        *(("Type", f"{name} is {kind}") for name, kind in request.types),
        *(("Filter", f.written) for f in request.filters),
        ("Null values", ", ".join(request.null_values)),
        ("Totals", ", ".join(sorted(request.totals))),
        ("Sorted by", str(parameters.get("sort", "")) or "the keys"),
        ("Top", f"{request.top:,}; the rest is the line {OTHERS}" if request.top else "all"),
        ("Tolerated", f"{request.tolerate:,} rows that cannot be read"),
        (
            "Notation",
            f"encoding {source.encoding}, delimiter {source.delimiter!r}, "
            f"decimal {source.notation.decimal!r}, thousands {source.notation.thousands!r}, "
            f"dates {source.notation.date_format}",
        ),
        ("Result", f"{outcome.row_keys:,} rows, {outcome.column_keys:,} columns of groups"),
        ("Rounding", _rounding(request)),
        *RULES,
        ("Table SHA-256", outcome.table_sha256),
        ("Parameters SHA-256", _digest(parameters)),
        (
            "Receipt",
            "This file cannot hold its receipt's id: the receipt is made of the file's SHA-256. The receipt "
            "names this file, its input and its parameters by their digests; `prixfixe verify` checks.",
        ),
    ]
    if converted is not None:
        told = ", ".join(f"{name} {converted[name]}" for name in sorted(converted))
        lines.append(("Converted", f"as the customer's own client says: {told}"[:2000]))
    return lines


def _digest(parameters: Mapping[str, Any]) -> str:
    text = json.dumps(parameters, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
        "parameters_sha256": _digest(parameters),
        "rules": {"rounding": _rounding(pivot.request), **{name.lower(): text for name, text in RULES}},
        "sentences": outcome.sentences,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
