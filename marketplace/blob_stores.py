"""Where blobs lie: a folder, or a bucket of any store that speaks S3, by its address.

What comes in is a whole file of this machine whose digest was checked; it appears under its name at once or
not at all. Names, rights and what is still coming in are `marketplace.blobs`' and `marketplace.uploads`'.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from prixfixe.errors import ConfigurationError, NotFound

_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob that is there. at: since when, seconds since the epoch."""

    sha256: str
    size: int
    at: int


class BlobStore(Protocol):
    """Files by their SHA-256. Unavailable from any of them when it is out of reach."""

    def put(self, file: Path, sha256: str, size: int) -> None:
        """Keep a complete, flushed file under its name; it may be gone from its old one afterwards. Again is
        no error."""

    def size(self, sha256: str) -> int | None:
        """Bytes of a blob; None when it is not there."""

    def path(self, sha256: str) -> Path | None:
        """Where a blob lies as a file of this machine, whether or not it is there; None in a store
        elsewhere."""

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces. NotFound when it is not there."""

    def delete(self, names: Collection[str]) -> None:
        """Remove blobs. One that is not there is no error."""

    def names(self) -> Iterator[Stored]:
        """Every blob that is there, known or not."""

    def check(self) -> None:
        """Unavailable when the store does not answer, or not as it should."""


class FolderStore:
    """Files in folders of two levels. folder: on the file system from which files are put."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder

    def put(self, file: Path, sha256: str, size: int) -> None:
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
        flush(target.parent)  # so that the rename itself survives a power cut

    def size(self, sha256: str) -> int | None:
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else None

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:]

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        try:
            file = self.path(sha256).open("rb")
        except FileNotFoundError:
            raise not_there(sha256) from None
        with file:
            file.seek(start)
            while start < end and (piece := file.read(min(_PIECE_BYTES, end - start))):
                start += len(piece)
                yield piece

    def delete(self, names: Collection[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[Stored]:
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            for file in sorted(folder.iterdir()):
                found = file.stat()
                yield Stored(folder.name + file.name, found.st_size, int(found.st_mtime))

    def check(self) -> None:
        """A folder is there or was made."""


def open_blob_store(address: str | None, folder: Path) -> BlobStore:
    """The store at an address, `s3://BUCKET/PREFIX`; None: the folder. ConfigurationError for one that
    cannot be used."""
    if address is None:
        return FolderStore(folder)
    if not address.startswith("s3://"):
        raise ConfigurationError(
            f"blobs cannot be kept at {address.partition(':')[0]!r} addresses",
            code="blob-store-address",
            hint="s3://BUCKET or s3://BUCKET/PREFIX; without an address they are kept in the data folder",
        )
    from marketplace.object_store import ObjectStore

    return ObjectStore.at(address, os.environ)


def not_there(sha256: str) -> NotFound:
    return NotFound(f"the blob {sha256} is not there", hint="it was deleted meanwhile, or is lost")


def flush(path: str | Path) -> None:
    """A file, or a folder with the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
