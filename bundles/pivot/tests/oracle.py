"""A pivot reckoned slowly with Decimal and plain dictionaries, by the written rules and none of the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

WIDE = Context(prec=200, rounding=ROUND_HALF_EVEN)


def expected(table: Sequence[Sequence[str]], parameters: Mapping[str, Any]) -> list[list[str]]:
    """The rows of pivot.csv, its header among them, for text keys and open decimals."""
    head, *records = table
    rows, columns, values = parameters["rows"], parameters.get("columns", []), parameters["values"]
    blanks = {"", *parameters.get("null_values", [])}
    places = parameters.get("average_decimals", 6)
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Sequence[str]]] = {}
    for record in records:
        key = tuple(record[head.index(name)] for name in rows)
        across = tuple(record[head.index(name)] for name in columns)
        groups.setdefault((key, across), []).append(record)
    measures = [(value["column"], aggregate) for value in values for aggregate in value["aggregates"]]
    row_keys = sorted({key for key, _ in groups}, key=_order)
    column_keys = sorted({across for _, across in groups}, key=_order)
    heads = [
        " / ".join([*(part or "(blank)" for part in across), f"{aggregate}({column})"])
        for across in column_keys
        for column, aggregate in measures
    ]
    lines = [[*rows, *heads]]
    for key in row_keys:
        line = list(key)
        for across in column_keys:
            for column, aggregate in measures:
                group = groups.get((key, across))
                line.append("" if group is None else _cell(table, group, column, aggregate, blanks, places))
        lines.append(line)
    return lines


def _order(key: tuple[str, ...]) -> list[tuple[bool, bytes]]:
    return [(part == "", part.encode()) for part in key]


def _cell(
    table: Sequence[Sequence[str]],
    group: Sequence[Sequence[str]],
    column: str,
    aggregate: str,
    blanks: set[str],
    places: int,
) -> str:
    at = table[0].index(column)
    cells = [record[at] for record in group if record[at] not in blanks]
    if aggregate == "count":
        return str(len(cells))
    if not cells:
        return ""
    total = Decimal(0)
    for cell in cells:
        total = WIDE.add(total, Decimal(cell.strip(" ")))
    if aggregate == "sum":
        return f"{total:.{decimals(table, column, blanks)}f}"
    mean = WIDE.divide(total, Decimal(len(cells))).quantize(Decimal(1).scaleb(-places), context=WIDE)
    return f"{abs(mean) if mean == 0 else mean:f}"


def decimals(table: Sequence[Sequence[str]], column: str, blanks: set[str]) -> int:
    """Decimal places of the most precise cell of a column."""
    at = table[0].index(column)
    written = (record[at].strip(" ").partition(".")[2] for record in table[1:] if record[at] not in blanks)
    return max((min(len(fraction), 10) for fraction in written), default=0)
