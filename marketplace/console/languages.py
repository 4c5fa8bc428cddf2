"""The languages of the pages: every text of ours by its key, in each of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

_FOLDER: Final = Path(__file__).parent / "words"
COOKIE: Final = "language"


@dataclass(frozen=True, slots=True)
class Language:
    """tag: as HTML names it. name: what it calls itself. words: text by key ("prices.title")."""

    code: str
    tag: str
    name: str
    words: Mapping[str, str]

    def text(self, key: str, **values: Any) -> Markup:
        """The text of a key with its values put in, each escaped; KeyError for a key that is none."""
        return Markup(self.words[key]).format(**values)  # the texts are ours, the values are anybody's


def _load(code: str, tag: str, name: str) -> Language:
    with (_FOLDER / f"{code}.toml").open("rb") as file:
        sections = tomllib.load(file)
    words = {f"{part}.{key}": text for part, texts in sections.items() for key, text in texts.items()}
    return Language(code, tag, name, words)


ENGLISH: Final = _load("en", "en", "English")
LANGUAGES: Final[Mapping[str, Language]] = {
    each.code: each for each in (ENGLISH, _load("zh", "zh-Hans", "简体中文"))
}


def chosen(cookie: str | None, accept: str | None) -> Language:
    """What the reader chose, else the first of the browser's languages that we have, else English."""
    if cookie is not None and cookie in LANGUAGES:
        return LANGUAGES[cookie]
    for wanted in (accept or "")[:200].split(","):
        code = wanted.partition(";")[0].partition("-")[0].strip().lower()
        if code in LANGUAGES:
            return LANGUAGES[code]
    return ENGLISH
