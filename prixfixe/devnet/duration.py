"""Lengths of time as people type them: 90s, 15m, 2h, 1d12h."""

from __future__ import annotations

import re

from prixfixe.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WHOLE = re.compile(r"(?:\d+[smhd])+")
_PART = re.compile(r"(\d+)([smhd])")


def parse_duration(text: str) -> int:
    """Seconds; a bare number is seconds."""
    text = text.strip().lower()
    if text.isascii() and text.isdigit():
        return int(text)
    if not text.isascii() or not _WHOLE.fullmatch(text):
        raise InvalidInput(f"{text!r} is not a length of time", hint="write 90s, 15m, 2h or 1d12h")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
