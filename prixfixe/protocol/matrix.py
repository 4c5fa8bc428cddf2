"""Parameters that differ from task to task: a table with one row a task.

A matrix travels as a blob of JSON lines, one canonical object a task, in the order of the tasks. Task i sees
its row merged over the job's parameters, and `{name}` in the command's arguments and in the values of
environment variables becomes the task's parameter of that name; `{{` and `}}` are braces. Without a matrix
nothing is replaced. Client and worker use these same functions, so that what is refused is refused before
anything is paid.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from prixfixe.errors import InvalidInput
from prixfixe.protocol.canonical import canonical_json, require_storable_json
from prixfixe.protocol.manifest import MAX_TASKS, JobManifest, require_startable

Row: TypeAlias = dict[str, Any]

MAX_BYTES: Final = 64 << 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def read(data: bytes, *, name: str) -> tuple[Row, ...]:
    """The rows of a CSV or JSON file, by the ending of `name`. A CSV's cells are texts; a JSON file is a list
    of objects with texts, whole numbers and truth values. InvalidInput names row and column."""
    if len(data) > MAX_BYTES:
        raise _bad(f"{name} has {len(data):,} bytes, a matrix at most {MAX_BYTES:,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(f"{name} is not UTF-8 (byte {error.start:,})") from error
    return require_rows(_json(text, name) if name.lower().endswith(".json") else _csv(text, name))


def require_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """The rows when they make a matrix: all with the same columns, and no cell empty."""
    checked = tuple(dict(row) for row in rows)
    if not checked:
        raise _bad("the matrix has no rows", hint="give one row for each task")
    if len(checked) > MAX_TASKS:
        raise _bad(f"the matrix has {len(checked):,} rows, a job at most {MAX_TASKS:,} tasks")
    columns = list(checked[0])
    for column in columns:
        if not _NAME.fullmatch(column):
            raise _bad(
                f"column {column[:80]!r} is no parameter's name",
                hint="letters, digits, dash and underscore, the first no digit; at most 64",
                column=column[:80],
            )
    for number, row in enumerate(checked, 1):
        for column in (*columns, *(extra for extra in row if extra not in checked[0])):
            if column not in checked[0]:
                raise _at(number, column, "is in no row before")
            if column not in row or row[column] is None or row[column] == "":
                raise _at(number, column, "is empty")
            if type(row[column]) not in (str, int, bool):
                raise _at(number, column, "is no text, whole number or truth value", "write it as a text")
    return checked


def to_lines(rows: Sequence[Row]) -> bytes:
    """The blob: a canonical JSON object a line."""
    data = b"".join(canonical_json(row) + b"\n" for row in rows)
    if len(data) > MAX_BYTES:
        raise _bad(f"the matrix has {len(data):,} bytes as JSON lines, and at most {MAX_BYTES:,} are taken")
    return data


def from_lines(data: bytes, tasks: int) -> tuple[Row, ...]:
    """The rows of the blob; InvalidInput unless it is one of `tasks` rows."""
    if len(data) > MAX_BYTES:
        raise _bad(f"the matrix has more than {MAX_BYTES:,} bytes")
    lines = data.splitlines()
    if len(lines) != tasks:
        raise _bad(f"the matrix has {len(lines):,} rows, and the job {tasks:,} tasks")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            require_storable_json(line)
        except InvalidInput as error:
            raise _bad(f"row {number} of the matrix: {error.message}", row=number) from error
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(f"row {number} of the matrix is not JSON", row=number) from error
        if not isinstance(row, dict):
            raise _bad(f"row {number} of the matrix is no object", row=number)
        rows.append(row)
    return require_rows(rows)


def for_task(manifest: JobManifest, row: Row) -> JobManifest:
    """The manifest as one task runs it. InvalidInput for a name in braces that is no parameter, and for a
    command that could not be started."""
    parameters = {**manifest.parameters, **row}
    command, environment = filled(manifest.command, manifest.environment, parameters)
    return manifest.model_copy(
        update={
            "command": command,
            "environment": environment,
            "parameters": parameters,
            "matrix": None,
        }
    )


def filled(
    command: Sequence[str], environment: Mapping[str, str], parameters: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Command and environment of one task. InvalidInput as for `for_task`."""
    words = tuple(fill(argument, parameters) for argument in command)
    variables = {name: fill(value, parameters) for name, value in environment.items()}
    require_startable(words, variables)
    return words, variables


def require_matrix(manifest: JobManifest, rows: Sequence[Row]) -> None:
    """InvalidInput unless there is a row for each task and every task's command can be filled in."""
    if len(rows) != manifest.tasks:
        raise _bad(f"the matrix has {len(rows):,} rows, and the job {manifest.tasks:,} tasks")
    for row in rows:
        for_task(manifest, row)


def fill(text: str, parameters: Mapping[str, Any]) -> str:
    """`text` with each `{name}` replaced by the parameter's value."""

    def value(found: re.Match[str]) -> str:
        whole, name = found[0], found[1]
        if whole in ("{{", "}}"):
            return whole[0]
        if name is None:
            raise _bad(
                f"{text[:80]!r} has a single {whole!r}",
                hint="{name} is a parameter of the task; write {{ and }} for braces",
            )
        known = parameters.get(name)
        if type(known) is bool:
            return "true" if known else "false"
        if type(known) in (str, int):
            return str(known)
        names = ", ".join(sorted(parameters)) or "none"
        raise _bad(
            f"{text[:80]!r} names {{{name[:64]}}}, which is no text or number among the task's parameters",
            hint=f"its parameters: {names[:300]}; write {{{{ and }}}} for braces",
        )

    return _BRACES.sub(value, text)


def _csv(text: str, name: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        for column in header:
            if header.count(column) > 1:
                raise _bad(f"{name} has the column {column[:80]!r} twice", column=column[:80])
        for number, cells in enumerate(reader, 1):
            if not cells:
                continue  # an empty line, such as the last
            if len(cells) != len(header):
                raise _bad(
                    f"row {number} of {name} has {len(cells)} cells, the header {len(header)}", row=number
                )
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise _bad(f"{name} is no CSV: {error} (line {reader.line_num})") from error
    return rows


def _json(text: str, name: str) -> list[Row]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise _bad(f"{name} has a row with {key[:80]!r} twice", column=key[:80])
            found[key] = value
        return found

    require_storable_json(text.encode())
    try:
        rows = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _bad(f"{name} is not JSON: {str(error)[:200]}") from error
    if not isinstance(rows, list):
        raise _bad(f"{name} is no list of objects", hint='such as [{"seed": 1}, {"seed": 2}]')
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise _bad(f"row {number} of {name} is no object", row=number)
    return rows


def _at(row: int, column: str, what: str, hint: str | None = None) -> InvalidInput:
    return _bad(
        f"row {row} of the matrix: column {column[:80]!r} {what}", hint=hint, row=row, column=column[:80]
    )


def _bad(message: str, *, hint: str | None = None, **values: Any) -> InvalidInput:
    return InvalidInput(message, code="bad-matrix", hint=hint, **values)
