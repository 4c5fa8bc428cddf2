"""Documents in files of many: what is written together is one file, whole or not there, and never changed.

A line has a document's key, a space, and the document as JSON. A document that is written again is in a later
file; the latest counts.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from marketplace.blob_stores import flush
from marketplace.blobs import clear_when_full

_DIGITS: Final = 12
_DEAD_SECONDS: Final = 3600.0


class _Place(NamedTuple):
    """Of a document's line in its file."""

    name: str
    start: int
    size: int


class Packs:
    """A folder of such files, numbered from 1. Used from one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._read: set[str] = set()
        self._known: dict[str, _Place] = {}
        self._last: int | None = None  # number of a file that is there; later ones may be, too

    def get(self, key: str) -> dict[str, Any] | None:
        """The document of this key; None when there is none, or not a whole one."""
        if key not in self._known:
            self._look()
        place = self._known.get(key)
        if place is None:
            return None
        with suppress(FileNotFoundError), open(self._folder / place.name, "rb") as file:
            file.seek(place.start)
            return parsed(file.read(place.size).partition(b" ")[2])
        return None

    def put(self, documents: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write documents, each with its key, which has no space: all of them or, when something fails, none.
        When it returns they are on the disk."""
        draft = self._folder / f".{secrets.token_hex(8)}"
        with clear_when_full():
            try:
                if self._draw(draft, documents):
                    flush(draft)
                    self._publish(draft)
                    flush(self._folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft)
        # Who writes does not read, and shall not remember all that it ever wrote.
        self._known.clear()
        self._read.clear()

    def _draw(self, draft: Path, documents: Iterable[tuple[str, dict[str, Any]]]) -> bool:
        """Whether there are any."""
        file = None
        try:
            for key, document in documents:
                if file is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    file = open(draft, "xb")  # noqa: SIM115
                file.write(b"%b %b\n" % (key.encode("ascii"), written(document)))
        finally:
            if file is not None:
                file.close()
        return file is not None

    def _publish(self, draft: Path) -> None:
        if self._last is None:
            self._last = max(map(_number, self._names()), default=0)
            self._remove_what_died()
        while True:
            self._last += 1
            try:
                # Not a rename, which would replace what another process has published meanwhile.
                os.link(draft, self._folder / f"{self._last:0{_DIGITS}d}.jsonl")
                return
            except FileExistsError:
                pass

    def _remove_what_died(self) -> None:
        """Drafts of processes that were killed; one that is young may be another's at work."""
        for each in os.scandir(self._folder):
            if each.name.startswith(".") and time.time() - each.stat().st_mtime > _DEAD_SECONDS:
                with suppress(FileNotFoundError):
                    os.unlink(each)

    def _look(self) -> None:
        """Find out what is in files that were not read yet."""
        for name in self._names():
            if name in self._read:
                continue
            start = 0
            with open(self._folder / name, "rb") as file:
                for line in file:
                    key = line.partition(b" ")[0].decode("ascii", "replace")
                    self._known[key] = _Place(name, start, len(line))
                    start += len(line)
            self._read.add(name)

    def _names(self) -> list[str]:
        """Of its files, the oldest first."""
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self._folder) if _number(name))
        return []


def _number(name: str) -> int:
    """Of a file; 0 for what is none."""
    digits, _, rest = name.partition(".")
    return int(digits) if rest == "jsonl" and digits.isdecimal() and digits.isascii() else 0


def written(document: dict[str, Any]) -> bytes:
    """As JSON, on one line."""
    try:
        return to_json(document)
    except ValueError:  # half of a surrogate pair
        return json.dumps(document, separators=(",", ":")).encode("ascii")


def parsed(text: bytes) -> dict[str, Any] | None:
    """A document; None for what is not a whole one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
