"""What a pivot asks for: the bundle's parameters as one frozen value.

The JSON Schema in the bundle's definition says the shape to people and services; this class reads the same
shape inside preflight and image, where nothing but the standard library and DuckDB is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import NUMBER, TEXT, ColumnType, parse_type

Aggregate = Literal["sum", "count", "average"]
AGGREGATES: tuple[Aggregate, ...] = ("sum", "count", "average")
DELIMITERS = (",", ";", "\t", "|")
QUOTES = ('"', "'")
MAX_AVERAGE_DECIMALS = 10


class BadParameters(InvalidInput):
    """The request itself is wrong, whatever the table; `parameter` names what is wrong in it."""

    default_code = "invalid-parameters"
    title = "The parameters are not valid"

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}", parameter=parameter)


@dataclass(frozen=True)
class ValueRequest:
    """One column to aggregate. A column that is only counted is not read as a number."""

    column: str
    aggregates: tuple[Aggregate, ...]
    type: ColumnType

    @property
    def summed(self) -> bool:
        return self.type.numeric and any(a != "count" for a in self.aggregates)


@dataclass(frozen=True)
class PivotRequest:
    """A pivot: fields down the side, fields across the top, values in the cells.

    Types that are not declared: a field of rows or columns is text, a value that is summed or averaged is
    `decimal`, a value that is only counted is text.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[ValueRequest, ...]
    types: tuple[tuple[str, ColumnType], ...] = ()
    null_values: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    average_decimals: int = 6

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> PivotRequest:
        """Read a job's parameters; BadParameters names the one at fault."""
        known = {
            "rows",
            "columns",
            "values",
            "types",
            "null_values",
            "delimiter",
            "quote",
            "average_decimals",
        }
        for name in parameters:
            if name not in known:
                raise BadParameters(name, f"is no parameter of a pivot: {', '.join(sorted(known))}")
        rows = _names(parameters, "rows")
        columns = _names(parameters, "columns")
        if not rows:
            raise BadParameters("rows", "name at least one column to group by")
        for name in columns:
            if name in rows:
                raise BadParameters("columns", f"{name!r} is in rows already")
        types = _types(parameters.get("types", {}))
        values = _values(parameters.get("values", ()), dict(types))
        used = {*rows, *columns, *(v.column for v in values)}
        for name, _ in types:
            if name not in used:
                raise BadParameters("types", f"{name!r} has a type but is not in rows, columns or values")
        decimals = parameters.get("average_decimals", 6)
        if (
            not isinstance(decimals, int)
            or isinstance(decimals, bool)
            or not 0 <= decimals <= MAX_AVERAGE_DECIMALS
        ):
            raise BadParameters("average_decimals", f"a whole number from 0 to {MAX_AVERAGE_DECIMALS}")
        return cls(
            rows=rows,
            columns=columns,
            values=values,
            types=types,
            null_values=_names(parameters, "null_values"),
            delimiter=_one_of(parameters, "delimiter", DELIMITERS),
            quote=_one_of(parameters, "quote", QUOTES),
            average_decimals=decimals,
        )

    def key_type(self, column: str) -> ColumnType:
        """Type of a field of rows or columns: what is declared, else text."""
        return dict(self.types).get(column, TEXT)

    @property
    def measures(self) -> tuple[tuple[ValueRequest, Aggregate], ...]:
        """Every (value, aggregate) in the order asked for: one cell each where a row meets a column."""
        return tuple((value, aggregate) for value in self.values for aggregate in value.aggregates)


def _names(parameters: Mapping[str, Any], field: str) -> tuple[str, ...]:
    given = parameters.get(field, ())
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise BadParameters(field, "a list of texts")
    for name in given:
        if not isinstance(name, str):
            raise BadParameters(field, f"a list of texts, and {name!r} is none")
    if len(set(given)) != len(given):
        raise BadParameters(field, "names the same twice")
    return tuple(given)


def _types(given: object) -> tuple[tuple[str, ColumnType], ...]:
    if not isinstance(given, Mapping):
        raise BadParameters("types", "an object of column name to type")
    types = []
    for name, written in given.items():
        try:
            types.append((str(name), parse_type(str(written))))
        except ValueError as error:
            raise BadParameters("types", f"column {name!r}: {error}") from None
    return tuple(sorted(types, key=lambda pair: pair[0]))


def _values(given: object, types: Mapping[str, ColumnType]) -> tuple[ValueRequest, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise BadParameters("values", "name at least one value, such as amount with sum")
    values: list[ValueRequest] = []
    for entry in given:
        if not isinstance(entry, Mapping) or set(entry) != {"column", "aggregates"}:
            raise BadParameters("values", f"each value is {{column, aggregates}}, and {entry!r} is not")
        column, aggregates = entry["column"], _names(entry, "aggregates")
        if not isinstance(column, str):
            raise BadParameters("values", f"column is a text, and {column!r} is none")
        if any(value.column == column for value in values):
            raise BadParameters("values", f"{column!r} is named twice: give all its aggregates in one place")
        if not aggregates:
            raise BadParameters("values", f"{column!r}: name sum, count or average")
        for aggregate in aggregates:
            if aggregate not in AGGREGATES:
                raise BadParameters("values", f"{column!r}: {aggregate!r} is none of sum, count, average")
        counted_only = set(aggregates) == {"count"}
        kind = types.get(column, TEXT if counted_only else NUMBER)
        if not counted_only and not kind.numeric:
            raise BadParameters("types", f"{column!r} is declared {kind}, which cannot be summed or averaged")
        values.append(ValueRequest(column, cast("tuple[Aggregate, ...]", aggregates), kind))
    return tuple(values)


def _one_of(parameters: Mapping[str, Any], field: str, choices: tuple[str, ...]) -> str:
    given = parameters.get(field, choices[0])
    if given not in choices:
        raise BadParameters(field, f"{given!r} is none of {', '.join(map(repr, choices))}")
    return str(given)
