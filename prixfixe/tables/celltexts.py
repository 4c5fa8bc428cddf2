"""The texts that a CSV would hold of a sheet's cells: cell by cell, and the same for a whole column at once.

A number is taken with the 15 digits that a spreadsheet keeps and shows, without an exponent. What has no text
that could be relied on is refused with `NoText`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

FIRST_SURE_DAY = datetime.date(1900, 3, 1)
"""Before it spreadsheets count a 29 February 1900 that never was."""

MOST = 1e15
"""Numbers from here on have more than 15 digits."""

_REMEMBERED = 10_000
"""Different numbers of a column that are remembered: one with more of them repeats too few."""


class NoText(Exception):
    """A cell that has no text which could be relied on."""


def cell_text(cell: Any) -> str:
    """The text of any cell."""
    return cell if type(cell) is str else _TEXTS.get(type(cell), str)(cell)


def float_text(cell: float) -> str:
    """The number with the 15 digits that a spreadsheet keeps, without an exponent."""
    if not -MOST < cell < MOST:
        raise NoText
    whole = int(cell)
    if whole == cell:
        return str(whole)
    text = repr(cell)
    if len(text) <= 16 and "e" not in text:  # 15 digits and a point: the shortest way is the exact one
        return text
    text = format(cell, ".15g")
    return format(Decimal(text), "f") if "e" in text else text


class ColumnTexts:
    """The texts of one column, a piece of it at a time. Columns hold values of one kind, mostly, so that the
    loop over their cells runs in C."""

    def __init__(self) -> None:
        self._known: _Known | None = _Known()

    def of(self, cells: Sequence[Any]) -> Sequence[str]:
        """`cell_text` of each cell. NoText when one of them has none."""
        kinds = set(map(type, cells))
        if kinds == {str}:
            return cells
        if kinds == {float}:
            return self._floats(cells)
        if len(kinds) == 1:
            return list(map(_TEXTS.get(kinds.pop(), str), cells))
        return list(map(cell_text, cells))

    def _floats(self, cells: Sequence[float]) -> Sequence[str]:
        if self._known is not None:
            if len(self._known) < _REMEMBERED:
                return list(map(self._known.__getitem__, cells))
            self._known = None
        return _whole(cells) or _fractions(cells) or list(map(float_text, cells))


class _Known(dict[float, str]):
    def __missing__(self, cell: float) -> str:
        text = self[cell] = float_text(cell)
        return text


def quoted(texts: Sequence[str]) -> Sequence[str]:
    """The texts as a CSV holds them: in quotes, all of them, when one must be. An empty one never is."""
    whole = "".join(texts)
    if not any(letter in whole for letter in ',"\n\r'):
        return texts
    return ['"' + text.replace('"', '""') + '"' if text else "" for text in texts]


def _whole(cells: Sequence[float]) -> list[str] | None:
    """The cells as whole numbers, when all of them are."""
    if not cells[0].is_integer() or not min(cells) > -MOST or not max(cells) < MOST:
        return None
    try:
        whole = list(map(int, cells))
    except (ValueError, OverflowError):  # not a number, or infinite
        return None
    return list(map(str, whole)) if whole == list(cells) else None


def _fractions(cells: Sequence[float]) -> list[str] | None:
    """The cells in their shortest way to be written, when that is exact for all of them."""
    if not min(cells) > -MOST or not max(cells) < MOST:
        return None
    text = "\n".join(map(repr, cells)) + "\n"
    if "e" in text or "n" in text or "-0.0\n" in text:  # exponents; not a number, or infinite
        return None
    texts = text.replace(".0\n", "\n").split("\n")
    del texts[-1]
    return texts if max(map(len, texts)) <= 16 else None


def _moment_text(cell: datetime.datetime) -> str:
    if cell.time() == datetime.time():
        return _day_text(cell.date())
    if cell.date() < FIRST_SURE_DAY:
        raise NoText
    return cell.isoformat(" ")


@lru_cache(maxsize=50_000)
def _day_text(cell: datetime.date) -> str:
    if cell < FIRST_SURE_DAY:
        raise NoText
    return cell.isoformat()


_TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    float: float_text,
    bool: lambda cell: "true" if cell else "false",
    datetime.datetime: _moment_text,
    datetime.date: _day_text,
}
"""How a cell of each type becomes the text that a CSV would hold; of every other type it is `str`."""
