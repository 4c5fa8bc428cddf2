"""Inputs of a job: fetched once by digest, kept by digest, shown to the task read-only.

A file enters the cache only under the name of the SHA-256 that was computed while it flowed to disk, so
what a job reads is what the customer signed for. A task sees hard links of cached files: no copy, and the
cache may forget a file while a task still reads it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from prixfixe.errors import PrixfixeError, VerificationFailed
from prixfixe.protocol.manifest import InputFile

_PAUSES: Final = (0.2, 1.0, 3.0)  # seconds between tries of one download

# Opens a blob by digest and gives its bytes in pieces.
Fetch = Callable[[str], AbstractContextManager[Iterable[bytes]]]


class InputCache:
    """Files by digest under one folder, shared by all attempts of a worker."""

    def __init__(self, folder: Path, fetch: Fetch, most_mib: int) -> None:
        self._folder = folder
        self._fetch = fetch
        self._most = most_mib << 20
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.part"):
            left.unlink()

    def place(self, wanted: InputFile, target: Path) -> None:
        """Put the input at `target`. VerificationFailed when the service sends other bytes than its name
        says."""
        with self._one_at_a_time(wanted.sha256):
            cached = self.fetch(wanted.sha256, wanted.size)
            os.utime(cached)  # last used
            os.link(cached, target)

    def fetch(self, sha256: str, size: int | None) -> Path:
        """The cached file of a digest, downloaded when it is not there. size: what it must have, when
        known."""
        cached = self._folder / sha256
        if cached.exists() and (size is None or cached.stat().st_size == size):
            return cached
        part = self._folder / f"{sha256}.{uuid.uuid4().hex}.part"
        try:
            self._download_patiently(sha256, size, part)
            part.chmod(0o444)
            part.replace(cached)
        finally:
            part.unlink(missing_ok=True)
        return cached

    def evict(self) -> None:
        """Forget the files that were used longest ago until the cache is within its size."""
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

    def _download_patiently(self, sha256: str, size: int | None, part: Path) -> None:
        for pause in (*_PAUSES, None):
            try:
                self._download(sha256, size, part)
                return
            except PrixfixeError as error:
                if pause is None or not error.retryable:
                    raise
            time.sleep(pause)

    def _download(self, sha256: str, size: int | None, part: Path) -> None:
        digest, seen = hashlib.sha256(), 0
        with self._fetch(sha256) as chunks, part.open("wb") as stream:
            for chunk in chunks:
                seen += len(chunk)
                if size is not None and seen > size:
                    break
                digest.update(chunk)
                stream.write(chunk)
        if digest.hexdigest() != sha256 or (size is not None and seen != size):
            raise VerificationFailed(
                f"the service sent other bytes than blob {sha256} ({seen} of {size} bytes)",
                code="blob-mismatch",
                fault="platform",
                retryable=True,
            )

    def _one_at_a_time(self, sha256: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(sha256, threading.Lock())
