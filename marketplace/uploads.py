"""Uploads in parts: what has arrived of a file stays with who sent it, until it is whole, too old, or given
up.

A part is a file named by owner and digest; its size is the offset, so that a restart, or a second process,
knows as much as the first. Every write happens under the file's lock and only where the file ends: of two
senders of the same bytes one wins each piece, the other is told the right offset, and a connection that
hangs can never write over what its successor sent. The digest is computed along the way while that is
possible, and from the file after a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from marketplace.blobs import RESERVE_BYTES, Blobs, clear_when_full, digest_mismatch, storage_full
from prixfixe.errors import Conflict, InvalidInput, TooManyRequests
from prixfixe.protocol.uploads import UploadState, upload_path

_FOLDER: Final = ".parts"
# An upload that was touched more recently is not given up to make room for another of its owner.
_IDLE_SECONDS: Final = 60.0
_HASHES: Final = 256
_READ_BYTES: Final = 1 << 20


class OffsetMismatch(Conflict):
    """The part does not begin where the service's copy ends."""

    default_code = "mismatching-upload-offset"
    default_hint = "go on at the offset that the answer names"
    default_retryable = True
    title = "Another offset"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Of one owner's unfinished uploads: bytes and number; seconds without a byte after which one is
    forgotten."""

    max_bytes: int
    max_count: int
    seconds: float


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Running:
    """The digest of a part's first `upto` bytes."""

    digest: _Hash
    upto: int = 0


class Uploads:
    """All unfinished uploads of a service."""

    def __init__(
        self, blobs: Blobs, folder: Path, limits: UploadLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self.blobs: Final = blobs
        self.limits: Final = limits
        self._folder = folder / _FOLDER
        self._clock = clock
        self._running: OrderedDict[Path, _Running] = OrderedDict()
        self._guard = threading.Lock()
        self._folder.mkdir(parents=True, exist_ok=True)

    def state(self, sha256: str, owner: str) -> UploadState:
        """How far `owner` is with this file."""
        size = self.blobs.size_for(sha256, owner)
        if size is not None:
            self.cancel(sha256, owner)  # the blob came another way; the part only takes room
            return UploadState(size, complete=True)
        try:
            return UploadState(self._path(sha256, owner).stat().st_size, complete=False)
        except FileNotFoundError:
            return UploadState(0, complete=False)

    def append(self, sha256: str, owner: str, offset: int, *, coming: int = 0, length: int | None) -> Append:
        """Go on at `offset`; use it as a context. coming: bytes of this request; length: of the whole file;
        as far as they are known, what cannot fit is refused early.

        OffsetMismatch when the part ends elsewhere, TooLarge, StorageFull, TooManyRequests when the owner's
        unfinished uploads leave no room.
        """
        end = offset + coming if length is None else length
        self.blobs.require_size(max(end, offset + coming))
        if length is not None and offset + coming > length:
            raise _inconsistent(offset + coming, length)
        if max(end - offset, 0) + RESERVE_BYTES > shutil.disk_usage(self._folder).free:
            raise storage_full()
        path = self._path(sha256, owner)
        self._make_room(path, end)
        found = path.stat().st_size if path.exists() else 0
        if found != offset:
            raise mismatch(found, offset)
        return Append(self, sha256, owner, path, offset, length)

    def cancel(self, sha256: str, owner: str) -> None:
        """Forget what was sent, if anything was."""
        path = self._path(sha256, owner)
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.remove(path)

    def sweep(self) -> int:
        """Forget uploads that nobody went on with in time; how many."""
        removed = 0
        for folder in self._folder.iterdir():
            for path in _files(folder):
                removed += self._remove_if_idle(path, self.limits.seconds)
            with contextlib.suppress(OSError):  # not empty, or somebody begins in it
                folder.rmdir()
        return removed

    # ---------------------------------------------------------------------------------------------- inside

    def require_share(self, path: Path, size: int) -> None:
        """TooManyRequests when the owner's unfinished uploads, this one being `size` bytes, are too much."""
        if self._beside(path) + size > self.limits.max_bytes:
            raise self._too_much(f"would hold more than {self.limits.max_bytes} bytes")

    def running(self, path: Path, size: int) -> _Running:
        """The digest as far as this process has seen the part of `size` bytes. Called under the part's
        lock."""
        with self._guard:
            found = self._running.get(path)
            if found is None or found.upto > size:  # another process may have begun the part anew
                found = self._running[path] = _Running(hashlib.sha256())
            self._running.move_to_end(path)
            if len(self._running) > _HASHES:
                self._running.popitem(last=False)  # computed from the file when it is needed
            return found

    def forget(self, path: Path) -> None:
        with self._guard:
            self._running.pop(path, None)

    def _path(self, sha256: str, owner: str) -> Path:
        return self._folder / owner.lower() / sha256

    def _make_room(self, path: Path, size: int) -> None:
        """Give up the owner's oldest idle uploads when this one needs their room."""
        others = sorted((file for file in _files(path.parent) if file != path), key=_touched)
        new = not path.exists()
        while others and (
            (crowded := new and len(others) >= self.limits.max_count)
            or self._beside(path) + size > self.limits.max_bytes
        ):
            if not self._remove_if_idle(others[0], _IDLE_SECONDS):
                if crowded:
                    raise self._too_much(f"are {len(others)} already")
                break
            del others[0]
        self.require_share(path, size)

    def _beside(self, path: Path) -> int:
        total = 0
        for file in _files(path.parent):
            if file != path:
                with contextlib.suppress(FileNotFoundError):
                    total += file.stat().st_size
        return total

    def _remove_if_idle(self, path: Path, seconds: float) -> bool:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._clock() - os.fstat(file.fileno()).st_mtime >= seconds:
                self.remove(path)
                return True
        return False

    def remove(self, path: Path) -> None:
        """Called under the part's lock."""
        path.unlink(missing_ok=True)
        self.forget(path)

    def _too_much(self, why: str) -> TooManyRequests:
        return TooManyRequests(
            f"the unfinished uploads of this account {why}",
            code="upload-quota",
            hint="finish one, or give one up (DELETE of its address); what is not touched for "
            f"{self.limits.seconds:.0f} s goes by itself",
            retry_after=int(_IDLE_SECONDS),
        )


class Append:
    """Bytes of one request on their way to the end of a part. What was written stays, however it ends."""

    def __init__(
        self, uploads: Uploads, sha256: str, owner: str, path: Path, offset: int, length: int | None
    ) -> None:
        self._uploads = uploads
        self._sha256 = sha256
        self._owner = owner
        self._path = path
        self._length = length
        self.offset = offset
        with clear_when_full():
            self._file = _open(path, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, chunk: bytes) -> None:
        """Append. OffsetMismatch when somebody else went on with the part, InvalidInput beyond the length
        that was declared, TooLarge, TooManyRequests or StorageFull; the part then ends where it did before
        this piece."""
        end = self.offset + len(chunk)
        if self._length is not None and end > self._length:
            raise _inconsistent(end, self._length)
        self._uploads.blobs.require_size(end)
        self._uploads.require_share(self._path, end)
        if len(chunk) + RESERVE_BYTES > shutil.disk_usage(self._path.parent).free:
            raise storage_full()
        with self._locked():
            running = self._uploads.running(self._path, self.offset)
            view = memoryview(chunk)
            try:
                with clear_when_full():
                    while view:
                        view = view[os.write(self._file, view) :]
            except BaseException:
                os.ftruncate(self._file, self.offset)
                raise
            if running.upto == self.offset:
                running.digest.update(chunk)
                running.upto = end
        self.offset = end

    def finish(self) -> bool:
        """These were the last bytes: keep the whole under its name; whether the blob was new.

        InvalidInput when the bytes have another digest: then nothing of them remains.
        """
        if self._length is not None and self.offset != self._length:
            raise _inconsistent(self.offset, self._length)
        with self._locked(), clear_when_full():
            found = self._digest()
            if found != self._sha256:
                self._uploads.remove(self._path)
                raise digest_mismatch(self.offset, found, self._sha256)
            os.fsync(self._file)
            new = self._uploads.blobs.keep(self._path, self._sha256, self.offset, self._owner)
            self._uploads.forget(self._path)
        return new

    def _digest(self) -> str:
        running = self._uploads.running(self._path, self.offset)
        while running.upto < self.offset:
            piece = os.pread(self._file, min(_READ_BYTES, self.offset - running.upto), running.upto)
            running.digest.update(piece)
            running.upto += len(piece)
        return running.digest.hexdigest()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the part, which is still there and ends where this request thinks it does."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                there = None
            mine = os.fstat(self._file)
            # Finished or forgotten meanwhile: this file is now a blob, or nothing.
            if there is None or not os.path.samestat(there, mine):
                raise mismatch(0 if there is None else there.st_size, self.offset)
            if mine.st_size != self.offset:
                raise mismatch(mine.st_size, self.offset)
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def mismatch(expected: int, provided: int) -> OffsetMismatch:
    return OffsetMismatch(
        f"the service has {expected} bytes of this file, and the part begins at {provided}",
        expected_offset=expected,
        provided_offset=provided,
    )


def _inconsistent(found: int, length: int) -> InvalidInput:
    return InvalidInput(
        f"{found} bytes were sent of a file of {length}",
        code="inconsistent-upload-length",
        hint=f"ask how much is there (HEAD {upload_path('SHA256')}) and send the rest",
    )


def _open(path: Path, offset: int) -> int:
    """The part, for appending; made when it begins."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if offset == 0 else 0)
    for _ in range(3):
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            if offset:
                break
            # Its folder is made here, and taken away by a sweep that finds it empty.
            path.parent.mkdir(parents=True, exist_ok=True)
    raise mismatch(0, offset)


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _touched(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
