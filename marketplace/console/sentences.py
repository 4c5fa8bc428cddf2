"""What the service says of a job: its stage, reasons and ends. They are kept in English and told in the
reader's language, by the words of `[said]` whose English fits. An unknown sentence stays as it is."""

from __future__ import annotations

import re
from functools import cache
from string import Formatter
from typing import Final

from marketplace.console.languages import ENGLISH, Language

_PART: Final = "said."
_NUMBERS: Final = frozenset({"count", "done", "first", "replicas"})
_MOST: Final = 2000  # characters, of a provider's reason at most


def said(language: Language, text: str) -> str:
    """The sentence in that language, not escaped."""
    if language is ENGLISH or len(text) > _MOST:
        return text
    for key, pattern in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: _value(language, name, value) for name, value in found.groupdict().items()}
            return language.words[key].format(**values)
    return text


def _value(language: Language, name: str, text: str) -> str:
    """why: a sentence of ours again. listed: counts of reasons, "2 above the price, 1 busy"."""
    if name == "why":
        return said(language, text)
    if name == "listed":
        counted = (each.partition(" ") for each in re.split(r", (?=\d)", text))
        return ", ".join(f"{count} {said(language, reason)}" for count, _, reason in counted)
    return text


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((key, _pattern(text)) for key, text in ENGLISH.words.items() if key.startswith(_PART))


def _pattern(text: str) -> re.Pattern[str]:
    written = ""
    for plain, name, _, _ in Formatter().parse(text):
        value = r"[\d.,]+" if name in _NUMBERS else ".+"
        written += re.escape(plain) + ("" if name is None else f"(?P<{name}>{value})")
    return re.compile(written, re.DOTALL)
