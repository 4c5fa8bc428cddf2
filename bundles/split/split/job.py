"""One run: read every table, cut the rows into parts, write each as workbook and CSV, compare the controls.

Rows keep their order: the files by their names, rows as they stand. With `by`, one part (or several, when it
is longer than `rows`) for each value, values in the order of their bytes, blank last. Cells are text exactly
as they were read: `00123` stays `00123`.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import xlsxwriter  # type: ignore[import-untyped]  # ships no types

from prixfixe.errors import AboveTier, InvalidInput
from prixfixe.tables.columns import literal
from prixfixe.tables.container import ControlMismatch
from prixfixe.tables.reader import Engine
from prixfixe.tables.source import open_table
from prixfixe.tables.splitting import SplitRequest, require_parts, text_uses
from prixfixe.tables.table import Table

_EPOCH = datetime.datetime(2000, 1, 1)

Progress = Callable[[float, str], None]
Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Part:
    """One file of the result. `digest`: SHA-256 of its rows as JSON lines."""

    name: str
    value: str | None
    rows: int
    digest: str


@dataclass(frozen=True)
class Outcome:
    """What the run measured."""

    rows: int
    parts: tuple[Part, ...]
    sentences: tuple[str, ...]


def run(
    paths: Sequence[Path],
    parameters: Mapping[str, Any],
    outputs: Path,
    *,
    engine: Engine,
    limit_units: int | None = None,
    progress: Progress = lambda share, text: None,
) -> Outcome:
    """Cut or merge `paths` into `outputs`. InvalidInput is the customer's, ControlMismatch is ours."""
    request = SplitRequest.from_parameters(parameters)
    with ExitStack() as stack, engine.connect() as connection:
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=engine.spill)))
        connection.execute("SET preserve_insertion_order = true")
        tables = [
            stack.enter_context(open_table(path, request.source, spill=engine.spill))
            for path in sorted(paths)
        ]
        names = _one_header(tables)
        rows_in, filled_in = _load(connection, tables, names, progress)
        if limit_units is not None and rows_in > limit_units:
            raise AboveTier(
                f"the tables have {rows_in:,} rows, and this tier takes {limit_units:,}",
                hint="order the next tier",
            )
        progress(0.4, f"writing {rows_in:,} rows")
        by = tables[0].index(request.by) if request.by else None
        values = _values(connection, by)
        require_parts(sum(-(-count // request.rows) for _, count in values), request, tables[0].name)
        parts, filled = [], 0
        for number, (value, batches) in enumerate(
            _parts(connection, names, by, values, request.rows), start=1
        ):
            part, cells = _write(outputs, scratch, number, value, names, batches)
            parts.append(part)
            filled += cells
        rows_out = sum(part.rows for part in parts)
        if (rows_out, filled) != (rows_in, filled_in):
            raise ControlMismatch(
                f"{rows_in} rows in and {rows_out} out, {filled_in} cells in and {filled} out"
            )
    sentences = (
        f"Rows of the tables: {rows_in:,} = rows in the parts: {rows_out:,}.",
        f"Cells that hold something: {filled_in:,} = such cells in the parts: {filled:,}.",
    )
    outcome = Outcome(rows_in, tuple(parts), sentences)
    _write_control(outputs / "control.json", outcome, parameters)
    progress(1.0, "done")
    return outcome


def _one_header(tables: Sequence[Table]) -> tuple[str, ...]:
    first = tables[0]
    for table in tables[1:]:
        if table.names != first.names:
            odd = next((n for n in table.names if n not in first.names), None) or next(
                (n for n in first.names if n not in table.names), first.names[0]
            )
            raise InvalidInput(
                f"{table.name} has other columns than {first.name}, or in another order: {odd!r}",
                hint=f"give every table the columns {', '.join(first.names[:20])}, in this order",
                file=table.name,
                row=0,
                column=odd,
            )
    return first.names


def _load(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], names: Sequence[str], progress: Progress
) -> tuple[int, int]:
    """All rows as text in the table `whole`, in order; returns rows and filled cells, counted by a scan of
    its own."""
    columns = ", ".join(f"c{i} VARCHAR" for i in range(len(names)))
    connection.execute(f"CREATE TEMP TABLE whole ({columns})")
    rows = filled = 0
    for number, table in enumerate(tables):
        progress(0.35 * number / len(tables), f"reading {table.name}")
        uses = text_uses(table)
        with table.explained(uses), table.scan() as source:
            bad = " OR ".join(use.sql_bad(use.sql_text(), "") for use in uses)
            cells = " + ".join(f"count({use.sql_text()})" for use in uses)
            told = connection.execute(
                f"SELECT count(*), {cells}, count(*) FILTER ({bad}) FROM {source}"
            ).fetchone()
            assert told is not None
            if told[2] and (fault := table.fault(uses)) is not None:
                raise fault
            texts = ", ".join(use.sql_text() for use in uses)
            connection.execute(f"INSERT INTO whole SELECT {texts} FROM {source}")
        rows, filled = rows + int(told[0]), filled + int(told[1])
    if not rows:
        raise InvalidInput("the tables have headers and no rows", hint="give a table with rows", row=0)
    return rows, filled


def _values(connection: duckdb.DuckDBPyConnection, by: int | None) -> list[tuple[str | None, int]]:
    """Each value that a part is made for, in order, with its rows; one for all without `by`."""
    value = "NULL" if by is None else f"c{by}"
    return connection.execute(
        f"SELECT {value} AS value, count(*) FROM whole GROUP BY 1 ORDER BY 1 NULLS LAST"
    ).fetchall()


def _parts(
    connection: duckdb.DuckDBPyConnection,
    names: Sequence[str],
    by: int | None,
    values: Sequence[tuple[str | None, int]],
    most: int,
) -> Iterator[tuple[str | None, Iterator[Row]]]:
    """Each part's value and rows. A part is to be read to its end before the next."""
    cells = ", ".join(f"c{i}" for i in range(len(names)))
    for value, count in values:
        same = "true" if by is None else f"c{by} IS NULL" if value is None else f"c{by} = {literal(value)}"
        for start in range(0, count, most):
            connection.execute(
                f"SELECT {cells} FROM whole WHERE {same} ORDER BY rowid LIMIT {most} OFFSET {start}"
            )
            yield ("" if by is not None and value is None else value), _fetch(connection)


def _fetch(connection: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while batch := connection.fetchmany(5_000):
        yield from batch


def _write(
    outputs: Path, scratch: Path, number: int, value: str | None, names: Sequence[str], rows: Iterator[Row]
) -> tuple[Part, int]:
    """One part as workbook and CSV; returns it and how many of its cells hold something."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", value or "").strip("-")[:40]
    stem = f"part-{number:04d}" + (f"-{plain}" if plain else "")
    book = xlsxwriter.Workbook(
        str(outputs / f"{stem}.xlsx"),
        {
            "constant_memory": True,
            "tmpdir": str(scratch),
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    book.set_properties({"title": stem, "author": "", "created": _EPOCH})
    sheet, head = book.add_worksheet("Table"), book.add_format({"bold": True, "bottom": 1})
    count = filled = 0
    digest = hashlib.sha256()
    try:
        with (outputs / f"{stem}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\r\n")
            writer.writerow(names)
            for column, name in enumerate(names):
                sheet.write_string(0, column, name, head)
            sheet.freeze_panes(1, 0)
            for count, row in enumerate(rows, start=1):
                writer.writerow(["" if cell is None else cell for cell in row])
                digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                for column, cell in enumerate(row):
                    if cell is None:
                        continue
                    sheet.write_string(count, column, cell)
                    filled += 1
    finally:
        book.close()
    return Part(stem, value, count, digest.hexdigest()), filled


def _write_control(path: Path, outcome: Outcome, parameters: Mapping[str, Any]) -> None:
    document = {
        "version": 1,
        "rows": {"in": outcome.rows, "out": sum(part.rows for part in outcome.parts)},
        "parts": [
            {"name": part.name, "value": part.value, "rows": part.rows, "rows_sha256": part.digest}
            for part in outcome.parts
        ],
        "parameters": parameters,
        "sentences": outcome.sentences,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
