"""How numbers and dates are written in a file: declared, never assumed.

The default is the notation of programs: a point, no thousands separators, `YYYY-MM-DD`.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cached_property

DECIMAL_MARKS = (".", ",")
THOUSANDS_MARKS = ("", ",", ".", " ", "'")
SPACES = " \u00a0\u202f"
"""What people and programs write between thousands: space, no-break space, narrow no-break space."""

DATE_FORMATS = {
    "YYYY-MM-DD": ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "%Y-%m-%d"),
    "YYYY/MM/DD": ("[0-9]{4}/[0-9]{2}/[0-9]{2}", "%Y/%m/%d"),
    "YYYYMMDD": ("[0-9]{8}", "%Y%m%d"),
    "DD.MM.YYYY": ("[0-9]{1,2}[.][0-9]{1,2}[.][0-9]{4}", "%d.%m.%Y"),
    "DD/MM/YYYY": ("[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}", "%d/%m/%Y"),
    "DD-MM-YYYY": ("[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}", "%d-%m-%Y"),
    "MM/DD/YYYY": ("[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}", "%m/%d/%Y"),
}
"""Name -> its shape, in the regular expressions that RE2 and `re` read alike, and its strptime format. Years
have four digits: `01/02/03` is three different days."""


@dataclass(frozen=True)
class Notation:
    """The mark before decimals, the mark between thousands ("" for none), the order of a date's parts."""

    decimal: str = "."
    thousands: str = ""
    date_format: str = "YYYY-MM-DD"

    def __post_init__(self) -> None:
        if self.decimal == self.thousands:
            raise ValueError(f"{self.decimal!r} cannot be both the decimal and the thousands separator")

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers are written as programs write them."""
        return self.decimal == "." and self.thousands == ""

    @cached_property
    def number_shape(self) -> str:
        """What a number looks like: thousands in groups of three or not at all, then the decimals."""
        mark = re.escape(self.decimal)
        between = f"[{SPACES}]" if self.thousands == " " else re.escape(self.thousands)
        grouped = f"|[0-9]{{1,3}}(?:{between}[0-9]{{3}})+" if self.thousands else ""
        return f"[+-]?(?:(?:[0-9]+{grouped})?(?:{mark}[0-9]*)?)"

    @cached_property
    def _number(self) -> re.Pattern[str]:
        return re.compile(self.number_shape)

    @cached_property
    def _date(self) -> re.Pattern[str]:
        return re.compile(self.date_shape)

    @property
    def date_shape(self) -> str:
        return DATE_FORMATS[self.date_format][0]

    @property
    def strptime(self) -> str:
        return DATE_FORMATS[self.date_format][1]

    def plain(self, text: str) -> str | None:
        """A number as programs write it; None when it does not have the declared shape."""
        if self.plain_numbers:
            return text
        if self._number.fullmatch(text) is None:
            return None
        for mark in SPACES if self.thousands == " " else self.thousands:
            text = text.replace(mark, "")
        return text.replace(self.decimal, ".")

    def sql_plain(self, text: str) -> str:
        """The same in SQL, for a text that has the shape."""
        if self.plain_numbers:
            return text
        if self.thousands:
            # translate() drops what has no counterpart: the thousands marks.
            marks = SPACES if self.thousands == " " else self.thousands
            decimal = self.decimal if self.decimal != "." else ""
            return f"translate({text}, {_literal(decimal + marks)}, {_literal('.' if decimal else '')})"
        return f"replace({text}, {_literal(self.decimal)}, '.')"

    def date(self, text: str) -> datetime.date | None:
        """The day that is written, None when there is no such day."""
        if self._date.fullmatch(text) is None:
            return None
        try:
            return datetime.datetime.strptime(text, self.strptime).date()
        except ValueError:
            return None


PLAIN = Notation()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
