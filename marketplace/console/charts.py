"""Charts of a product as SVG: depth of its book, and its trades. Pure functions of what they show.

Every text is escaped, whoever wrote it; numbers are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from marketplace.console.languages import Language
from prixfixe.protocol.book import Level
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.statements import utc

_WIDTH, _HEIGHT, _MARGIN = 800, 220, 40


def depth(bids: Sequence[Level], asks: Sequence[Level], language: Language) -> Markup | None:
    """Volume that would trade at each price or better, bids leftwards and asks rightwards of the gap; None
    when nothing rests."""
    if not bids and not asks:
        return None
    sides = (("bid", _running(bids)), ("ask", _running(asks)))
    points = [point for _, side in sides for point in side]
    low, high = min(price for price, _ in points), max(price for price, _ in points)
    most = max(volume for _, volume in points)
    shapes = []
    for kind, side in sides:
        if not side:
            continue
        # From the best price outwards, a step at each level; the last one reaches the edge.
        edge = _MARGIN if kind == "bid" else _WIDTH - _MARGIN
        corners = [(_across(side[0][0], low, high), 0)]
        for at, (price, volume) in enumerate(side):
            following = _across(side[at + 1][0], low, high) if at + 1 < len(side) else edge
            corners += [(_across(price, low, high), volume), (following, volume)]
        corners.append((edge, 0))
        drawn = " ".join(f"{x:.1f},{_down(volume, most):.1f}" for x, volume in corners)
        shapes.append(f'<polygon class="{kind}" fill-opacity="0.6" points="{drawn}"/>')
    labels = (
        f'<text x="{_MARGIN}" y="{_HEIGHT - 8}">{_dollars(low)}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 8}" text-anchor="end">{_dollars(high)}</text>'
        f'<text x="2" y="{_MARGIN - 6}">{language.text("chart.lots", number=f"{most:,}")}</text>'
    )
    return _frame(language.text("chart.depth"), "".join(shapes) + labels)


def _running(levels: Sequence[Level]) -> list[tuple[int, int]]:
    total, found = 0, []
    for level in levels:
        total += level.volume
        found.append((level.price.units, total))
    return found


def points(trades: Sequence[Trade], index: PriceIndex, language: Language) -> Markup | None:
    """Each trade by time and price, larger for more tasks; the index's median as a line. trades: newest
    first; None when there are none."""
    if not trades:
        return None
    first, last = trades[-1].time, trades[0].time
    prices = [trade.price.units for trade in trades]
    low, high = min(prices), max(prices)
    span = max(last - first, 1)
    dots = "".join(
        f'<circle class="ask" fill-opacity="0.5" r="{min(2 + trade.tasks.bit_length(), 12)}"'
        f' cx="{_MARGIN + (trade.time - first) * (_WIDTH - 2 * _MARGIN) / span:.1f}"'
        f' cy="{_down(trade.price.units - low, max(high - low, 1)):.1f}"/>'
        for trade in trades
    )
    if index.p50 is not None and low <= index.p50.units <= high:
        middle = _down(index.p50.units - low, max(high - low, 1))
        dots += (
            f'<line class="median" x1="{_MARGIN}" y1="{middle:.1f}" x2="{_WIDTH - _MARGIN}"'
            f' y2="{middle:.1f}"/>'
            f'<text x="{_WIDTH - 2}" y="{middle + 4:.1f}" text-anchor="end">P50</text>'
        )
    ends = language.text("chart.span", first=utc(first), last=utc(last))
    labels = (
        f'<text x="2" y="{_MARGIN - 6}">{escape(str(Money(high)))}</text>'
        f'<text x="2" y="{_HEIGHT - _MARGIN + 14}">{escape(str(Money(low)))}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{ends}</text>'
    )
    return _frame(language.text("chart.trades"), dots + labels)


def _frame(title: str, drawn: str) -> Markup:
    base = _HEIGHT - _MARGIN
    return Markup(
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line class="axis" x1="{_MARGIN}" y1="{base}" x2="{_WIDTH - _MARGIN}" y2="{base}"/>'
        f"{drawn}</svg></div>"
    )


def _across(price: int, low: int, high: int) -> float:
    """Where a price lies; in the middle when there is only one."""
    if high == low:
        return _WIDTH / 2
    return _MARGIN + (price - low) * (_WIDTH - 2 * _MARGIN) / (high - low)


def _down(volume: int, most: int) -> float:
    return _HEIGHT - _MARGIN - volume * (_HEIGHT - 2 * _MARGIN) / most


def _dollars(units: int) -> str:
    return f"${units / UNITS_PER_DOLLAR:,.6f}".rstrip("0").rstrip(".")
