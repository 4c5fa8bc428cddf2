"""Logs of attempts: what each task's application wrote, as files that grow while it runs.

`LogChunk.offset` counts bytes of UTF-8 as the worker sent them. A chunk that came before is ignored, so a
worker that lost an answer sends it again; one that would leave a gap is refused with where to go on. What is
beyond the limit is counted and not kept, and the log says so in its last line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from marketplace.blobs import clear_when_full
from prixfixe.errors import Conflict, InvalidInput

_CHUNK_BYTES: Final = 1 << 16
_LEAST_BYTES: Final = 8192  # of a task's log, however many tasks share the room


class Logs:
    """The log files of a service."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, attempt: str, task: int, known: int, offset: int, text: str, *, share: int = 1) -> str:
        """Write what is new of a chunk of a task's log; gives the text that was added, which is what
        followers see.

        task: index in the job. known: bytes that the tables say are there. share: among how many tasks the
        room for a log is shared out. The caller holds the store's write lock, so appends take
        turns; a file longer than `known` is what a crash left behind, and is written over.
        """
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(
                "the log text is not valid Unicode", code="bad-log", fault="provider"
            ) from error
        most = max(_LEAST_BYTES, self._max_bytes // share) if share > 1 else self._max_bytes
        if known >= most:
            return ""
        if offset > known:
            raise Conflict(
                f"the log of {attempt} has {known} bytes, the chunk begins at {offset}",
                code="log-gap",
                hint=f"send from offset {known} on",
                fault="provider",
                offset=known,
            )
        fresh = data[known - offset :]
        if not fresh:
            return ""
        kept = fresh[: most - known]
        if len(kept) < len(fresh):
            notice = f"\n[the log was cut here: {most} bytes are kept]\n"
            kept += notice.encode("ascii")
        self._write(self._path(attempt, task), known, kept)
        return kept.decode("utf-8", "replace")

    def read(self, attempt: str, task: int) -> Iterator[bytes]:
        """The log of an attempt's task in pieces; nothing when it wrote none."""
        try:
            with self._path(attempt, task).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            return

    def remove(self, attempt: str, task: int) -> None:
        """Delete the log of an attempt's task, if it wrote one."""
        self._path(attempt, task).unlink(missing_ok=True)

    def _write(self, path: Path, at: int, data: bytes) -> None:
        with clear_when_full():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.truncate(at)
                file.seek(at)
                file.write(data)

    def _path(self, attempt: str, task: int) -> Path:
        # Attempts are named by hexadecimal digits; this is for the day on which they are not.
        if not attempt.isalnum():
            raise InvalidInput(f"{attempt[:80]!r} is no attempt")
        return self._folder / log_name(attempt, task)


def log_name(attempt: str, task: int) -> str:
    """The name of the file that holds the log of an attempt's task."""
    return f"{attempt}-{task}.log" if task else f"{attempt}.log"
