"""A pivot reckoned slowly with Decimal and plain dictionaries, by the written rules and none of the code.

It knows: keys of every type, parts of dates, all aggregates, filters, totals, subtotals, order by a measure,
the top rows, rows that cannot be read, and what the control totals must say of all that.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

WIDE = Context(prec=200, rounding=ROUND_HALF_EVEN)
UNREADABLE = frozenset(("1,5", "1e-3", "0.1234x", "2023-02-29"))
"""The cells that tests use as cells which no number, date or boolean is."""

Record = Sequence[str]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """The lines of pivot.csv, its header among them, and the figures of control.json."""

    lines: list[list[str]]
    rows: dict[str, int]
    values: list[dict[str, Any]]


class Reckoning:
    """One table and one request. Types are declared in `types`, or follow from the use."""

    def __init__(self, table: Sequence[Record], parameters: Mapping[str, Any]) -> None:
        self.head, *self.records = list(table)
        self.rows: list[str] = list(parameters["rows"])
        self.columns: list[str] = list(parameters.get("columns", []))
        self.values: list[Mapping[str, Any]] = list(parameters["values"])
        self.types: Mapping[str, str] = parameters.get("types", {})
        self.nulls = {"", *parameters.get("null_values", [])}
        self.places = parameters.get("average_decimals", 6)
        self.share_places = parameters.get("share_decimals", 6)
        self.filters: list[str] = list(parameters.get("filters", []))
        self.totals = set(parameters.get("totals", []))
        self.sort: str = parameters.get("sort", "")
        self.top: int = parameters.get("top", 0)
        self.selective = bool(self.filters) or parameters.get("tolerate", 0) > 0
        self.measures = [
            (value["column"], aggregate) for value in self.values for aggregate in value["aggregates"]
        ]

    # ------------------------------------------------------------------------------------------------ cells

    def column_of(self, field: str) -> str:
        return field.partition(".")[0]

    def value_type(self, column: str) -> str:
        (aggregates,) = (value["aggregates"] for value in self.values if value["column"] == column)
        counted = set(aggregates) <= {"count", "distinct"}
        return self.types.get(column, "text" if counted else "decimal")

    def filter_type(self, column: str, operator: str) -> str:
        if column in self.types:
            return self.types[column]
        used = [self.value_type(column) for value in self.values if value["column"] == column]
        compared = "decimal" if operator not in ("=", "!=") else "text"
        return used[0] if used and used[0] != "text" else compared

    def blank(self, cell: str, kind: str, *, key: bool) -> bool:
        return cell == "" if key and kind == "text" else cell in self.nulls

    def read(self, cell: str, kind: str) -> Any:
        """A cell that is not blank as its value, in the form that orders it."""
        if kind == "text":
            return cell.encode()
        plain = cell.strip(" ")
        if kind == "date":
            return datetime.date.fromisoformat(plain)
        if kind == "boolean":
            return plain.lower() in ("true", "1")
        return Decimal(plain)

    def decimals(self, column: str, kind: str, *, key: bool) -> int:
        """Places after the point that results of a column show: the declared, or those of its most precise
        cell."""
        if kind.startswith("decimal("):
            return int(kind[:-1].partition(",")[2])
        if kind != "decimal":
            return 0
        cells = (record[self.head.index(column)] for record in self.records)
        written = (
            cell.strip(" ").partition(".")[2]
            for cell in cells
            if not self.blank(cell, kind, key=key) and cell not in UNREADABLE
        )
        return max((min(len(fraction), 10) for fraction in written), default=0)

    def key(self, record: Record, field: str) -> tuple[tuple[bool, Any], str]:
        """How a field's cell is ordered, and how it is written."""
        column, _, part = field.partition(".")
        kind = self.types.get(column, "text")
        cell = record[self.head.index(column)]
        if self.blank(cell, kind, key=True):
            return (True, 0), ""
        value = self.read(cell, kind)
        if part:
            value = _PARTS[part](value)
            return (False, value), str(value)
        if kind == "text":
            return (False, value), cell
        if kind == "boolean":
            return (False, value), "true" if value else "false"
        if kind == "date":
            return (False, value), value.isoformat()
        return (False, value), _written(value, self.decimals(column, kind, key=True))

    # ----------------------------------------------------------------------------------------- which rows

    def rejected(self, record: Record) -> bool:
        """Whether a used cell cannot be read."""
        used = [
            (self.column_of(f), self.types.get(self.column_of(f), "text"))
            for f in (*self.rows, *self.columns)
        ]
        used += [(value["column"], self.value_type(value["column"])) for value in self.values]
        used += [(column, self.filter_type(column, op)) for column, op, _ in map(_split, self.filters)]
        return any(record[self.head.index(column)] in UNREADABLE and kind != "text" for column, kind in used)

    def passes(self, record: Record) -> bool:
        """Whether all filters let a readable record through."""
        return all(self._holds(record, *_split(written)) for written in self.filters)

    def _holds(self, record: Record, column: str, operator: str, wanted: str) -> bool:
        kind = self.filter_type(column, operator)
        cell = record[self.head.index(column)]
        blank = self.blank(cell, kind, key=True)
        if operator in ("=", "!="):
            among = any(
                blank if one == "" else not blank and self.read(cell, kind) == self.read(one, kind)
                for one in wanted.split(",")
            )
            return among == (operator == "=")
        if blank:
            return False
        left, right = self.read(cell, kind), self.read(wanted, kind)
        return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]

    # -------------------------------------------------------------------------------------------- figures

    def present(self, group: Iterable[Record], column: str) -> list[str]:
        """The cells of a value column that hold something."""
        kind, at = self.value_type(column), self.head.index(column)
        return [record[at] for record in group if not self.blank(record[at], kind, key=False)]

    def measure(self, group: Sequence[Record], column: str, aggregate: str) -> Any:
        """An aggregate of a group, exactly; None when it is empty."""
        kind, cells = self.value_type(column), self.present(group, column)
        if aggregate == "count":
            return len(cells)
        read = [self.read(cell, kind) for cell in cells]
        if aggregate == "distinct":
            return len(set(read))
        if not read:
            return None
        if aggregate in ("min", "max"):
            return min(read) if aggregate == "min" else max(read)
        total = _sum(read)
        if aggregate == "sum":
            return total
        if aggregate == "average":
            return _rounded(total, Decimal(len(read)), self.places)
        whole = _sum([self.read(cell, kind) for cell in self.present(self.used, column)])
        return None if whole == 0 else _rounded(total, whole, self.share_places)

    def cell(self, group: Sequence[Record], column: str, aggregate: str) -> str:
        if not group:
            return ""
        found = self.measure(group, column, aggregate)
        if found is None or isinstance(found, int):
            return "" if found is None else str(found)
        if isinstance(found, datetime.date):
            return found.isoformat()
        if aggregate == "average":
            return _written(found, self.places)
        if aggregate == "share":
            return _written(found, self.share_places)
        return _written(found, self.decimals(column, self.value_type(column), key=False))

    # --------------------------------------------------------------------------------------------- result

    def reckon(self) -> Expected | None:
        """What must come out; None when no row is used."""
        readable = [record for record in self.records if not self.rejected(record)]
        self.used = [record for record in readable if self.passes(record)]
        if not self.used:
            return None
        across = self._keys(self.used, self.columns)
        blocks = [*across, None] if "columns" in self.totals and self.columns else across
        lines = [[*self.rows, *(f"{name}{a}({c})" for name in map(_named, blocks) for c, a in self.measures)]]
        for shown, group in self._lines():
            line = list(shown)
            for block in blocks:
                inside = [r for r in group if block is None or self._key(r, self.columns) == block]
                line += [self.cell(inside, column, aggregate) for column, aggregate in self.measures]
            lines.append(line)
        rows = {"in": len(self.records), "used": len(self.used)}
        if self.selective:
            rows["filtered"] = len(readable) - len(self.used)
            rows["rejected"] = len(self.records) - len(readable)
        return Expected(lines, rows, [self._control(value) for value in self.values])

    def _control(self, value: Mapping[str, Any]) -> dict[str, Any]:
        column = value["column"]
        kind = self.value_type(column)
        parts = {"in": self.records, "out": self.used}
        if self.selective:
            parts["rejected"] = [record for record in self.records if self.rejected(record)]
            parts["filtered"] = [
                record for record in self.records if not self.rejected(record) and not self.passes(record)
            ]
        count = {name: len(self.present(part, column)) for name, part in parts.items()}
        amount = None
        summed = kind == "integer" or kind.startswith("decimal")
        if summed and {"sum", "average", "share"} & set(value["aggregates"]):
            places = self.decimals(column, kind, key=False)
            amount = {}
            for name, part in parts.items():
                cells = [cell for cell in self.present(part, column) if cell not in UNREADABLE]
                amount[name] = _written(_sum([self.read(cell, kind) for cell in cells]), places)
        return {
            "column": column,
            "type": kind,
            "count": count,
            "blank": len(self.used) - count["out"],
            "sum": amount,
        }

    def _key(self, record: Record, fields: Sequence[str]) -> Key:
        return tuple(self.key(record, field)[1] for field in fields)

    def _keys(self, group: Sequence[Record], fields: Sequence[str]) -> list[Key]:
        """The different keys of a group in their order."""
        found = {}
        for record in group:
            parts = [self.key(record, field) for field in fields]
            found[tuple(text for _, text in parts)] = [order for order, _ in parts]
        return sorted(found, key=lambda key: found[key])

    def _lines(self) -> list[tuple[Key, Sequence[Record]]]:
        """Each line's shown key and its records, in order."""
        groups: dict[Key, list[Record]] = {key: [] for key in self._keys(self.used, self.rows)}
        for record in self.used:
            groups[self._key(record, self.rows)].append(record)
        side = len(self.rows)
        lines: list[tuple[Key, Sequence[Record]]]
        if self.sort:
            lines = self._ranked(groups)
        else:
            lines = []
            keys = list(groups)
            for i, key in enumerate(keys):
                lines.append((key, groups[key]))
                following = keys[i + 1] if i + 1 < len(keys) else None
                for depth in range(side - 1, 0, -1):
                    ends = following is None or following[:depth] != key[:depth]
                    if "subtotals" in self.totals and ends:
                        inside = [r for other in keys if other[:depth] == key[:depth] for r in groups[other]]
                        lines.append(((*key[:depth], "(total)", *[""] * (side - depth - 1)), inside))
        if "rows" in self.totals:
            lines.append((("(total)", *[""] * (side - 1)), self.used))
        return lines

    def _ranked(self, groups: Mapping[Key, list[Record]]) -> list[tuple[Key, Sequence[Record]]]:
        measure, _, way = self.sort.partition(" ")
        aggregate, _, column = measure.rstrip(")").partition("(")
        found = {key: self.measure(group, column, aggregate) for key, group in groups.items()}
        keys = [key for key in groups if found[key] is not None]
        # The sort is stable, backwards too: equal measures stay in the order of their keys.
        keys.sort(key=lambda key: found[key], reverse=way != "asc")
        keys += [key for key in groups if found[key] is None]
        top = self.top or len(keys)
        lines: list[tuple[Key, Sequence[Record]]] = [(key, groups[key]) for key in keys[:top]]
        rest = [record for key in keys[top:] for record in groups[key]]
        if rest:
            lines.append((("(others)", *[""] * (len(self.rows) - 1)), rest))
        return lines


def expected(table: Sequence[Record], parameters: Mapping[str, Any]) -> Expected | None:
    """What the pivot of `table` must be; None when no row is used."""
    return Reckoning(table, parameters).reckon()


_PARTS: Mapping[str, Callable[[datetime.date], Any]] = {
    "year": lambda day: day.year,
    "quarter": lambda day: f"{day.year:04d}-Q{(day.month + 2) // 3}",
    "month": lambda day: f"{day.year:04d}-{day.month:02d}",
    "quarter-number": lambda day: (day.month + 2) // 3,
    "month-number": lambda day: day.month,
    "weekday": lambda day: day.isoweekday(),
}


def _split(written: str) -> tuple[str, str, str]:
    for operator in ("!=", "<=", ">=", "=", "<", ">"):
        column, found, wanted = written.partition(operator)
        if found:
            return column, operator, wanted
    raise AssertionError(written)


def _named(block: Key | None) -> str:
    parts = ("(total)",) if block is None else tuple(part or "(blank)" for part in block)
    return "".join(f"{part} / " for part in parts)


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = WIDE.add(total, number)
    return total


def _rounded(above: Decimal, below: Decimal, places: int) -> Decimal:
    return WIDE.divide(above, below).quantize(Decimal(1).scaleb(-places), context=WIDE)


def _written(number: Decimal, places: int) -> str:
    return f"{number.copy_abs() if number == 0 else number:.{places}f}"
