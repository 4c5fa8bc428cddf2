"""Inputs of a job: fetched once by digest, kept by digest, shown to the task read-only.

A file enters the cache only under the name of the SHA-256 that was computed while it flowed to disk, so
what a job reads is what the customer signed for. A download that was cut, also by the end of the worker, goes
on where it was. A task sees hard links of cached files: no copy, and the cache may forget a file while a task
still reads it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from prixfixe.errors import EngineError, PrixfixeError, VerificationFailed
from prixfixe.protocol.manifest import InputFile

_PAUSES: Final = (0.2, 1.0, 3.0)  # seconds between tries of one download
_STALE_SECONDS: Final = 86_400.0  # a part that nobody went on with
_PIECE_BYTES: Final = 1 << 20

# Opens a blob by digest and gives its bytes from an offset on, in pieces.
Fetch = Callable[[str, int], AbstractContextManager[Iterable[bytes]]]


class InputCache:
    """Files by digest under one folder, shared by all attempts of a worker."""

    def __init__(self, folder: Path, fetch: Fetch, most_mib: int) -> None:
        self._folder = folder
        self._fetch = fetch
        self._most = most_mib << 20
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._forget_stale_parts()

    def place(self, wanted: InputFile, target: Path) -> None:
        """Put the input at `target`. VerificationFailed when the service sends other bytes than its name
        says."""
        while True:
            cached = self.fetch(wanted.sha256, wanted.size)
            try:
                os.utime(cached)  # last used
                os.link(cached, target)
                return
            except FileNotFoundError:
                if not target.parent.is_dir():
                    raise
                # forgotten meanwhile, to make room for another

    def fetch(self, sha256: str, size: int | None, most: int | None = None, *, patient: bool = True) -> Path:
        """The cached file of a digest, downloaded when it is not there. size: what it must have, when
        known; else `most` is what it may have, so that no service fills the disk. patient: what fails is
        tried again."""
        with self._one_at_a_time(sha256):
            cached = self._folder / sha256
            if cached.exists() and (size is None or cached.stat().st_size == size):
                return cached
            part = self._folder / f"{sha256}.part"
            self._download_patiently(sha256, size, most, part, _PAUSES if patient else ())
            part.chmod(0o444)
            part.replace(cached)
            return cached

    def newest(self, most: int) -> list[str]:
        """Digests of the files that are here, used last first."""
        found = []
        for entry in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if not entry.name.endswith(".part"):
                    found.append((entry.stat().st_mtime, entry.name))
        return [name for _, name in sorted(found, reverse=True)[:most]]

    def evict(self) -> None:
        """Forget the files that were used longest ago until the cache is within its size."""
        self._forget_stale_parts()
        with self._lock:
            entries = []
            for entry in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    # More than one link: a task reads it, and deleting it here would free nothing.
                    if not entry.name.endswith(".part") and found.st_nlink == 1:
                        entries.append((found.st_mtime, found.st_size, entry))
            total = sum(size for _, size, _ in entries)
            for _, size, entry in sorted(entries):
                if total <= self._most:
                    return
                entry.unlink(missing_ok=True)
                total -= size

    def _download_patiently(
        self, sha256: str, size: int | None, most: int | None, part: Path, pauses: Sequence[float]
    ) -> None:
        for pause in (*pauses, None):
            try:
                self._download(sha256, size, most, part)
                return
            except PrixfixeError as error:
                if pause is None or not error.retryable:
                    raise
            time.sleep(pause)

    def _download(self, sha256: str, size: int | None, most: int | None, part: Path) -> None:
        """Go on with `part`, whatever is in it. What turns out to be wrong is thrown away."""
        digest, seen = hashlib.sha256(), 0
        limit = most if size is None else size
        with part.open("ab+") as stream:
            stream.seek(0)
            while chunk := stream.read(_PIECE_BYTES):
                digest.update(chunk)
                seen += len(chunk)
            if size is None or seen < size:
                with self._fetch(sha256, seen) as chunks:
                    for chunk in chunks:
                        seen += len(chunk)
                        if limit is not None and seen > limit:
                            break
                        digest.update(chunk)
                        stream.write(chunk)
        if size is None and most is not None and seen > most:
            part.unlink(missing_ok=True)
            raise EngineError(
                f"the image's archive has more than the {most >> 20:,} MiB that this worker takes",
                code="image-too-large",
                hint="make the image smaller; a provider can raise --image-quota",
                fault="provider",
            )
        if digest.hexdigest() != sha256 or (size is not None and seen != size):
            part.unlink(missing_ok=True)
            meant = "" if size is None else f" of {size}"
            raise VerificationFailed(
                f"the service sent other bytes than blob {sha256} ({seen}{meant} bytes)",
                code="blob-mismatch",
                hint="nothing was run or charged; tell the operator, whose copy is not what was uploaded",
                fault="platform",
                retryable=True,
            )

    def _forget_stale_parts(self) -> None:
        for part in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                    part.unlink()

    def _one_at_a_time(self, sha256: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(sha256, threading.Lock())
