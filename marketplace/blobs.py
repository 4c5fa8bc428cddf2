"""Blobs: files named by their SHA-256, in a folder or an object store. Streamed, never held in memory.

A file is written under another name in the service's folder while its digest is computed, flushed, and only
then put into the store under its own name; the row that makes it known comes last. So a name in the tables
always has its whole file, a cut or wrong upload leaves nothing, and two uploads of the same bytes cannot
disturb each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, bindparam, select

from marketplace.blob_stores import BlobStore, FolderStore, Stored, not_there
from marketplace.store.database import Store
from marketplace.store.listed import among
from marketplace.store.tables import attempts, blob_owners, blobs, bundles, jobs, workers
from marketplace.store.upsert import insert_missing, parts
from prixfixe.errors import InvalidInput, NotFound, StorageFull, TooLarge

_INCOMING: Final = ".incoming"
_STALE_SECONDS: Final = 3600.0
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What an upload never takes: the database and the logs need room to say what happened.
RESERVE_BYTES: Final = 64 * 2**20

# Made once: making a statement takes longer than running it.
_SIZES: Final = select(blobs.c.sha256, blobs.c.size).where(among(blobs.c.sha256, "digests"))
_OWNED: Final = select(blob_owners.c.sha256).where(
    blob_owners.c.address == bindparam("reader"),
    among(blob_owners.c.sha256, "digests"),
)


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file that its asker may read."""

    sha256: str
    size: int
    kept: BlobStore

    @property
    def path(self) -> Path | None:
        """As a file of this machine, when it is one."""
        return self.kept.path(self.sha256)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, or to the last one."""
        return self.kept.read(self.sha256, start, self.size if end is None else end)

    def read(self) -> bytes:
        """All of a small one."""
        return b"".join(self.pieces())


class Blobs:
    """The blobs of a service, and who may read what."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        also_readable: Callable[[Connection, str, str], bool] = lambda connection, sha256, reader: False,
        kept: BlobStore | None = None,
    ) -> None:
        """folder: where files are written until they are whole; shared by all processes of the service.
        also_readable: whether a reader whom `may_read` refuses may read a blob after all. kept: where whole
        ones lie; None: in the folder."""
        self.kept: Final = FolderStore(folder) if kept is None else kept
        self._store = store
        self._folder = folder
        self._incoming = folder / _INCOMING
        self._clock = clock
        self._also_readable = also_readable
        self.max_bytes: Final = max_bytes
        self._incoming.mkdir(parents=True, exist_ok=True)

    def upload(self, sha256: str, owner: str, declared: int | None = None) -> Upload:
        """Begin an upload; use it as a context. declared: bytes to come, if known: refused early when they
        cannot fit."""
        self.require_size(declared or 0)
        if declared is not None and declared + RESERVE_BYTES > shutil.disk_usage(self._folder).free:
            raise storage_full()
        return Upload(self, sha256, owner, self._incoming)

    def names(self) -> Iterator[Stored]:
        """Every file that is there, known or not."""
        return self.kept.names()

    def find(self, sha256: str) -> Blob:
        """The blob, whoever asks. NotFound when it is not there."""
        size = self.kept.size(sha256)
        if size is None:
            raise not_there(sha256)
        return Blob(sha256, size, self.kept)

    def open(self, sha256: str, reader: str) -> Blob:
        """The blob, when `reader` may read it. NotFound otherwise: who may not read it does not learn that it
        is there."""
        size = self.size_for(sha256, reader)
        if size is None:
            raise NotFound(
                f"there is no blob {sha256} that {reader} may read",
                hint="upload it first (PUT of the same address)",
            )
        return Blob(sha256, size, self.kept)

    def size_for(self, sha256: str, reader: str) -> int | None:
        """Bytes of the blob when `reader` may read it, else None."""
        with self._store.read() as connection:
            size = connection.execute(
                select(blobs.c.size).where(blobs.c.sha256 == sha256)
            ).scalar_one_or_none()
            if size is None:
                return None
            known = may_read(connection, sha256, reader) or self._also_readable(connection, sha256, reader)
        # A file that the store has lost is not there for anybody: it can be sent again, or is missed.
        return int(size) if known and self.kept.size(sha256) is not None else None

    def sweep(self, older_than: float = _STALE_SECONDS) -> int:
        """Remove what uploads that died left behind, when nothing was written to it for `older_than`
        seconds."""
        removed = 0
        for file in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if self._clock() - file.stat().st_mtime >= older_than:
                    file.unlink()
                    removed += 1
        return removed

    def keep(self, file: Path, sha256: str, size: int, owner: str) -> bool:
        """Put a complete, flushed file under its name and make it known; whether it was new to `owner`: who
        sends what somebody else has sent does not learn that it was here. The file is gone then. Unavailable
        when the store is away: the file is there still."""
        with self._guarded(sha256, fcntl.LOCK_SH):
            self.kept.put(file, sha256, size)
            row = {"sha256": sha256, "size": size, "created_at": int(self._clock())}
            with self._store.write() as connection:
                known = owned(connection, [sha256], owner)
                insert_missing(connection, blobs, [row])
                grant(connection, [sha256], owner)
        file.unlink(missing_ok=True)
        return not known

    def remove(self, names: Collection[str]) -> None:
        """Delete files that are forgotten, unless they were sent again since."""
        shelves: dict[str, list[str]] = {}
        for name in names:
            shelves.setdefault(name[:2], []).append(name)
        for shelf in shelves.values():
            with self._guarded(shelf[0], fcntl.LOCK_EX):
                with self._store.read() as connection:
                    known = known_sizes(connection, shelf)
                self.kept.delete([name for name in shelf if name not in known])

    @contextlib.contextmanager
    def _guarded(self, sha256: str, how: int) -> Iterator[None]:
        """Nobody deletes a file between its arrival and its row: who keeps shares this, who deletes is
        alone. In no transaction, as the store may be slow."""
        shelf = self._folder / sha256[:2]
        shelf.mkdir(parents=True, exist_ok=True)
        handle = os.open(shelf, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def require_size(self, size: int) -> None:
        """TooLarge above the market's limit."""
        if size > self.max_bytes:
            raise TooLarge(
                f"{size} bytes are more than this market takes in one file ({self.max_bytes})",
                hint="convert the table before uploading (Parquet is several times smaller), or split it",
            )


class Upload:
    """One file on its way in. Leaving the context without `finish` removes every trace of it."""

    def __init__(self, blobs_: Blobs, sha256: str, owner: str, folder: Path) -> None:
        self._blobs = blobs_
        self._sha256 = sha256
        self._owner = owner
        self._digest = hashlib.sha256()
        self._size = 0
        with clear_when_full():
            handle, name = tempfile.mkstemp(prefix=f"{sha256[:16]}-", dir=folder)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._path = Path(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append. TooLarge above the market's limit, StorageFull when the disk is."""
        self._size += len(chunk)
        self._blobs.require_size(self._size)
        self._digest.update(chunk)
        with clear_when_full():
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> bool:
        """Keep it under its name; whether it was new to its owner. InvalidInput when the bytes have another
        digest."""
        found = self._digest.hexdigest()
        if found != self._sha256:
            raise digest_mismatch(self._size, found, self._sha256)
        with clear_when_full():
            os.fsync(self._file.fileno())
            self._file.close()
            return self._blobs.keep(self._path, self._sha256, self._size, self._owner)


def grant(connection: Connection, digests: Iterable[str], reader: str) -> None:
    """Let `reader` read these blobs from now on."""
    insert_missing(
        connection, blob_owners, [{"sha256": each, "address": reader} for each in dict.fromkeys(digests)]
    )


def may_read(connection: Connection, sha256: str, reader: str) -> bool:
    """Whoever put it or was granted it, workers for images of published bundles, and the worker to which a
    job with this input or image is assigned."""
    owns = select(blob_owners.c.sha256).where(blob_owners.c.sha256 == sha256, blob_owners.c.address == reader)
    if connection.execute(owns).first() is not None:
        return True
    if connection.execute(select(workers.c.key).where(workers.c.key == reader)).first() is None:
        return False
    archive = select(bundles.c.id).where(bundles.c.image_archive == sha256)
    if connection.execute(archive).first() is not None:
        return True
    assigned = (
        select(jobs.c.manifest, jobs.c.image_archive)
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(attempts.c.worker == reader, attempts.c.state.in_(("assigned", "running")))
    )
    return any(
        sha256 == archive or any(sha256 == file["sha256"] for file in _files(manifest))
        for manifest, archive in connection.execute(assigned)
    )


def _files(manifest: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What every task of a job reads."""
    return (*manifest["inputs"], *filter(None, [manifest.get("matrix")]))


def known_sizes(connection: Connection, digests: Iterable[str]) -> dict[str, int]:
    """Sizes of those blobs that are stored."""
    wanted = list(dict.fromkeys(digests))
    found: dict[str, int] = {}
    for part in parts(wanted):
        found |= {row.sha256: row.size for row in connection.execute(_SIZES, {"digests": part})}
    return found


def owned(connection: Connection, digests: Iterable[str], reader: str) -> set[str]:
    """Those of the blobs that `reader` put there or was granted."""
    wanted = list(dict.fromkeys(digests))
    found: set[str] = set()
    for part in parts(wanted):
        found |= set(connection.execute(_OWNED, {"reader": reader, "digests": part}).scalars())
    return found


@contextlib.contextmanager
def clear_when_full() -> Iterator[None]:
    """StorageFull instead of the system's own error, when the disk is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise storage_full() from error
        raise


def storage_full() -> StorageFull:
    return StorageFull("the service's disk has no room for it")


def digest_mismatch(size: int, found: str, sha256: str) -> InvalidInput:
    return InvalidInput(
        f"the {size} bytes that arrived have the SHA-256 {found}, not {sha256}",
        code="digest-mismatch",
        hint="the file changed while it was read, or on its way: hash it and upload it again",
        retryable=True,
    )
