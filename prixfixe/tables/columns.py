"""Declared column types: how a cell's text is read, in SQL and in Python, by one grammar.

A type is written `text`, `integer`, `decimal`, `decimal(p,s)`, `date` or `boolean`. The grammar of each is
one regular expression in the subset that RE2 (DuckDB) and Python's `re` read alike, so that the fast reader
and the slow one that explains errors accept the same cells.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["text", "integer", "decimal", "date", "boolean"]

MAX_DIGITS = 28
"""Digits of the widest number. A sum of ten thousand million of them fits the 38 digits that DuckDB keeps
exactly, so a sum never overflows half way, whatever the order in which threads add."""

_WRITTEN = re.compile(r"^(text|integer|date|boolean|decimal)(?:\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\))?$")


@dataclass(frozen=True)
class ColumnType:
    """A declared type; `scale` is the number of decimal places.

    `open_scale` says that no scale was declared (`decimal`): up to 18 digits before the point and 10 after
    it are read, and results show as many decimals as the most precise cell of the column has.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    open_scale: bool = False

    @property
    def numeric(self) -> bool:
        """Whether cells can be added."""
        return self.kind in ("integer", "decimal")

    def __str__(self) -> str:
        if self.kind == "decimal" and not self.open_scale:
            return f"decimal({self.precision},{self.scale})"
        return self.kind

    @cached_property
    def pattern(self) -> str:
        """What a cell that is not blank must match in full, spaces around it aside. Empty for text."""
        match self.kind:
            case "text":
                return ""
            case "date":
                return "[0-9]{4}-[0-9]{2}-[0-9]{2}"
            case "boolean":
                return "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|1|0"
            case "integer" | "decimal":
                whole, places = self.precision - self.scale, self.scale
                digits = f"0*[0-9]{{1,{whole}}}" if whole else "0+"
                fraction = f"[0-9]{{1,{places}}}0*" if places else "0+"
                # Digits beyond the scale may only be zeros: nothing is ever rounded on the way in.
                return rf"[+-]?({digits}(\.({fraction})?)?|\.{fraction})"

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @property
    def sql_type(self) -> str:
        match self.kind:
            case "text":
                return "VARCHAR"
            case "date":
                return "DATE"
            case "boolean":
                return "BOOLEAN"
            case "integer" | "decimal":
                return f"DECIMAL({self.precision},{self.scale})"

    def accepts(self, cell: str) -> bool:
        """Whether `cell` (not blank, no spaces around it) can be read as this type."""
        if self.kind == "text":
            return True
        if self._regex.fullmatch(cell) is None:
            return False
        if self.kind == "date":
            try:
                datetime.date.fromisoformat(cell)
            except ValueError:
                return False
        return True

    @property
    def description(self) -> str:
        """The type in words, for an error's sentence: "a number with at most 2 decimals"."""
        match self.kind:
            case "text":
                return "text"
            case "date":
                return "a date written YYYY-MM-DD"
            case "boolean":
                return "true or false (or 1 or 0)"
            case "integer":
                return f"a whole number of at most {self.precision} digits"
            case "decimal":
                return (
                    f"a number with a point, at most {self.precision - self.scale} digits before it and "
                    f"{self.scale} after it"
                )


TEXT = ColumnType("text")
NUMBER = ColumnType("decimal", MAX_DIGITS, 10, open_scale=True)


def parse_type(written: str) -> ColumnType:
    """Read `decimal(18,2)` and the like. ValueError says what is wrong with it."""
    match = _WRITTEN.match(written.strip().lower())
    if match is None:
        raise ValueError(
            f"{written!r} is no column type: text, integer, decimal, decimal(18,2), date or boolean"
        )
    name, precision, scale = match.groups()
    if precision is not None:
        if name != "decimal":
            raise ValueError(f"{written!r}: only decimal takes digits in brackets")
        digits, places = int(precision), int(scale)
        if not 1 <= digits <= MAX_DIGITS or places > digits:
            raise ValueError(
                f"{written!r}: 1 to {MAX_DIGITS} digits in all, and no more decimals than digits"
            )
        return ColumnType("decimal", digits, places)
    match name:
        case "decimal":
            return NUMBER
        case "integer":
            return ColumnType("integer", MAX_DIGITS, 0)
        case "date":
            return ColumnType("date")
        case "boolean":
            return ColumnType("boolean")
        case _:
            return TEXT


def literal(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class ColumnUse:
    """One column of the file, read as one type.

    `blanks` are cells that mean "no value" (such as `NA`), beside the empty cell. A text key has none:
    there the cell is taken as it stands, and only an empty one is blank.
    """

    index: int
    name: str
    type: ColumnType
    blanks: tuple[str, ...] = ()

    def sql_text(self) -> str:
        """SQL for the cell's text, NULL when blank (the reader has made an empty cell NULL)."""
        cell = f"c{self.index}"
        if not self.blanks:
            return cell
        return f"CASE WHEN {cell} IN ({', '.join(map(literal, self.blanks))}) THEN NULL ELSE {cell} END"

    def sql_value(self, text: str) -> str:
        """SQL for the typed value of `text`, an SQL expression: NULL when blank or unreadable."""
        return text if self.type.kind == "text" else f"try_cast({text} AS {self.type.sql_type})"

    def sql_bad(self, text: str, value: str) -> str:
        """SQL that is true for a cell which is neither blank nor readable; `value` is its `sql_value`."""
        if self.type.kind == "text":
            return "false"
        bad = f"NOT regexp_full_match({text}, {literal(f' *({self.type.pattern}) *')})"
        if self.type.kind == "date":
            # Year 0 is a date to DuckDB and none to Python, Excel or an accountant.
            bad += f" OR {value} IS NULL OR starts_with(ltrim({text}, ' '), '0000')"
        return f"{text} IS NOT NULL AND ({bad})"

    def sql_decimals(self, text: str) -> str:
        """SQL for how many decimal places the cell is written with (no more than the scale)."""
        point = f"strpos({text}, '.')"
        trimmed = (
            f"CASE WHEN ends_with({text}, ' ') THEN rtrim({text}, ' ') ELSE {text} END"  # trims are slow
        )
        return f"CASE WHEN {point} > 0 THEN least(strlen({trimmed}) - {point}, {self.type.scale}) ELSE 0 END"

    def bad(self, cell: str) -> bool:
        """The same as `sql_bad`, for one cell in Python."""
        if self.type.kind == "text" or cell == "" or cell in self.blanks:
            return False
        return not self.type.accepts(cell.strip(" "))
