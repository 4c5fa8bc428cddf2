"""What a cage is asked of a file that somebody sent from a page: what is in it, and later the typed table
that travels. `python -m prixfixe.tables.looking` in a table bundle's image, in the frame of `container`.

Types and uses are proposals, which the person at the page confirms or corrects: nothing is ordered by them.
A column is proposed as a number only where no cell loses anything by it: account `00123` stays text.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import parse_type
from prixfixe.tables.container import main
from prixfixe.tables.convert import convert, is_worth_converting
from prixfixe.tables.form import run_preflight
from prixfixe.tables.guess import Guess, dates, guess, numbers
from prixfixe.tables.looked import FOUND, MAX_FOUND_BYTES, TABLE
from prixfixe.tables.notation import Notation
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.source import Source, open_table
from prixfixe.tables.table import Table

SHOWN_ROWS: Final = 20
_SHOWN_CHARACTERS: Final = 120
_SAMPLE_ROWS: Final = 1000
_GUESSABLE: Final = ("encoding", "delimiter")

_DIGITS: Final = re.compile(r"[+-]?[0-9][0-9.,'\u00a0\u202f ]*|[+-]?[.,][0-9]+")
_DATE: Final = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}")
# What counts rows or names somebody is written in digits, and is no amount.
_NAMING: Final = re.compile(
    r"(^|[^a-z])(id|ids|no|nr|num|number|code|key|account|konto|iban|bic|isin|zip|plz|postcode|phone|tel|year"
    r"|month|day|quarter)([^a-z]|$)"
)
_STORED: Final = (
    (re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?"), "integer"),
    (re.compile(r"(DECIMAL.*|DOUBLE|FLOAT|REAL)"), "decimal"),
    (re.compile(r"DATE"), "date"),
    (re.compile(r"BOOLEAN"), "boolean"),
)


@dataclass(frozen=True)
class Proposal:
    """A column: its name, the type that its first cells have, and what it could be used for: `rows`, `sum`,
    `count` or nothing."""

    name: str
    type: str
    use: str = ""


def look(path: Path, declared: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """What is in a table: rows counted, columns with proposals, the first rows as texts, and what of its
    writing was guessed. declared: parameters of the source that somebody said. InvalidInput for what cannot
    be read."""
    guesses = list(guess(path, declared, _GUESSABLE))
    declared = {**declared, **{each.parameter: each.value for each in guesses}}
    with open_table(path, Source.from_parameters(declared), spill=engine.spill) as table:
        rows, sample = _read(table, engine)
        guesses += _written(table.names, sample, declared)
        declared = {**declared, **{each.parameter: each.value for each in guesses}}
        notation = Source.from_parameters(declared).notation
        types = [_type(table, at, [row[at] for row in sample], notation) for at in range(len(table.names))]
    return {
        "rows": rows,
        "columns": [asdict(each) for each in _uses(table.names, types, sample)],
        "first": [[cell[:_SHOWN_CHARACTERS] for cell in row] for row in sample[:SHOWN_ROWS]],
        "guesses": [asdict(each) for each in guesses],
        "source": declared,
    }


def make(
    path: Path, parameters: Mapping[str, Any], kind: str, outputs: Path, engine: Engine
) -> dict[str, Any]:
    """What the client makes of a file before it travels, by the same rule and code: units counted, and the
    typed table in `outputs` where it is smaller."""
    if kind != "table" or not is_worth_converting(path, parameters):
        return {"units": run_preflight(kind, path, parameters, engine=engine).units, "converted": False}
    target = outputs / TABLE
    request = PivotRequest.from_parameters(parameters)
    done = convert(path, request, target, engine=engine, undeclared="encoding" not in parameters)
    if done.bytes_after >= done.bytes_before:
        target.unlink()
        return {"units": done.found.units, "converted": False}
    return {"units": done.found.units, "converted": True}


def _read(table: Table, engine: Engine) -> tuple[int, list[list[str]]]:
    cells = ", ".join(f"left(CAST(c{at} AS VARCHAR), 1000)" for at in range(len(table.names)))
    with engine.connect(ordered=True) as connection, table.explained(()), table.scan() as source:
        counted = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
        lines = connection.execute(f"SELECT {cells} FROM {source} LIMIT {_SAMPLE_ROWS}").fetchall()
    assert counted is not None
    if not counted[0]:
        raise InvalidInput(
            f"{table.name} has a header and no rows",
            hint="give a table with at least one row",
            file=table.name,
        )
    return int(counted[0]), [["" if cell is None else str(cell) for cell in line] for line in lines]


def _written(
    names: Sequence[str], sample: Sequence[Sequence[str]], declared: Mapping[str, Any]
) -> list[Guess]:
    """How numbers and dates are written, by the columns that look like them."""
    found: list[Guess] = []
    cells = {name: [row[at].strip() for row in sample if row[at].strip()] for at, name in enumerate(names)}
    dated = [name for name, texts in cells.items() if texts and all(map(_DATE.fullmatch, texts))]
    if "decimal" not in declared and "thousands" not in declared:
        amounts = [
            name
            for name, texts in cells.items()
            if texts
            and name not in dated
            and all(_DIGITS.fullmatch(each) and not _is_padded(each) for each in texts)
        ]
        # One way for all of them, else that of the first that is not written plainly.
        tries = (numbers(names, sample, wanted) for wanted in (amounts, *([name] for name in amounts)))
        found += next((each for each in tries if each), [])
    if "date_format" not in declared and dated:
        found += dates(names, sample, {dated[0]: "date"})
    return found


def _is_padded(cell: str) -> bool:
    """Whether a number would lose zeros at its front."""
    digits = cell.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _type(table: Table, at: int, cells: Sequence[str], notation: Notation) -> str:
    if table.name.lower().endswith((".parquet", ".pq")):
        with suppress(InvalidInput):
            stored = table.stored(at).upper()
            for pattern, kind in _STORED:
                if pattern.fullmatch(stored):
                    return kind
        return "text"
    texts = [cell.strip() for cell in cells if cell.strip()]
    if not texts:
        return "text"
    for kind in ("integer", "decimal", "date", "boolean"):
        wanted = parse_type(kind)
        if kind == "boolean" and not all(text.lower() in ("true", "false") for text in texts):
            continue
        # With more digits than any amount it is the number of a card, an account or a document.
        if wanted.numeric and any(_is_padded(text) or sum(map(str.isdigit, text)) > 15 for text in texts):
            continue
        if all(wanted.accepts(text, notation) for text in texts):
            return kind
    return "text"


def _uses(names: Sequence[str], types: Sequence[str], sample: Sequence[Sequence[str]]) -> list[Proposal]:
    """One column to group by, the one with the fewest different texts, and one to add up: the last one of
    amounts."""
    amounts = [
        at
        for at, kind in enumerate(types)
        if kind in ("decimal", "integer") and not _NAMING.search(names[at].lower())
    ]
    value = next((at for at in reversed(amounts) if types[at] == "decimal"), amounts[-1] if amounts else None)
    keys = [
        (len({row[at] for row in sample}), at)
        for at, kind in enumerate(types)
        if at != value and kind in ("text", "date", "boolean")
    ] or [(len({row[at] for row in sample}), at) for at in range(len(names)) if at != value]
    several = [pair for pair in keys if pair[0] > 1]
    row = min(several or keys, default=(0, 0))[1]
    found = []
    for at, name in enumerate(names):
        use = "rows" if at == row else "sum" if at == value else ""
        if value is None and not use and at == next((i for i in range(len(names)) if i != row), -1):
            use = "count"
        found.append(Proposal(name, types[at], use))
    return found


def work(
    files: Sequence[Path], parameters: Mapping[str, Any], outputs: Path, engine: Engine, limit: int | None
) -> Sequence[str]:
    """The step that `parameters` names, of the one file: its answer in `found.json`."""
    (path,) = files
    if parameters["step"] == "look":
        found = look(path, parameters["parameters"], engine)
    else:
        found = make(path, parameters["parameters"], parameters["preflight"], outputs, engine)
    text = json.dumps(found, ensure_ascii=False)
    if len(text.encode()) > MAX_FOUND_BYTES:
        raise InvalidInput(
            f"{path.name} has {len(found['columns']):,} columns, more than a page can show",
            hint="leave out columns that are not needed, or use the command prixfixe run",
            file=path.name,
        )
    (outputs / FOUND).write_text(text, encoding="utf-8")
    return ()


if __name__ == "__main__":
    sys.exit(main(work))
