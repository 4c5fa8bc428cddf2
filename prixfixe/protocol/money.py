"""Money: an amount of the market's token in its smallest unit, a millionth of a dollar. No float touches
it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final

from prixfixe.errors import InvalidInput

DECIMALS: Final = 6
UNITS_PER_DOLLAR: Final = 10**DECIMALS
MAX_UINT64: Final = 2**64 - 1
MAX_UINT96: Final = 2**96 - 1

_MOST_CHARACTERS: Final = 100
_TEXT = re.compile(
    r"\$?(?P<whole>0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.(?P<part>[0-9]+))?", re.ASCII
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """`units` millionths of a dollar, never negative, at most 2^96 - 1 (the width of a signed price).

    Adds to and subtracts from Money, multiplies with a count, floor-divides by a count; nothing else, so that
    two amounts are never multiplied and a plain number is never taken for money. A difference below zero is
    refused.
    """

    units: int

    def __post_init__(self) -> None:
        if type(self.units) is not int:
            raise InvalidInput(
                f"money is a whole number of millionths of a dollar, not {self.units!r}", code="bad-money"
            )
        if not 0 <= self.units <= MAX_UINT96:
            raise InvalidInput(f"{self.units} is not an amount of money (0 to 2^96 - 1)", code="bad-money")

    @staticmethod
    def parse(text: str) -> Money:
        """Money of "12.34", "$12.34" or "1,234.5". At most 6 decimals; nothing is ever rounded."""
        if type(text) is not str:
            raise InvalidInput(
                f"money is read from text such as '12.34', not from {text!r}", code="bad-money"
            )
        if len(text) > _MOST_CHARACTERS:
            raise InvalidInput(
                f"{text[:20]!r}... is not an amount of money: it is too long", code="bad-money"
            )
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise InvalidInput(
                f"{text!r} is not an amount of money", code="bad-money", hint="write dollars such as 12.34"
            )
        part = found["part"] or ""
        if len(part) > DECIMALS:
            raise InvalidInput(
                f"{text!r} has more than {DECIMALS} decimals",
                code="bad-money",
                hint="the smallest unit is $0.000001",
            )
        whole = found["whole"].replace(",", "")
        return Money(int(whole) * UNITS_PER_DOLLAR + int(part.ljust(DECIMALS, "0")))

    def require_uint64(self, name: str = "amount") -> int:
        """The units, when they fit an account's 64 bits; InvalidInput otherwise."""
        if self.units > MAX_UINT64:
            raise InvalidInput(f"{name} {self} is more than an account can hold", code="bad-money")
        return self.units

    def __str__(self) -> str:
        """ "$12.34": at least two decimals, more only when they are not zero."""
        whole, part = divmod(self.units, UNITS_PER_DOLLAR)
        digits = f"{part:0{DECIMALS}d}".rstrip("0").ljust(2, "0")
        return f"${whole:,}.{digits}"

    @property
    def plain(self) -> str:
        """ "12.34", without sign and separators: what `parse` reads and spreadsheets take."""
        return str(self).removeprefix("$").replace(",", "")

    def __add__(self, other: Money) -> Money:
        return Money(self.units + other.units) if isinstance(other, Money) else NotImplemented

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        if other.units > self.units:
            raise InvalidInput(f"{self} is less than {other}", code="bad-money")
        return Money(self.units - other.units)

    def __mul__(self, count: int) -> Money:
        return Money(self.units * count) if type(count) is int else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, count: int) -> Money:
        return Money(self.units // count) if type(count) is int else NotImplemented

    def __lt__(self, other: Money) -> bool:
        return self.units < other.units if isinstance(other, Money) else NotImplemented

    def __bool__(self) -> bool:
        return self.units != 0


ZERO: Final = Money(0)
