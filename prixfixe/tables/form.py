"""The command line's form of a bundle's parameters, drawn from the bundle's JSON Schema.

No bundle has options of its own in the code: the shape of each property says how it is typed.

    array of texts                       --rows carrier,origin        repeatable; commas separate,
                                                                  "a,b" quotes
    array of texts of format "line"      --filters year=2023,2024     repeatable; taken whole
    array of {column, aggregates}        --values amount:sum,count    repeatable; one column each
    object of texts                      --types month:integer        repeatable
    integer, text, boolean               --average-decimals 2
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prixfixe.errors import InvalidInput
from prixfixe.tables.progress import Report, unheard

if TYPE_CHECKING:
    from prixfixe.tables.reader import Engine
    from prixfixe.tables.splitting import Count
    from prixfixe.tables.survey import Preflight

Shape = Literal["names", "lines", "values", "pairs", "integer", "boolean", "text"]


@dataclass(frozen=True)
class FormOption:
    """One option of the form: `--average-decimals` for the property `average_decimals`."""

    name: str
    shape: Shape
    required: bool
    help: str
    metavar: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def repeatable(self) -> bool:
        return self.shape in ("names", "lines", "values", "pairs")


_METAVARS: Mapping[Shape, str] = {
    "names": "NAME[,NAME...]",
    "lines": "TEXT",
    "values": "COLUMN:AGGREGATE[,AGGREGATE...]",
    "pairs": "NAME:VALUE",
    "integer": "NUMBER",
    "boolean": "yes|no",
    "text": "TEXT",
}


def options(schema: Mapping[str, Any]) -> tuple[FormOption, ...]:
    """The options of a bundle's parameters, in the schema's order."""
    required = schema.get("required", ())
    found = []
    for name, part in schema.get("properties", {}).items():
        shape = _shape(part)
        about = str(part.get("description") or part.get("title") or "")
        if "default" in part and part["default"] not in ([], {}, ""):
            about += f" [default: {part['default']}]"
        choices = tuple(str(choice) for choice in part.get("enum", ()))
        found.append(FormOption(name, shape, name in required, about.strip(), _METAVARS[shape], choices))
    return tuple(found)


def parse_form(schema: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Parameters of what was typed: for each property the texts given to its option, in order.

    InvalidInput names the option. Whether the whole fits the schema is for the definition to say.
    """
    known = {option.name: option for option in options(schema)}
    parameters: dict[str, Any] = {}
    for name, texts in given.items():
        if not texts:
            continue
        option = known.get(name)
        if option is None:
            raise InvalidInput(
                f"there is no parameter {name!r}",
                code="invalid-parameters",
                hint="the parameters are " + ", ".join(known),
                parameter=name,
            )
        parameters[name] = _parse(option, texts)
    return parameters


def pivot_parameters(
    rows: Sequence[str],
    columns: Sequence[str] = (),
    values: Sequence[str] = (),
    types: Sequence[str] = (),
    null_values: Sequence[str] = (),
    **scalars: str | int,
) -> dict[str, Any]:
    """A pivot's parameters from texts as one types them: `values=["delay:average,count"]`."""
    parameters: dict[str, Any] = {"rows": _names("--rows", rows), "columns": _names("--columns", columns)}
    parameters["values"] = [_value("--values", text) for text in values]
    if types:
        parameters["types"] = dict(_pair("--types", text) for text in types)
    if null_values:
        parameters["null_values"] = _names("--null-values", null_values)
    return {**parameters, **scalars}


def run_preflight(
    kind: str,
    path: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    report: Report = unheard,
    *,
    engine: Engine | None = None,
) -> Preflight | Count:
    """The preflight that a bundle's definition names in `inputs.preflight`; `units` of its answer picks the
    tier. report: told the share of the file that is read, when that takes a while. engine: what may be used
    of this machine."""
    if kind == "rows":
        from prixfixe.tables.splitting import count_rows

        return count_rows(Path(path), parameters, engine=engine, report=report)
    if kind != "table":
        raise InvalidInput(f"this version knows no preflight {kind!r}", hint="install a newer version")
    from prixfixe.tables.survey import preflight

    return preflight(path, parameters, engine=engine, report=report)


def _shape(part: Mapping[str, Any]) -> Shape:
    match part.get("type"):
        case "array":
            items = part.get("items", {})
            # Texts of the format "line" may have commas of their own.
            whole: Shape = "lines" if items.get("format") == "line" else "names"
            return "values" if items.get("type") == "object" else whole
        case "object":
            return "pairs"
        case "integer":
            return "integer"
        case "boolean":
            return "boolean"
        case _:
            return "text"


def _parse(option: FormOption, texts: Sequence[str]) -> Any:
    match option.shape:
        case "names":
            return _names(option.flag, texts)
        case "lines":
            return list(texts)
        case "values":
            return [_value(option.flag, text) for text in texts]
        case "pairs":
            pairs = [_pair(option.flag, text) for text in texts]
            if len(dict(pairs)) != len(pairs):
                raise _wrong(option.flag, "names the same twice")
            return dict(pairs)
        case "integer":
            try:
                return int(texts[-1])
            except ValueError:
                raise _wrong(option.flag, f"{texts[-1]!r} is no whole number") from None
        case "boolean":
            word = texts[-1].lower()
            if word not in ("yes", "no", "true", "false"):
                raise _wrong(option.flag, f"{texts[-1]!r} is neither yes nor no")
            return word in ("yes", "true")
        case "text":
            return _unescape(texts[-1])


def _names(flag: str, texts: Sequence[str]) -> list[str]:
    return [name for text in texts for name in _split(flag, text)]


def _value(flag: str, text: str) -> dict[str, Any]:
    # The last colon separates: a column's name may have colons, an aggregate's has none.
    column, colon, aggregates = text.rpartition(":")
    if not colon or not column:
        raise _wrong(flag, f"{text!r} is not COLUMN:AGGREGATE, such as amount:sum or delay:average,count")
    return {"column": column, "aggregates": [part.strip().lower() for part in aggregates.split(",")]}


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, colon, value = text.rpartition(":")
    if not colon or not name:
        raise _wrong(flag, f"{text!r} is not NAME:VALUE, such as month:integer or amount:decimal(18,2)")
    return name, value.strip()


def _split(flag: str, text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise _wrong(flag, f"{text!r} cannot be read: {error}") from None


def _unescape(text: str) -> str:
    r"""`\t` typed in a shell means a tab."""
    return "\t" if text == r"\t" else text


def _wrong(flag: str, message: str) -> InvalidInput:
    return InvalidInput(f"{flag}: {message}", code="invalid-parameters", parameter=flag.removeprefix("--"))
