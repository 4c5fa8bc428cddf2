"""PDFs of ours: A4 pages of text that can be copied out, the same bytes for the same content.

Latin text is in a font that every reader has, Chinese in one that readers bring or fetch (STSong-Light, a CID
font that need not be embedded). What neither has, and everything that would turn or hide text, is written
out as its number, so that a name says what it is.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.cidfonts import UnicodeCIDFont  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from marketplace.console.languages import Language

_PLAIN: Final = "Helvetica"
_BOLD: Final = "Helvetica-Bold"
_CHINESE: Final = "STSong-Light"
_WIDTH, _HEIGHT = A4
LEFT: Final = 45.0
RIGHT: Final = _WIDTH - 45.0
_TOP: Final = _HEIGHT - 50.0
_BOTTOM: Final = 55.0
_INK: Final = (0.11, 0.12, 0.14)
_QUIET: Final = (0.35, 0.39, 0.43)

# The library's fonts are the process's own; and of two large papers at once both would take longer.
_ONE: Final = threading.Lock()
pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a row. at: where it begins, or ends when it is `right`."""

    text: str
    at: float
    right: bool = False


@dataclass(frozen=True, slots=True)
class _Drawn:
    y: float
    size: float
    bold: bool
    quiet: bool
    cells: tuple[Cell, ...]


class Paper:
    """A document that is written from its top to its end, and becomes bytes then."""

    def __init__(self, title: str, language: Language, footer: str) -> None:
        """footer: one line, on every page beside its number."""
        self._title = printable(title)
        self._language = language
        self._footer = footer
        self._pages: list[list[_Drawn | float]] = [[]]
        self._y = _TOP
        self.text(title, size=18, bold=True, after=8)

    def gap(self, height: float) -> None:
        self._y -= height

    def room(self, height: float) -> bool:
        """Whether so much is left of the page; if not, the next one is begun."""
        if self._y - height >= _BOTTOM:
            return True
        self._pages.append([])
        self._y = _TOP
        return False

    def rule(self) -> None:
        """A line across."""
        self.room(8)
        self._pages[-1].append(self._y - 2)
        self._y -= 6

    def heading(self, text: str) -> None:
        self.gap(8)
        self.room(60)
        self.text(text, size=12, bold=True, after=3)

    def text(
        self, text: str, *, size: float = 9.5, bold: bool = False, quiet: bool = False, after: float = 2
    ) -> None:
        """A paragraph, broken into lines."""
        for line in _lines(printable(text), RIGHT - LEFT, size, bold):
            self.row([Cell(line, LEFT)], size=size, bold=bold, quiet=quiet, clean=False)
        self.gap(after)

    def pair(self, name: str, value: str, at: float = 155.0) -> None:
        """A name and what it has, beside it and broken into lines."""
        lines = list(_lines(printable(value), RIGHT - at, 9, False)) or [""]
        for number, line in enumerate(lines):
            cells = [Cell(line, at)] if number else [Cell(printable(name), LEFT), Cell(line, at)]
            self.row(cells, size=9, clean=False)
        self.gap(1)

    def row(
        self,
        cells: Sequence[Cell],
        *,
        size: float = 8.5,
        bold: bool = False,
        quiet: bool = False,
        clean: bool = True,
    ) -> None:
        """Cells of one line. clean: False for text that went through `printable` already."""
        height = size * 1.35
        self.room(height)
        self._y -= height
        if clean:
            cells = [Cell(printable(each.text), each.at, each.right) for each in cells]
        self._pages[-1].append(_Drawn(self._y + size * 0.25, size, bold, quiet, tuple(cells)))

    def bytes(self) -> bytes:
        """The file. No time is in it, so that the same content has the same digest."""
        with _ONE:
            target = io.BytesIO()
            canvas = Canvas(target, pagesize=A4, invariant=1, pageCompression=1, lang=self._language.tag)
            canvas.setTitle(self._title)
            canvas.setAuthor("Prixfixe")
            canvas.setCreator("Prixfixe")
            canvas.setSubject(printable(self._footer))
            for number, drawn in enumerate(self._pages, 1):
                for each in drawn:
                    _draw(canvas, each)
                told = self._language.text("paper.page", page=number, pages=len(self._pages))
                foot = (Cell(printable(self._footer), LEFT), Cell(str(told), RIGHT, right=True))
                _draw(canvas, _BOTTOM - 14)
                _draw(canvas, _Drawn(_BOTTOM - 26, 7.5, bold=False, quiet=True, cells=foot))
                canvas.showPage()
            canvas.save()
            return target.getvalue()


def printable(text: str) -> str:
    """The text in characters that the fonts have; every other, and what has no shape or turns the direction
    of others, as `\\u{202e}`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if _has_shape(each) else f"\\u{{{ord(each):x}}}" for each in text)


@lru_cache(4096)
def _has_shape(character: str) -> bool:
    if not character.isprintable():
        return False
    return _is_latin(character) or _is_chinese(character)


def _is_latin(character: str) -> bool:
    return character <= "~" or "\u00a1" <= character <= "\u00ff"


def _is_chinese(character: str) -> bool:
    try:
        return len(character.encode("gbk")) == 2
    except UnicodeEncodeError:
        return False


def _runs(text: str, bold: bool) -> Iterator[tuple[str, str]]:
    """Pieces that one font has, each with it."""
    latin = _BOLD if bold else _PLAIN
    if text.isascii():
        yield latin, text
        return
    begun, font = 0, ""
    for place, character in enumerate(text):
        wanted = latin if _is_latin(character) else _CHINESE
        if wanted != font:
            if place > begun:
                yield font, text[begun:place]
            begun, font = place, wanted
    if begun < len(text):
        yield font, text[begun:]


def _width(text: str, size: float, bold: bool) -> float:
    return sum(float(pdfmetrics.stringWidth(run, font, size)) for font, run in _runs(text, bold))


def _lines(text: str, width: float, size: float, bold: bool) -> Iterator[str]:
    """Broken at spaces; what has none (a digest, Chinese) wherever it is full."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _width(longer, size, bold) <= width:
            line = longer
            continue
        if line and _width(word, size, bold) <= width:
            yield line
            line = word
            continue
        line = f"{line} " if line else ""
        for character in word:
            if _width(line + character, size, bold) > width:
                yield line
                line = ""
            line += character
    if line:
        yield line


def _draw(canvas: Any, drawn: _Drawn | float) -> None:
    """canvas: a reportlab Canvas; a number is a line across at that height."""
    if isinstance(drawn, float):
        canvas.setStrokeColorRGB(0.82, 0.85, 0.88)
        canvas.line(LEFT, drawn, RIGHT, drawn)
        return
    canvas.setFillColorRGB(*(_QUIET if drawn.quiet else _INK))
    for cell in drawn.cells:
        x = cell.at - (_width(cell.text, drawn.size, drawn.bold) if cell.right else 0)
        # One text object, so that who copies a line of two fonts gets one line.
        text = canvas.beginText(x, drawn.y)
        for font, run in _runs(cell.text, drawn.bold):
            text.setFont(font, drawn.size)
            text.textOut(run)
        canvas.drawText(text)
