"""A task's files on an engine that sees none of ours: sent before it runs, fetched after it has ended.

What a task reads and what it may write lie in volumes that are memory of the engine's machine (tmpfs), since
no other kind of volume has an end on every engine. The engine mounts such a volume while a container has it
and forgets what is in it after the last; so a container of ours, the one-instruction program of
`worker.holder`, keeps it, and takes and gives the files through the engine's archives.

    NAME-job   the folder /job, read-only to the task, as large as what is in it
    NAME-out   /job/outputs, as large as the product's disk
    NAME-keep  the container that has both, without network, capability or a file system to write
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from prixfixe.errors import EngineError
from worker import holder
from worker.cage import USER, Cage
from worker.containers import NotThere, Refused
from worker.engine import Engine
from worker.outputs import DEEPEST, OutputLimits, OutputRefused, checked_path

MOST_INPUT_MIB: Final = 1024  # of a task: it is memory of the engine's machine beside the task's own
FILES_AT_ONCE: Final = 16384  # that a volume may have, as a disk of its own has
_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
_PAGE: Final = 4096
_FREED_SECONDS: Final = 60.0  # until the engine lets go of a volume whose archive was not read to its end
_SAFE: Final = "nosuid,nodev,noexec"


class Carrier:
    """Of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def bring(self, cage: Cage) -> None:
        """Make the volumes of a cage, its inputs in them. Those that an earlier try left go first."""
        name = cage.mounts.carried
        assert name is not None
        self.drop(name)
        size, files = _room(cage.mounts.job)
        if size > MOST_INPUT_MIB << 20:
            raise EngineError(
                f"the inputs have more than the {MOST_INPUT_MIB} MiB that are carried to an engine elsewhere",
                code="inputs-not-carried",
            )
        job = f"size={size},nr_inodes={files},mode=0755,{_SAFE}"
        out = f"size={cage.disk_mib << 20},nr_inodes={FILES_AT_ONCE},mode=0700,uid={USER},gid={USER},{_SAFE}"
        for volume, options in ((f"{name}-job", job), (f"{name}-out", out)):
            self._engine.make_volume(volume, {"type": "tmpfs", "device": "tmpfs", "o": options})
        keeper = self._engine.hold(_keep_request(cage, name), f"{name}-keep")
        self._engine.put(keeper, "/job", pack(cage.mounts.job))

    def fetch(self, name: str, into: Path, limits: OutputLimits) -> None:
        """What the task left, into an empty folder of this machine. OutputRefused names the first thing that
        is not allowed; EngineError when the engine has lost it."""
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(mode=0o700, parents=True)
        try:
            with self._engine.archive(f"{name}-keep", "/out/.") as chunks:
                unpack(chunks, into, limits)
        except NotThere as error:
            raise EngineError(
                "the engine lost the task's outputs", code="outputs-gone", retryable=True
            ) from error

    def drop(self, name: str) -> None:
        """Delete the volumes and what keeps them. What is gone is no error."""
        self._engine.remove(f"{name}-keep")
        until = time.monotonic() + _FREED_SECONDS
        for volume in (f"{name}-job", f"{name}-out"):
            while True:
                try:
                    self._engine.remove_volume(volume)
                    break
                except Refused:
                    if time.monotonic() > until:
                        raise
                time.sleep(0.1)


def _keep_request(cage: Cage, name: str) -> dict[str, Any]:
    request = holder.create_request(cage, "runc")
    request["HostConfig"]["Mounts"] = [
        {"Type": "volume", "Source": f"{name}-{what}", "Target": place, "VolumeOptions": {"NoCopy": True}}
        for what, place in (("job", "/job"), ("out", "/out"))
    ]
    return request


def _room(folder: Path) -> tuple[int, int]:
    """Bytes and number of files that a volume for this folder needs."""
    found = [place.lstat() for place in folder.rglob("*")]
    pages = sum(-(-each.st_size // _PAGE) for each in found if stat.S_ISREG(each.st_mode))
    return (pages + len(found) + 64) * _PAGE, len(found) + 64


def pack(folder: Path) -> Iterator[bytes]:
    """A tar of a folder's plain files and folders, as it is sent: readable to everybody, writable to none."""
    for place in sorted(folder.rglob("*")):
        entry = tarfile.TarInfo(place.relative_to(folder).as_posix())
        if place.is_dir():
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            yield entry.tobuf(tarfile.PAX_FORMAT)
            continue
        with place.open("rb") as stream:
            entry.size, entry.mode = os.fstat(stream.fileno()).st_size, 0o444
            yield entry.tobuf(tarfile.PAX_FORMAT)
            yield from iter(lambda: stream.read(_CHUNK), b"")
        yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def unpack(chunks: Iterable[bytes], into: Path, limits: OutputLimits) -> None:
    """The plain files of a tar that an engine made of what a stranger's program left, into a folder that only
    we write to. Nothing else is made of it, and no more is read than the limits allow; lengths count as they
    are told, so a sparse giant is refused before its first byte."""
    entries = files = total = 0
    most = limits.total_bytes + 4 * _PAGE * (limits.files + 64)
    try:
        bounded = _Bounded(chunks, most)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r|", bufsize=_CHUNK) as archive:
            for entry in archive:
                if entry.name in (".", "") and entry.isdir():
                    continue
                path = checked_path(entry.name.removeprefix("./"))
                entries += 1
                if entries > 2 * limits.files or (files := files + (not entry.isdir())) > limits.files:
                    raise OutputRefused(f"more than {limits.files} output files", code="output-too-many")
                if path.count("/") > DEEPEST:
                    raise OutputRefused(f"folders nested deeper than {DEEPEST}", code="output-too-deep")
                if entry.isdir():
                    (into / path).mkdir(mode=0o700)
                    continue
                _require_plain(entry, path)
                total += entry.size
                if total > limits.total_bytes:
                    raise OutputRefused(
                        f"the outputs have more than {limits.total_bytes} bytes (at {path!r})",
                        code="output-too-large",
                    )
                _write(archive, entry, into / path)
        bounded.require_end()
    except (tarfile.TarError, FileExistsError, FileNotFoundError, NotADirectoryError, EOFError) as error:
        raise EngineError(
            f"the engine's archive of the outputs cannot be read: {type(error).__name__}", code="bad-archive"
        ) from error


_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
}


def _require_plain(entry: tarfile.TarInfo, path: str) -> None:
    if entry.islnk():
        raise OutputRefused(f"{path!r} is one file under several names", code="output-hard-link")
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.sparse is not None:
        kind = _KINDS.get(entry.type, "not a plain file")
        raise OutputRefused(f"{path!r} is {kind}", code="output-not-plain")


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, place: Path) -> None:
    source = archive.extractfile(entry)
    assert source is not None  # it is plain
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(place, flags, 0o600), "wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
        if target.tell() != entry.size:
            raise EOFError


class _Bounded:
    """Chunks as a file to read from, to an end."""

    def __init__(self, chunks: Iterable[bytes], most: int) -> None:
        self._chunks = iter(chunks)
        self._kept = bytearray()
        self._left = most
        self._last = b""

    def require_end(self) -> None:
        """EOFError unless the rest is what ends a tar, which its reader does not ask for: an archive that was
        cut between two files looks whole to it."""
        while self.read(_CHUNK):
            pass
        if self._last != bytes(2 * _BLOCK):
            raise EOFError

    def read(self, size: int) -> bytes:
        while len(self._kept) < size and (chunk := next(self._chunks, b"")):
            self._left -= len(chunk)
            if self._left < 0:
                raise OutputRefused("the outputs are longer than they may be", code="output-too-large")
            self._kept += chunk
        found = bytes(self._kept[:size])
        del self._kept[:size]
        self._last = (self._last + found)[-2 * _BLOCK :]
        return found
