"""Documents in files of many: what is written together is one file, whole or not there, and never changed.

A line has a document's key, a space, and the document as JSON. A document that is written anew is in a later
file; the latest counts.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from marketplace.blob_stores import flush
from marketplace.blobs import clear_when_full
from marketplace.store.engines import json_bytes, read_json

_DIGITS: Final = 12
_DEAD_SECONDS: Final = 3600.0
_DRAFT: Final = re.compile(r"\.[0-9a-f]{16}")
_REMEMBERED: Final = 10_000


class _Place(NamedTuple):
    """Of a document's line: the number of its file, and bytes in it."""

    file: int
    start: int
    size: int


class Packs:
    """A folder of such files, numbered from 1. Used from one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._read: set[int] = set()
        self._known: dict[str, _Place] = {}
        self._looked: int | None = None  # when the folder had changed last, as of the last look
        self._last: int | None = None  # number of a file that is there; later ones may be, too
        self._newest: OrderedDict[str, bytes] = OrderedDict()  # digests of what this process wrote

    def get(self, key: str) -> dict[str, Any] | None:
        """The document of this key; None when there is none, or not a whole one."""
        if key not in self._known:
            self._look()
        place = self._known.get(key)
        if place is None:
            return None
        with suppress(FileNotFoundError), open(self._path(place.file), "rb") as file:
            file.seek(place.start)
            return parsed(file.read(place.size).partition(b" ")[2])
        return None

    def put(self, documents: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write documents, each with its key, which has no space: all of them or, when something fails, none.
        When it returns they are on the disk. Of what it wrote lately, what is the same is not written
        again."""
        draft = self._folder / f".{secrets.token_hex(8)}"
        with clear_when_full():
            try:
                drawn = self._draw(draft, documents)
                if drawn:
                    flush(draft)
                    self._publish(draft)
                    flush(self._folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft)
        self._newest.update(drawn)
        while len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)
        # Who writes does not read, and shall not remember all that it ever wrote.
        self._known.clear()
        self._read.clear()
        self._looked = None

    def _draw(self, draft: Path, documents: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, bytes]:
        """Digests of what is in it; there is no draft when nothing is."""
        drawn: dict[str, bytes] = {}
        file = None
        try:
            for key, document in documents:
                content = json_bytes(document)
                digest = hashlib.sha256(content).digest()
                if drawn.get(key, self._newest.get(key)) == digest:
                    continue
                if file is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    file = open(draft, "xb")  # noqa: SIM115
                file.write(b"%b %b\n" % (key.encode("ascii"), content))
                drawn[key] = digest
        finally:
            if file is not None:
                file.close()
        return drawn

    def _publish(self, draft: Path) -> None:
        if self._last is None:
            self._last = max(self._numbers(), default=0)
            self._remove_what_died(draft)
        while True:
            self._last += 1
            with suppress(FileExistsError):
                # The number is taken first: a rename would replace what another process has published.
                os.close(os.open(self._path(self._last), os.O_CREAT | os.O_EXCL, 0o666))
                os.replace(draft, self._path(self._last))
                return

    def _remove_what_died(self, own: Path) -> None:
        """Drafts of processes that were killed; one that is young may be another's at work. Its own draft is
        old, too, where files are dated by a clock that is behind."""
        for each in os.scandir(self._folder):
            with suppress(OSError):
                is_draft = _DRAFT.fullmatch(each.name) and each.is_file(follow_symlinks=False)
                if is_draft and each.name != own.name and time.time() - each.stat().st_mtime > _DEAD_SECONDS:
                    os.unlink(each)

    def _look(self) -> None:
        """Find out what is in files that were not read yet."""
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return
        if changed == self._looked:
            return
        for number in sorted(self._numbers()):
            if number in self._read:
                continue
            start = 0
            with open(self._path(number), "rb") as file:
                for line in file:
                    key = line.partition(b" ")[0].decode("ascii", "replace")
                    self._known[key] = _Place(number, start, len(line))
                    start += len(line)
            if start > 0:  # else its number is taken, and its content on the way
                self._read.add(number)
        self._looked = changed

    def _numbers(self) -> Iterator[int]:
        """Of its files."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                digits, _, rest = name.partition(".")
                if rest == "jsonl" and digits.isdecimal() and digits.isascii():
                    yield int(digits)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:0{_DIGITS}d}.jsonl"


def parsed(text: bytes) -> dict[str, Any] | None:
    """A document; None for what is not a whole one."""
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
