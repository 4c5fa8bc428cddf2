"""Exact numbers to text and back, without floating point and without a decimal context's precision."""

from __future__ import annotations

from decimal import Decimal

MAX_DOUBLE_DIGITS = 15
"""Significant digits that every double keeps. A spreadsheet shows no more."""


def scaled(value: Decimal, decimals: int) -> int:
    """`value` times ten to the `decimals`, which must be whole."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits)) or "0")
    shift = exponent + decimals
    if shift >= 0:
        whole *= int(10**shift)
    else:
        whole, rest = divmod(whole, int(10**-shift))
        if rest:
            raise ValueError(f"{value} has more than {decimals} decimals")
    return -whole if sign else whole


def text(units: int, decimals: int) -> str:
    """`units` of ten to the minus `decimals`, written in full: text(-5, 2) is "-0.05"."""
    if decimals == 0:
        return str(units)
    digits = str(abs(units)).rjust(decimals + 1, "0")
    return ("-" if units < 0 else "") + digits[:-decimals] + "." + digits[-decimals:]


def average(units: int, decimals: int, count: int, places: int) -> int:
    """The mean of `count` numbers whose sum is `units` of ten to the minus `decimals`.

    In units of ten to the minus `places`, the exact quotient rounded half to even.
    """
    return ratio(units, count * int(10**decimals), places)


def ratio(numerator: int, denominator: int, places: int) -> int:
    """The exact quotient in units of ten to the minus `places`, rounded half to even."""
    negative = (numerator < 0) != (denominator < 0)
    above, below = abs(numerator) * int(10**places), abs(denominator)
    quotient, rest = divmod(above, below)
    if 2 * rest > below or (2 * rest == below and quotient % 2 == 1):
        quotient += 1
    return -quotient if negative else quotient


def fits_double(written: str) -> bool:
    """Whether a sheet's number (a double, shown with 15 digits) keeps every digit of `written`."""
    return len(written.replace("-", "").replace(".", "").lstrip("0")) <= MAX_DOUBLE_DIGITS
