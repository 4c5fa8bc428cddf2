"""Which rows are used: conditions as people write them, `year=2023,2024`, `amount>=100`, `region!=`."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prixfixe.tables.columns import NUMBER, TEXT, ColumnType, literal

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
_WRITTEN = re.compile(
    r'^\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^<>=!"]+?))\s*(?P<op><=|>=|!=|=|<|>)(?P<rest>.*)$', re.S
)


@dataclass(frozen=True)
class Filter:
    """One condition; a row is used when all of them hold.

    `=` and `!=` take several values: any of them, none of them. An empty value means a blank cell. A blank
    cell is unequal to every value, and neither less nor greater than one.
    """

    written: str
    column: str
    operator: Operator
    values: tuple[str, ...]
    type: ColumnType

    def sql(self, text: str, value: str) -> str:
        """SQL that is true for a row that the condition lets through, never NULL."""
        if self.operator not in ("=", "!="):
            return f"coalesce({value} {self.operator} {self._literal(self.values[0])}, false)"
        given = [self._literal(v) for v in self.values if v != ""]
        among = f"coalesce({value} IN ({', '.join(given)}), false)" if given else "false"
        if "" in self.values:
            among = f"({among} OR {text} IS NULL)"
        return among if self.operator == "=" else f"NOT {among}"

    def _literal(self, value: str) -> str:
        if self.type.kind == "text":
            return literal(value)
        return f"CAST({literal(value.strip())} AS {self.type.sql_type})"


def parse_filter(written: str, types: Mapping[str, ColumnType]) -> Filter:
    """Read a condition. ValueError says what is wrong. Values are written as programs write them: 1234.56,
    YYYY-MM-DD."""
    match = _WRITTEN.match(written)
    if match is None:
        raise ValueError(f"{written!r} is no condition, such as year=2023,2024 or amount>=100 or region!=")
    column = match["quoted"].replace('""', '"') if match["quoted"] else match["plain"]
    operator: Operator = match["op"]  # type: ignore[assignment]  # the expression lets no other through
    rest = match["rest"].strip()
    compared = operator not in ("=", "!=")
    try:
        values = (
            [rest] if compared else next(csv.reader([rest], skipinitialspace=True, strict=True), []) or [""]
        )
    except csv.Error as error:
        raise ValueError(f"{written!r}: {error}") from None
    kind = types.get(column, NUMBER if compared else TEXT)
    if compared and kind.kind in ("text", "boolean"):
        raise ValueError(f"{written!r}: {column!r} is {kind}, which is neither less nor greater")
    for value in values:
        if value == "" and compared:
            raise ValueError(f"{written!r} compares with nothing")
        if value != "" and not kind.accepts(value.strip()):
            raise ValueError(f"{written!r}: {value!r} is not {kind.describe()}")
    return Filter(written, column, operator, tuple(values), kind)
