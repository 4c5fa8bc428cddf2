"""The page of a product: depth of its book, its trades and its price index. A pure function of what it shows.

Every text is escaped, whoever wrote it; numbers are our own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from prixfixe.protocol.book import Book, Level
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from prixfixe.protocol.prices import PriceIndex, Trade

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1b1f24 }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: right; padding: .15rem .5rem }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f5f7f9 }
.quiet { color: #59636e } .wide { overflow-x: auto } svg { width: 100%; height: auto }
.bid { fill: #2f7d4f } .ask { fill: #b0492f } .axis { stroke: #c7ced6 }
.median { stroke: #1b1f24; stroke-dasharray: 4 3 } td, th { white-space: nowrap } svg { min-width: 34rem }
text { font-size: 11px; fill: #59636e }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# What a browser may do with the page: show it.
POLICY: Final = (
    f"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-{_STYLE_HASH}'"
)
_WIDTH, _HEIGHT, _MARGIN = 800, 220, 40


def page(book: Book, index: PriceIndex, trades: Sequence[Trade]) -> str:
    """The whole document. trades: newest first."""
    name = escape(book.product.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{name}</h1>{_index(index)}{_close(book)}"
        f"<h2>Depth</h2>{_depth(book.bids, book.asks)}"
        f"<h2>Paid</h2>{_points(trades, index)}{_tape(trades)}"
        "</body></html>"
    )


def _index(index: PriceIndex) -> str:
    prices = ", ".join(
        f"{label} {'-' if price is None else escape(str(price))}"
        for label, price in (("P10", index.p10), ("P50", index.p50), ("P90", index.p90))
    )
    return (
        f'<p>Price index: <strong>{escape(index.status)}</strong>. {prices} a task. <span class="quiet">'
        f"{index.trades:,} trades of {index.makers:,} providers; block {index.block:,}</span></p>"
    )


def _close(book: Book) -> str:
    if book.closes is None:
        return '<p class="quiet">No batch gathers: one opens with the next bid.</p>'
    return (
        f"<p>The next batch closes in {book.closes.seconds:.1f} s, at {_moment(int(book.closes.at))} UTC.</p>"
    )


def _depth(bids: Sequence[Level], asks: Sequence[Level]) -> str:
    """Volume that would trade at each price or better, bids leftwards and asks rightwards of the gap."""
    if not bids and not asks:
        return '<p class="quiet">Nothing rests.</p>'
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
    return _svg("Depth of the book", "".join(shapes), low, high, f"{most:,} lots")


def _running(levels: Sequence[Level]) -> list[tuple[int, int]]:
    total, found = 0, []
    for level in levels:
        total += level.volume
        found.append((level.price.units, total))
    return found


def _points(trades: Sequence[Trade], index: PriceIndex) -> str:
    """Each trade by time and price, larger for more tasks; the index's median as a line."""
    if not trades:
        return '<p class="quiet">Nothing was paid yet.</p>'
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
    ends = f"{_moment(first)} to {_moment(last)}"
    labels = (
        f'<text x="2" y="{_MARGIN - 6}">{escape(str(Money(high)))}</text>'
        f'<text x="2" y="{_HEIGHT - _MARGIN + 14}">{escape(str(Money(low)))}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{ends}</text>'
    )
    return _frame("Trades by time and price", dots + labels)


def _tape(trades: Sequence[Trade]) -> str:
    if not trades:
        return ""
    rows = "".join(
        f"<tr><td>{_moment(trade.time)}</td><td>{escape(trade.kind)}</td><td>{escape(str(trade.price))}</td>"
        f"<td>{trade.tasks:,}</td><td>{escape(trade.provider[:10])}…</td></tr>"
        for trade in trades[:20]
    )
    head = "<tr><th>time (UTC)</th><th>kind</th><th>price of a task</th><th>tasks</th><th>provider</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def _svg(title: str, drawn: str, low: int, high: int, top: str) -> str:
    labels = (
        f'<text x="{_MARGIN}" y="{_HEIGHT - 8}">{_dollars(low)}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 8}" text-anchor="end">{_dollars(high)}</text>'
        f'<text x="2" y="{_MARGIN - 6}">{escape(top)}</text>'
    )
    return _frame(title, drawn + labels)


def _frame(title: str, drawn: str) -> str:
    base = _HEIGHT - _MARGIN
    return (
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(title)}</title>'
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


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
