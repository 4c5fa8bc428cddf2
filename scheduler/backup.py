"""Backups of a service's folder, taken while it runs, and what becomes a service's folder again.

The database is copied first, by SQLite's own online copy, which is one moment of it; then the files, of
which a later moment can only have more. Blobs never change, so a second backup into the same folder copies
what is new. Blobs in an object store stay there: it is looked what of those that the database names is
missing, and a restore reads and checks each. A restored folder that is older than the chain catches up by
reading events."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from marketplace.archive import POSITION
from marketplace.blob_stores import BlobStore, open_blob_store
from marketplace.logs import log_name
from prixfixe import __version__
from prixfixe.errors import Conflict, InvalidInput, NotFound

DATABASE: Final = "prixfixe.db"
FACTS: Final = "backup.json"
_OWN_FOLDERS: Final = ("archive", "logs")
_FOLDERS: Final = ("blobs", *_OWN_FOLDERS)


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. at: seconds since the epoch. block: up to which events were read; None before the
    first. blobs, bytes: of the files that its tables name. missing: those of them that are not there.
    elsewhere: address of the store that has the blobs, when it is not the backup."""

    version: str
    at: int
    block: int | None
    jobs: int
    blobs: int
    bytes: int
    missing: tuple[str, ...]
    elsewhere: str | None = None


def back_up(data: Path, to: Path, blobs: str | None = None) -> Backup:
    """Copy what the service in `data` has to `to`, which is new or holds an earlier backup of it. blobs:
    address of the object store that has its files, if one has. NotFound when there is no service in
    `data`."""
    source = data / DATABASE
    if not source.exists():
        raise NotFound(
            f"there is no service's database in {data}",
            hint="name the service's folder with --data; on PostgreSQL: pg_dump, then copy the folder",
        )
    if to.exists() and any(to.iterdir()) and not (to / FACTS).exists():
        raise Conflict(f"{to} holds something else", code="not-empty", hint="name a new folder with --to")
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = to / f"{DATABASE}.new"
    fresh.unlink(missing_ok=True)
    with (
        closing(_read_only(source)) as live,
        closing(sqlite3.connect(fresh)) as copy,
    ):
        live.backup(copy)
    # Before what it speaks of: a document that is archived twice does no harm, one that is not is missed.
    if (position := data / "archive" / POSITION).exists():
        _copy(position, to / "archive" / POSITION, again=True)
    for folder in _FOLDERS if blobs is None else _OWN_FOLDERS:
        for file in _files(data / folder):
            if file == position:
                continue
            _copy(file, to / folder / file.relative_to(data / folder), again=folder != "blobs")
    os.replace(fresh, to / DATABASE)
    facts = _facts(to, blobs)
    (to / FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n")
    return facts


def restore(backup: Path, data: Path, blobs: str | None = None) -> Backup:
    """Make `data`, which must not exist or be empty, from a backup; every blob is read and checked against
    its name, also in an object store, whose address is `blobs`. Conflict when there is an address and the
    backup has its blobs itself, or none and it has not; at what address they were then is not compared.
    InvalidInput, with nothing copied, when one was altered; files that are missing are named and missed only
    by who asks for them. Blobs and logs that the database does not name were deleted since an earlier backup
    into the same folder: they stay there."""
    if not (backup / FACTS).exists():
        raise NotFound(f"there is no backup in {backup}", hint="name the folder of `prixfixe admin backup`")
    if data.exists() and any(data.iterdir()):
        raise Conflict(f"{data} is not empty", code="not-empty", hint="name a new folder with --data")
    elsewhere = json.loads((backup / FACTS).read_text()).get("elsewhere")
    if (elsewhere is None) != (blobs is None):
        raise Conflict(
            f"the backup's blobs are {'in its folder' if elsewhere is None else 'at ' + elsewhere}",
            code="other-blob-store",
            hint="restore without --blobs, then copy them" if elsewhere is None else f"--blobs {elsewhere}",
        )
    with closing(_read_only(backup / DATABASE)) as kept:
        if kept.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise InvalidInput(f"{backup / DATABASE} is damaged", code="backup-altered")
        files = _named_files(backup, kept)
        if blobs is not None:
            _check(open_blob_store(blobs, data / "blobs"), kept)
        for file in files:
            name = file.parent.name + file.name
            if file.is_relative_to(backup / "blobs") and _digest(file) != name:
                raise InvalidInput(
                    f"{file} is not what its name says", code="backup-altered", hint="take another backup"
                )
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in files:
            _copy(file, data / file.relative_to(backup))
        with closing(sqlite3.connect(data / DATABASE)) as made:
            kept.backup(made)
    return _facts(data, blobs)


def _check(store: BlobStore, kept: sqlite3.Connection) -> None:
    """InvalidInput when a blob that the database names is something else. One that is not there is missed by
    who asks for it."""
    there = _sizes(store)
    for sha256, size in kept.execute("SELECT sha256, size FROM blobs ORDER BY sha256"):
        digest = hashlib.sha256()
        found = there.get(sha256)
        if found is None:
            continue
        try:
            for piece in store.read(sha256, 0, found):
                digest.update(piece)
        except NotFound:
            continue  # deleted since the listing
        if found != size or digest.hexdigest() != sha256:
            raise InvalidInput(
                f"the blob {sha256} is not what its name says",
                code="blob-altered",
                hint="delete it from the store; who has the file can send it again",
            )


def _sizes(store: BlobStore) -> dict[str, int]:
    """Of every blob that is there: one listing, where to ask for each would be a request a blob."""
    return {each.sha256: each.size for each in store.names()}


def _named_files(backup: Path, kept: sqlite3.Connection) -> list[Path]:
    """The blobs and logs of a backup that its database names, and all of its archive."""
    blobs = {sha256 for (sha256,) in kept.execute("SELECT sha256 FROM blobs")}
    logs = {log_name(attempt, task) for attempt, task in kept.execute("SELECT attempt, task FROM task_logs")}
    return [
        *(file for file in _files(backup / "blobs") if file.parent.name + file.name in blobs),
        *_files(backup / "archive"),
        *(file for file in _files(backup / "logs") if file.name in logs),
    ]


def _read_only(database: Path) -> sqlite3.Connection:
    """Whatever characters its path has."""
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def _facts(folder: Path, elsewhere: str | None) -> Backup:
    """What the database in a folder names, and what of it is there."""
    with closing(_read_only(folder / DATABASE)) as connection:
        named = connection.execute("SELECT sha256, size FROM blobs").fetchall()
        block = connection.execute("SELECT max(block) FROM cursor").fetchone()[0]
        jobs = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    there = _sizes(open_blob_store(elsewhere, folder / "blobs"))
    missing = [sha256 for sha256, size in named if there.get(sha256) != size]
    return Backup(
        __version__,
        int(time.time()),
        block,
        jobs,
        len(named),
        sum(size for _, size in named),
        tuple(sorted(missing)),
        elsewhere,
    )


def _files(folder: Path) -> Iterator[Path]:
    """What is whole: not what is on its way in."""
    if folder.is_dir():
        for each in sorted(folder.iterdir()):
            if each.name.startswith("."):
                continue
            if each.is_dir():
                yield from _files(each)
            else:
                yield each


def _copy(file: Path, target: Path, *, again: bool = False) -> None:
    """again: also when it is there, because it may have grown. What is deleted meanwhile is not there."""
    if target.exists() and not again:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(file, part)
        os.replace(part, target)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
