"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from prixfixe.client.endings import clean as clean

_BAR_CELLS = 24
_REDRAW_SECONDS = 0.1


def emit(value: Any) -> None:
    """The command's one JSON object."""
    click.echo(json.dumps(value, ensure_ascii=False))


def say(text: str = "") -> None:
    """A line for the person, out of a program's way."""
    click.echo(text, err=True)


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Rows under each other, numbers and text alike left-aligned; the last column runs free."""
    lines = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def moment(seconds: int, now: float | None = None) -> str:
    """A time, absolute and as seen from now: "2026-11-22 14:32:10 UTC, in 9 min". now: on the same clock."""
    absolute = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    away = seconds - (time.time() if now is None else now)
    return f"{absolute}, in {span(away)}" if away >= 0 else f"{absolute}, {span(-away)} ago"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    left = int(seconds)
    parts = []
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


def size(count: int) -> str:
    """Bytes for people: "83.1 MB"."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


class Progress:
    """One line that is redrawn on a terminal; elsewhere a line when something begins or changes its name."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._drawn = 0.0
        self._label = ""
        self._open = False
        self._tenths = 0

    def show(self, label: str, fraction: float | None = None, detail: str = "") -> None:
        """label: what is going on. fraction: 0..1 when known."""
        new = label != self._label
        self._label = label
        if not self._live:
            if new:
                say(f"  {label}")
            return
        now = time.monotonic()
        if not new and now - self._drawn < _REDRAW_SECONDS and fraction != 1.0:
            return
        if new:
            self.close()
        self._drawn, self._open = now, True
        bar = ""
        if fraction is not None:
            full = round(_BAR_CELLS * min(1.0, max(0.0, fraction)))
            bar = f" [{'#' * full}{'.' * (_BAR_CELLS - full)}] {fraction:4.0%}"
        click.echo(f"\r\x1b[K  {label}{bar} {detail}", err=True, nl=False)

    def count(self, done: int, whole: int, what: str) -> None:
        """A count that grows by ones to thousands: a bar on a terminal, elsewhere a line for each tenth."""
        text = f"{done:,} of {whole:,} {what}"
        if self._live:
            self.show("running", done / whole, text)
        elif done == whole or done * 10 // whole > self._tenths:
            self._tenths = done * 10 // whole
            self.show(text)

    def bytes(self, label: str) -> Any:
        """A callback for transfers."""

        def update(done: int, whole: int | None) -> None:
            self.show(label, done / whole if whole else None, f"{size(done)} of {size(whole or done)}")

        return update

    def line(self, text: str) -> None:
        """A line of its own, above the moving one."""
        if self._open and self._live:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._open = False
        say(text)

    def close(self) -> None:
        if self._open:
            click.echo(err=True)
            self._open = False
