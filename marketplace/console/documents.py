"""The documents of this version, as pages: Markdown without raw HTML, links between them made to fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from prixfixe.errors import NotFound

_HERE: Final = Path(__file__).resolve().parent
# In an installed package they lie beside this file, in a checkout above it.
_FOLDERS: Final = (_HERE / "docs", _HERE.parents[1] / "docs")
_NARROW: Final = 2  # columns, which fit a phone: what is longer wraps
# For whom each is, first what they begin with; by its title's key. The rest are decisions.
_GROUPS: Final = {
    "docs.how_to": (
        "howto/README",
        "howto/large-table",
        "howto/check-a-result",
        "howto/replicas",
        "howto/many-tasks",
        "howto/bid",
        "howto/webhooks",
        "howto/team",
        "howto/leave",
        "howto/one-machine",
        "howto/bundle",
        "howto/run-a-market",
        "howto/back-up",
    ),
    "docs.for_customers": ("start-customer", "console", "accounts", "bundles/pivot", "bundles/split"),
    "docs.for_developers": ("start-developer", "python", "submit", "http", "webhooks", "typed-data"),
    "docs.for_providers": ("start-provider", "worker", "verification"),
    "docs.for_pricing": ("start-pricing", "prices", "market"),
    "docs.for_operators": ("operations",),
    "docs.for_builders": (
        "start-market",
        "architecture",
        "bundles/kit",
        "testing",
        "protocol",
        "states",
        "benchmarks",
    ),
    "docs.for_everybody": ("limitations", "security", "cli", "errors"),
}
_LINK: Final = re.compile(r"(?:\.\./)*(?P<page>[A-Za-z0-9_./-]+)\.md(?P<place>#[A-Za-z0-9_-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """name: path below docs/ without its ending, as the page's address has it."""

    name: str
    title: str
    text: str


@cache
def documents() -> Mapping[str, Document]:
    """Every document by name."""
    folder = next((each for each in _FOLDERS if each.is_dir()), None)
    return {} if folder is None else {each.name: each for each in _read(folder)}


@cache
def grouped() -> tuple[tuple[str, tuple[Document, ...]], ...]:
    """Every document, by the kind of user whom it is for."""
    found = documents()
    known = {name for names in _GROUPS.values() for name in names}
    rest = tuple(each for name, each in found.items() if name not in known)
    groups = [
        *((key, tuple(found[name] for name in names if name in found)) for key, names in _GROUPS.items()),
        ("docs.for_reasons", rest),
    ]
    return tuple((key, pages) for key, pages in groups if pages)


def document(name: str) -> Document:
    """NotFound for a name that is none."""
    try:
        return documents()[name]
    except KeyError:
        raise NotFound(
            f"there is no document {name[:80]!r}", code="unknown-route", hint="/docs lists them"
        ) from None


@cache
def body(name: str) -> Markup:
    """The page of a document: its headings can be linked to."""
    return Markup(_markdown().render(document(name).text, {"page": name}))


def _read(folder: Path) -> Iterator[Document]:
    for file in sorted(folder.rglob("*.md")):
        text = file.read_text(encoding="utf-8")
        title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), file.stem)
        yield Document(file.relative_to(folder).with_suffix("").as_posix(), title, text)


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.core.ruler.push("places", _place)
    parser.core.ruler.push("tables", _open_tables)
    return parser


def _place(state: Any) -> None:
    """Give headings the names that links use, and links to documents the addresses of their pages."""
    page: str = state.env.get("page", "")
    above = page.rpartition("/")[0]
    tokens: list[Token] = state.tokens
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _slug(tokens[at + 1].content))
        if token.type == "fence":
            token.attrSet("tabindex", "0")
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", _address(str(child.attrGet("href") or ""), above))


def _open_tables(state: Any) -> None:
    """Make tables such as a keyboard and a screen reader get about in: a cell without a word heads nothing, a
    row of such cells is none, and what may be wider than a phone scrolls in a place that can be reached."""
    tokens: Iterator[Token] = iter(state.tokens)
    made: list[Token] = []
    heading = ""
    wide = False
    for token in tokens:
        if token.type == "inline" and made[-1].type == "heading_open":
            heading = "".join(child.content for child in token.children or ())
        if token.type != "table_open":
            made.append(token)
            if token.type == "table_close" and wide:
                made.append(Token("wide_close", "div", -1, block=True))
            continue
        head = list(_until(tokens, "thead_close"))
        cells = [at for at, each in enumerate(head) if each.type == "inline"]
        if wide := len(cells) > _NARROW:
            named: dict[str, str | int | float] = {
                "class": "wide",
                "tabindex": "0",
                "role": "group",
                "aria-label": heading,
            }
            made.append(Token("wide_open", "div", 1, attrs=named, block=True))
        made.append(token)
        empty = [at for at in cells if not head[at].content]
        for at in empty:
            head[at - 1].tag = head[at + 1].tag = "td"
        made += head if empty != cells else ()
    state.tokens = made


def _until(tokens: Iterator[Token], last: str) -> Iterator[Token]:
    """The next tokens, with the first of this type."""
    for token in tokens:
        yield token
        if token.type == last:
            return


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _address(link: str, above: str) -> str:
    found = _LINK.fullmatch(link)
    if found is None or "://" in link:
        return link
    up = link.count("../")
    parts = [part for part in above.split("/") if part]
    parts = parts[: len(parts) - up] if up else parts
    return "/docs/" + "/".join([*parts, found["page"]]) + (found["place"] or "")
