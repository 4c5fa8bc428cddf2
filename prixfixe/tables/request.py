"""What a pivot is asked to do, read once from a job's parameters into frozen types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from prixfixe.tables.columns import NUMBER, TEXT, ColumnType, parse_type
from prixfixe.tables.filters import Filter, parse_filter
from prixfixe.tables.looked import SOURCE_PARAMETERS
from prixfixe.tables.source import PLAIN_SOURCE, BadParameters, Source

__all__ = ["AGGREGATES", "Aggregate", "BadParameters", "PivotRequest", "ValueRequest"]

Aggregate = Literal["sum", "count", "average", "distinct", "min", "max", "share"]
AGGREGATES: tuple[Aggregate, ...] = ("sum", "count", "average", "distinct", "min", "max", "share")
DATE_PARTS = {
    "year": ColumnType("integer", 4),
    "quarter": TEXT,
    "month": TEXT,
    "quarter-number": ColumnType("integer", 4),
    "month-number": ColumnType("integer", 4),
    "weekday": ColumnType("integer", 4),
}
"""`day.quarter` is 2024-Q1 and `day.month` 2024-03, in order of time; `day.weekday` is 1 for Monday."""
TOTALS = ("rows", "columns", "subtotals")
MAX_DECIMALS = 10
MAX_TOLERATED = 100_000
_SORT = re.compile(r"^(sum|count|distinct|min|max)\((.*)\)(?:\s+(asc|desc))?$", re.S)


@dataclass(frozen=True)
class ValueRequest:
    """One column to aggregate. A column that is only counted is not read as a number."""

    column: str
    aggregates: tuple[Aggregate, ...]
    type: ColumnType

    @property
    def summed(self) -> bool:
        """Whether its sum is needed, or stands among the control totals."""
        return self.type.numeric and any(a in ("sum", "average", "share") for a in self.aggregates)

    @property
    def ranged(self) -> bool:
        """Whether its smallest and largest values are needed."""
        return "min" in self.aggregates or "max" in self.aggregates


@dataclass(frozen=True)
class Sort:
    """Rows by a measure over their whole line, instead of by their keys."""

    column: str
    aggregate: Aggregate
    descending: bool


@dataclass(frozen=True)
class PivotRequest:
    """A pivot: fields down the side, fields across the top, values in the cells.

    Types that are not declared: a field of rows or columns is text, a value that is summed or averaged is
    `decimal`, a value that is only counted is text. A field `day.month`, of a column `day` that is declared
    a date, is that part of the date.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[ValueRequest, ...]
    types: tuple[tuple[str, ColumnType], ...] = ()
    null_values: tuple[str, ...] = ()
    source: Source = PLAIN_SOURCE
    average_decimals: int = 6
    share_decimals: int = 6
    filters: tuple[Filter, ...] = ()
    totals: frozenset[str] = frozenset()
    sort: Sort | None = None
    top: int = 0
    tolerate: int = 0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> PivotRequest:
        """Read a job's parameters; BadParameters names the one at fault."""
        known = {
            *("rows", "columns", "values", "types", "null_values", "average_decimals", "share_decimals"),
            *("filters", "totals", "sort", "top", "tolerate"),
            *SOURCE_PARAMETERS,
        }
        for name in parameters:
            if name not in known:
                raise BadParameters(name, f"is no parameter of a pivot: {', '.join(sorted(known))}")
        rows = names_of(parameters, "rows")
        columns = names_of(parameters, "columns")
        if not rows:
            raise BadParameters("rows", "name at least one column to group by")
        for name in columns:
            if name in rows:
                raise BadParameters("columns", f"{name!r} is in rows already")
        types = types_of(parameters.get("types", {}))
        values = _values(parameters.get("values", ()), dict(types))
        # `amount=5` lets 5.00 through where amount is added up, whether its type was declared or not.
        read = {value.column: value.type for value in values if value.type.kind != "text"}
        filters = filters_of(parameters, {**read, **dict(types)})
        made = cls(
            rows=rows,
            columns=columns,
            values=values,
            types=types,
            null_values=names_of(parameters, "null_values"),
            source=Source.from_parameters(parameters),
            average_decimals=_whole(parameters, "average_decimals", 6, MAX_DECIMALS),
            share_decimals=_whole(parameters, "share_decimals", 6, MAX_DECIMALS),
            filters=filters,
            totals=_totals(parameters),
            sort=_sort(parameters.get("sort", ""), values),
            top=_whole(parameters, "top", 0, 1_000_000),
            tolerate=_whole(parameters, "tolerate", 0, MAX_TOLERATED),
        )
        used = made.used_columns
        for name, _ in types:
            if name not in used:
                raise BadParameters("types", f"{name!r} has a type but is not in rows, columns or values")
        made._check_order()
        return made

    def _check_order(self) -> None:
        if self.top and self.sort is None:
            raise BadParameters("top", "say by what: sort, such as sum(amount)")
        if self.sort is not None and "subtotals" in self.totals:
            raise BadParameters("sort", "rows that are sorted by a measure have no subtotals")
        if self.top and any("distinct" in value.aggregates for value in self.values):
            raise BadParameters(
                "top", "distinct counts of the other rows cannot be added: leave distinct out"
            )

    @property
    def used_columns(self) -> frozenset[str]:
        """Every column of the table that is read."""
        fields = (self.column_of(name) for name in (*self.rows, *self.columns))
        return frozenset((*fields, *(v.column for v in self.values), *(f.column for f in self.filters)))

    def part_of(self, field: str) -> str | None:
        """The part of a date that a field is, None for a plain column."""
        column, point, part = field.rpartition(".")
        types = dict(self.types)
        dated = point and part in DATE_PARTS and field not in types
        return part if dated and column in types and types[column].kind == "date" else None

    def column_of(self, field: str) -> str:
        """The table's column that a field of rows or columns comes from."""
        return field.rpartition(".")[0] if self.part_of(field) else field

    def column_type(self, field: str) -> ColumnType:
        """How the cells of a field's column are read."""
        return dict(self.types).get(self.column_of(field), TEXT)

    def key_type(self, field: str) -> ColumnType:
        """Type of a field of rows or columns: what is declared, else text; of a date's part, its own."""
        part = self.part_of(field)
        return DATE_PARTS[part] if part else self.column_type(field)

    @property
    def selective(self) -> bool:
        """Whether rows may be left out: by a condition, or because they cannot be read."""
        return bool(self.filters) or self.tolerate > 0

    @property
    def measures(self) -> tuple[tuple[ValueRequest, Aggregate], ...]:
        """Every (value, aggregate) in the order asked for: one cell each where a row meets a column."""
        return tuple((value, aggregate) for value in self.values for aggregate in value.aggregates)


def names_of(parameters: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A list of texts, each once."""
    given = parameters.get(field, ())
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise BadParameters(field, "a list of texts")
    for name in given:
        if not isinstance(name, str):
            raise BadParameters(field, f"a list of texts, and {name!r} is none")
    if len(set(given)) != len(given):
        raise BadParameters(field, "names the same twice")
    return tuple(given)


def types_of(given: object) -> tuple[tuple[str, ColumnType], ...]:
    """Declared types by column, in the order of the names."""
    if not isinstance(given, Mapping):
        raise BadParameters("types", "an object of column name to type")
    types = []
    for name, written in given.items():
        try:
            types.append((str(name), parse_type(str(written))))
        except ValueError as error:
            raise BadParameters("types", f"column {name!r}: {error}") from None
    return tuple(sorted(types, key=lambda pair: pair[0]))


def filters_of(parameters: Mapping[str, Any], types: Mapping[str, ColumnType]) -> tuple[Filter, ...]:
    """The conditions of `filters`."""
    try:
        return tuple(parse_filter(written, types) for written in names_of(parameters, "filters"))
    except ValueError as error:
        raise BadParameters("filters", str(error)) from None


def _values(given: object, types: Mapping[str, ColumnType]) -> tuple[ValueRequest, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise BadParameters("values", "name at least one value, such as amount with sum")
    values: list[ValueRequest] = []
    for entry in given:
        if not isinstance(entry, Mapping) or set(entry) != {"column", "aggregates"}:
            raise BadParameters("values", f"each value is {{column, aggregates}}, and {entry!r} is not")
        column, aggregates = entry["column"], names_of(entry, "aggregates")
        if not isinstance(column, str):
            raise BadParameters("values", f"column is a text, and {column!r} is none")
        if any(value.column == column for value in values):
            raise BadParameters("values", f"{column!r} is named twice: give all its aggregates in one place")
        if not aggregates:
            raise BadParameters("values", f"{column!r}: name one of {', '.join(AGGREGATES)}")
        for aggregate in aggregates:
            if aggregate not in AGGREGATES:
                raise BadParameters("values", f"{column!r}: {aggregate!r} is none of {', '.join(AGGREGATES)}")
        wanted = set(aggregates)
        counted_only = wanted <= {"count", "distinct"}
        kind = types.get(column, TEXT if counted_only else NUMBER)
        ordered = wanted <= {"count", "distinct", "min", "max"}
        if not (kind.numeric or counted_only or (ordered and kind.kind == "date")):
            raise BadParameters("types", f"{column!r} is declared {kind}, which cannot be summed or averaged")
        values.append(ValueRequest(column, cast("tuple[Aggregate, ...]", aggregates), kind))
    return tuple(values)


def _totals(parameters: Mapping[str, Any]) -> frozenset[str]:
    given = names_of(parameters, "totals")
    for name in given:
        if name not in TOTALS:
            raise BadParameters("totals", f"{name!r} is none of {', '.join(TOTALS)}")
    return frozenset(given)


def _sort(given: object, values: Sequence[ValueRequest]) -> Sort | None:
    if given == "":
        return None
    match = _SORT.match(given.strip()) if isinstance(given, str) else None
    if match is None:
        raise BadParameters("sort", f"{given!r} is no measure, such as sum(amount) or count(id) asc")
    aggregate, column = cast("Aggregate", match[1]), match[2]
    if not any(value.column == column and aggregate in value.aggregates for value in values):
        raise BadParameters("sort", f"{aggregate}({column}) is not among the values")
    return Sort(column, aggregate, match[3] != "asc")


def _whole(parameters: Mapping[str, Any], field: str, default: int, most: int) -> int:
    given = parameters.get(field, default)
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= most:
        raise BadParameters(field, f"a whole number from 0 to {most}")
    return given
