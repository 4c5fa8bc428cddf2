"""Declared column types: how a cell's text is read, in SQL and in Python, by one grammar.

A type is written `text`, `integer`, `decimal`, `decimal(p,s)`, `date` or `boolean`. The grammar of each is
one regular expression in the subset that RE2 (DuckDB) and Python's `re` read alike, so that the fast reader
and the slow one that explains errors accept the same cells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from prixfixe.tables.notation import PLAIN, Notation

Kind = Literal["text", "integer", "decimal", "date", "boolean"]

MAX_DIGITS = 28
"""Digits of the widest number. A sum of ten thousand million of them fits the 38 digits that DuckDB keeps
exactly, so a sum never overflows half way, whatever the order in which threads add."""

MAX_SHEET_TEXT = 32_767
"""Characters of a text that a sheet's cell holds."""

_WRITTEN = re.compile(r"^(text|integer|date|boolean|decimal)(?:\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\))?$")


@dataclass(frozen=True)
class ColumnType:
    """A declared type; `scale` is the number of decimal places.

    `open_scale` says that no scale was declared (`decimal`): up to 18 digits before the point and 10 after
    it are read, and results show as many decimals as the most precise cell of the column has. `as_written`
    says that not even a zero may follow the scale: then no cell is written with more decimals than that.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    open_scale: bool = False
    as_written: bool = False

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
                if self.as_written:
                    return rf"[+-]?({digits}(\.[0-9]{{0,{places}}})?" + (
                        rf"|\.[0-9]{{1,{places}}})" if places else ")"
                    )
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

    def accepts(self, cell: str, notation: Notation = PLAIN) -> bool:
        """Whether `cell` (not blank, no spaces around it) can be read as this type."""
        if self.kind == "text":
            return "\x00" not in cell
        if self.kind == "date":
            return notation.date(cell) is not None
        plain = notation.plain(cell) if self.numeric else cell
        return plain is not None and self._regex.fullmatch(plain) is not None

    def describe(self, notation: Notation = PLAIN) -> str:
        """The type in words, for an error's sentence: "a number with at most 2 decimals"."""
        match self.kind:
            case "text":
                return "text without NUL characters"
            case "date":
                return f"a date written {notation.date_format}"
            case "boolean":
                return "true or false (or 1 or 0)"
            case "integer":
                return f"a whole number of at most {self.precision} digits"
            case "decimal":
                mark = "point" if notation.decimal == "." else "comma"
                return (
                    f"a number with a {mark}, at most {self.precision - self.scale} digits before it and "
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
    there the cell is taken as it stands, and only an empty one is blank. `stored` is the SQL type that the
    file itself gives the column: VARCHAR in a CSV, anything in Parquet. `longest`: characters that a text may
    have, 0 for any number. `trusted` texts are not looked at: whoever trusts them looks later. `few`: the
    only texts that the column has, as far as anybody looked; empty when that is not known.
    """

    index: int
    name: str
    type: ColumnType
    blanks: tuple[str, ...] = ()
    notation: Notation = PLAIN
    stored: str = "VARCHAR"
    longest: int = 0
    trusted: bool = False
    few: tuple[str, ...] = ()

    def describe(self) -> str:
        """What a cell must be, in words."""
        if self.type.kind == "text" and self.longest:
            return f"text without NUL, of at most {self.longest:,} characters, as a sheet's cell holds"
        return self.type.describe(self._notation)

    @property
    def native(self) -> bool:
        """Whether the file holds values of the declared kind, so that no text is read."""
        numbers = self.stored.startswith("DECIMAL") or self.stored in _INTEGERS
        return {
            "integer": numbers,
            "decimal": numbers,
            "date": self.stored == "DATE",
            "boolean": self.stored == "BOOLEAN",
            "text": False,
        }[self.type.kind]

    @property
    def lossless(self) -> bool:
        """Whether every number that the file can store is one of the declared type."""
        match = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", self.stored) if self.native else None
        if match is None:
            return False
        scale = int(match[2])
        return scale <= self.type.scale and int(match[1]) - scale <= self.type.precision - self.type.scale

    @property
    def stored_decimals(self) -> int | None:
        """Decimals of a stored number; None when the column holds texts."""
        if not self.native:
            return None
        match = re.fullmatch(r"DECIMAL\(\d+,(\d+)\)", self.stored)
        return int(match[1]) if match else 0

    @property
    def _notation(self) -> Notation:
        # Numbers and dates of a typed file have one way to be written, whatever was declared for texts.
        return self.notation if self.stored == "VARCHAR" else PLAIN

    def sql_text(self) -> str:
        """SQL for the cell's text, NULL when blank (the reader has made an empty cell NULL)."""
        cell = f"c{self.index}"
        if self.native:
            return cell
        if self.stored in ("DOUBLE", "FLOAT"):
            cell = f"regexp_replace(CAST({cell} AS VARCHAR), '[.]0$', '')"
        elif self.stored.startswith("TIMESTAMP"):
            cell = f"regexp_replace(CAST({cell} AS VARCHAR), ' 00:00:00$', '')"
        elif self.stored != "VARCHAR":
            cell = f"CAST({cell} AS VARCHAR)"
        if not self.blanks:
            return cell
        return f"CASE WHEN {cell} IN ({', '.join(map(literal, self.blanks))}) THEN NULL ELSE {cell} END"

    def sql_value(self, text: str) -> str:
        """SQL for the typed value of `text`, an SQL expression: NULL when blank or unreadable. A number that
        the file stores narrower than it was declared stays so."""
        if self.type.kind == "text" or self.lossless:
            return text
        if self.type.kind == "date" and not self.native and self._notation.date_format != "YYYY-MM-DD":
            return f"CAST(try_strptime(trim({text}, ' '), {literal(self._notation.strptime)}) AS DATE)"
        if self.type.kind == "boolean" and not self.native:
            return f"try_cast(trim({text}, ' ') AS BOOLEAN)"  # the cast alone reads '0' and not '0 '
        plain = self._notation.sql_plain(text) if self.type.numeric and not self.native else text
        return f"try_cast({plain} AS {self.type.sql_type})"

    def sql_stored(self, value: str) -> str:
        """SQL for `value` as a column that is written holds it. One of `few` texts is an ENUM, which Parquet
        stores as the same text; another than these fails, with duckdb.ConversionException."""
        if not self.few:
            return f"CAST({value} AS {self.type.sql_type})"
        kind = f"ENUM({', '.join(map(literal, self.few))})"
        # Comparing takes half as long as the cast, which is left with what is not among them.
        cases = " ".join(f"WHEN {literal(text)} THEN {literal(text)}::{kind}" for text in self.few)
        return f"CASE {value} {cases} ELSE CAST({value} AS {kind}) END"

    def sql_bad(self, text: str, value: str) -> str:
        """SQL that is true for a cell which is neither blank nor readable; `value` is its `sql_value`."""
        if self.type.kind == "text":
            if self.stored != "VARCHAR" or self.trusted:
                return "false"
            # Bytes are known without counting, and there are at least as many as characters.
            most = self.longest
            long = f" OR (strlen({text}) > {most} AND length({text}) > {most})" if most else ""
            return f"contains({text}, chr(0)){long}"
        if self.type.kind == "date":
            # Year 0 is a date to DuckDB and none to Python, Excel or an accountant.
            range_ = f"{value} IS NULL OR year({value}) NOT BETWEEN 1 AND 9999"
            if self.native:
                return f"{text} IS NOT NULL AND ({range_})"
            shape = f"NOT regexp_full_match({text}, {literal(f' *({self._notation.date_shape}) *')})"
            if self._notation.date_format == "YYYY-MM-DD":
                # DuckDB writes days before the year 1 and after 9999 with another length than ten.
                as_stored = f"length({text}) = 10 AND CAST({value} AS VARCHAR) = {text}"
                return f"{text} IS NOT NULL AND CASE WHEN {as_stored} THEN false ELSE {shape} OR {range_} END"
            return f"{text} IS NOT NULL AND ({shape} OR {range_})"
        if self.lossless:
            return "false"
        if self.native:
            # A number with more decimals than declared is refused, never rounded.
            return f"{text} IS NOT NULL AND ({value} IS NULL OR {value} <> {text})"
        if self.type.kind == "boolean" or self._notation.plain_numbers:
            bad = f"NOT regexp_full_match({text}, {literal(f' *({self.type.pattern}) *')})"
        else:
            shape = literal(f" *(?:{self._notation.number_shape}) *")
            plain = self._notation.sql_plain(f"trim({text}, ' ')")
            bad = (
                f"NOT regexp_full_match({text}, {shape}) "
                f"OR NOT regexp_full_match({plain}, {literal(self.type.pattern)})"
            )
        return f"{text} IS NOT NULL AND {self._unless_canonical(text, value, bad)}"

    def sql_doubt(self, text: str, value: str) -> str:
        """SQL of an aggregate that is true when some cell may be bad, and false or NULL when surely none is;
        empty when none can be. Many times faster than a look at each row's `sql_bad`."""
        bad = self.sql_bad(text, value)
        if bad == "false":
            return ""
        if self.type.kind != "text":
            return f"bool_or({bad})"
        long = f" OR max(strlen({text})) > {self.longest}" if self.longest else ""
        return f"bool_or(contains({text}, chr(0))){long}"

    def _unless_canonical(self, text: str, value: str, bad: str) -> str:
        """`bad`, reckoned only where the cell is not written just as the value would be: expressions are
        several times slower than writing a value out and comparing.
        """
        if self.type.kind == "boolean" or self.type.open_scale or not value:
            return f"({bad})"
        written = f"CAST({value} AS VARCHAR)"
        if self._notation.decimal != ".":
            written = f"replace({written}, '.', {literal(self._notation.decimal)})"
        return f"CASE WHEN {written} = {text} THEN false ELSE {value} IS NULL OR {bad} END"

    def sql_decimals(self, text: str) -> str:
        """SQL for how many decimal places the cell is written with (no more than the scale)."""
        if self.native:
            return str(min(self.stored_decimals or 0, self.type.scale))
        point = f"strpos({text}, {literal(self._notation.decimal)})"
        trimmed = (
            f"CASE WHEN ends_with({text}, ' ') THEN rtrim({text}, ' ') ELSE {text} END"  # trims are slow
        )
        return f"CASE WHEN {point} > 0 THEN least(length({trimmed}) - {point}, {self.type.scale}) ELSE 0 END"

    def bad(self, cell: str) -> bool:
        """The same as `sql_bad`, for one cell in Python."""
        if cell == "" or cell in self.blanks:
            return False
        if self.type.kind == "text":
            return "\x00" in cell or 0 < self.longest < len(cell)
        return not self.type.accepts(cell.strip(" "), self._notation)


_INTEGERS = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
)
