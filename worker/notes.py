"""What is new since the version that a worker ran last, from the project's own changelog."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import prixfixe

log = logging.getLogger("prixfixe.worker")

VERSION_FILE: Final = "version"
_HERE: Final = Path(__file__).resolve().parent
# In an installed package it lies beside this file, in a checkout above it.
_CHANGELOGS: Final = (_HERE / "CHANGELOG.md", _HERE.parent / "CHANGELOG.md")


def last_version(data: Path) -> str | None:
    """The version that ran here last; None when none has."""
    try:
        return (data / VERSION_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def remember_version(data: Path) -> None:
    """Write down that this version runs now, and say so when it is another than before."""
    before = last_version(data)
    if before == prixfixe.__version__:
        return
    if before is not None:
        log.info("version %s ran here before, now %s: prixfixe worker news", before, prixfixe.__version__)
        with suppress(OSError):
            (data / f"{VERSION_FILE}.before").write_text(before + "\n", encoding="utf-8")
    with suppress(OSError):
        (data / VERSION_FILE).write_text(prixfixe.__version__ + "\n", encoding="utf-8")


def version_before(data: Path) -> str | None:
    """The version that ran here before the present one."""
    last = last_version(data)
    if last is not None and last != prixfixe.__version__:
        return last  # the present one has not been started yet
    try:
        return (data / f"{VERSION_FILE}.before").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def changelog() -> str:
    """The whole text; empty where an installation has none."""
    for place in _CHANGELOGS:
        with suppress(OSError):
            return place.read_text(encoding="utf-8")
    return ""


def news(text: str, since: str | None) -> str:
    """The sections above that of version `since`; all when there is no such section, or it is None."""
    taken: list[str] = []
    for title, body in _sections(text):
        if since is not None and title.split()[0].strip("[]") == since:
            break
        taken.append(f"## {title}\n{body}".rstrip())
    return "\n\n".join(taken)


def service_differs(service: str) -> str | None:
    """What a provider should know of another version at the service; None when they are the same."""
    if service == prixfixe.__version__:
        return None
    return f"the service runs version {service}, this worker {prixfixe.__version__}"


def _sections(text: str) -> Iterator[tuple[str, str]]:
    for part in f"\n{text}".split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        if title.strip():
            yield title.strip(), body
