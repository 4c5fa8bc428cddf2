"""Pages: Jinja templates in the reader's language. Every value is escaped, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from marketplace.console.assets import ASSETS
from marketplace.console.languages import LANGUAGES, Language
from marketplace.console.sentences import said
from prixfixe.protocol.money import Money
from prixfixe.protocol.statements import utc

# What a browser may do with a page: load our own files and talk to the service that it came from.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language, Cookie",
}


def duration(seconds: int) -> str:
    """`90 s`, `10 min`, `1 h`: what divides evenly."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def span(seconds: int) -> str:
    """How long something still takes, in its two largest units: `2 d 4 h`, `12 min`."""
    parts = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"


def count(number: int) -> str:
    return f"{number:,}"


def signed_dollars(units: int) -> str:
    """Units of a statement, which may be below zero: `-$1,234.50`."""
    return ("-" if units < 0 else "") + str(Money(abs(units)))


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["asset"] = lambda name: ASSETS[name].path
_environment.globals["languages"] = tuple(LANGUAGES.values())
_environment.filters |= {
    "moment": utc,
    "day": lambda seconds: utc(seconds)[:10],
    "duration": duration,
    "span": span,
    "count": count,
    "dollars": signed_dollars,
}


def render(
    template: str, language: Language, path: str = "/", enter: str | None = None, **values: Any
) -> str:
    """The document, or a fragment of one. path: of the page, to come back to when the language changes.
    enter: "sign_in" or "account", where there are accounts for people."""
    found = _environment.get_template(template)
    texts = {"t": language.text, "said": partial(said, language)}
    return found.render(language=language, path=path, enter=enter, **texts, **values)
