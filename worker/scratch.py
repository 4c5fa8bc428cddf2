"""Where a task may write: a disk of its own with an end.

The engine's storage driver cannot limit a container's files, so a disk is one of two things:

loop: a file with an ext4 file system of exactly the product's size, mounted without devices, set-user-ids
or execution. The job meets "no space left" like on any disk; the number of files is bounded by its inodes.
It needs root and loop devices on the engine's own host. Disks are made ahead of need, because the 15 ms
that one takes would be part of every job's latency.

watched: a plain folder whose size is looked at twice a second while the job runs. For a
worker without root, or in a container. A job can overshoot for half a second; `prixfixe worker check` says
so.

carried: a plain folder that takes what is fetched from an engine that sees none of ours, after the task has
ended; the disk itself is memory there, with a hard end (`worker.carrying`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from prixfixe.errors import EngineError
from worker.cage import USER
from worker.settings import ScratchKind
from worker.whereabouts import address, is_far, shares_our_mounts

DiskKind: TypeAlias = Literal["loop", "watched", "carried"]
_CARRIED: Final = "carried"  # marks the folder of such a disk

_LEAST_MIB: Final = 16  # below it ext4 has no room for its own tables
_INODES: Final = 16384
_MKFS: Final = (
    *("mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(_INODES)),
    *("-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"),
)
_MOUNT_OPTIONS: Final = "loop,nosuid,nodev,noexec,noatime"


def _own_user() -> str | None:
    return None if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"


@dataclass(frozen=True, slots=True)
class Disk:
    """One task's disk: `outputs`, and `temporary`, its /tmp. Belongs to whoever took it."""

    kind: DiskKind
    folder: Path
    size_mib: int
    # Who the task must be to write here; None: the cage's own user. Without root nobody else's files could be
    # read afterwards, so the task is then the user of the process that reads them.
    user: str | None = field(default_factory=_own_user)

    @property
    def carried(self) -> str | None:
        """Of a carried disk the name of what the engine has for it."""
        return carried_name(self.folder)

    @property
    def outputs(self) -> Path:
        return self.folder / "disk" / "outputs"

    @property
    def temporary(self) -> Path:
        return self.folder / "disk" / "tmp"

    def used_bytes(self) -> int:
        """What the task has written, for a watched disk; links are not followed."""
        return _tree_bytes(self.folder / "disk")


def carried_name(folder: Path) -> str | None:
    """What the engine calls what it has for the disk in this folder; None when it has nothing."""
    return f"prixfixe-{folder.name}" if (folder / _CARRIED).exists() else None


class Drops(Protocol):
    def drop(self, name: str) -> None:
        """Delete what the engine has under this name."""


class ScratchPool:
    """Makes disks, keeps one of each wanted size ready, and takes them back. carrier: deletes what the engine
    has of carried ones."""

    def __init__(self, folder: Path, kind: ScratchKind, carrier: Drops, *, ready: int = 1) -> None:
        self._folder = folder
        self._carrier = carrier
        self._ready = ready
        self._lock = threading.Lock()
        self._spare: dict[int, list[Disk]] = {}
        self._making: Counter[int] = Counter()
        self._made: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self.kind: DiskKind = _choose(folder) if kind == "auto" else kind

    def take(self, size_mib: int) -> Disk:
        """A fresh, empty disk: a ready one, else one made now."""
        with self._lock:
            spare = self._spare.get(size_mib)
            if spare:
                return spare.pop()
        return self._make(size_mib)

    def prepare(self, size_mib: int) -> None:
        """Have disks of this size ready. Called off the hot path."""
        while True:
            with self._lock:
                coming = len(self._spare.setdefault(size_mib, [])) + self._making[size_mib]
                if coming >= self._ready:
                    return
                self._making[size_mib] += 1
            try:
                disk = self._make(size_mib)
                with self._lock:
                    self._spare[size_mib].append(disk)
            finally:
                with self._lock:
                    self._making[size_mib] -= 1

    def release(self, disk: Disk) -> None:
        """Delete a disk with all that is on it."""
        self.discard(disk.folder)

    def discard(self, folder: Path) -> None:
        """Delete a disk of which only the folder is known."""
        self._delete(folder)
        with self._lock:
            self._made.discard(folder)

    def adopt(self, folder: Path, size_mib: int) -> Disk | None:
        """The disk that an earlier process took, mounted again if the machine restarted; None when it is
        gone."""
        kind: DiskKind = "loop" if (folder / "image").exists() else "watched"
        if carried_name(folder) is not None:
            kind = "carried"
        disk = _disk(kind, folder, size_mib)
        if kind == "loop" and not os.path.ismount(folder / "disk"):
            with suppress(EngineError):
                _mount(folder)
        return disk if disk.outputs.is_dir() else None

    def sweep(self, keep: set[Path]) -> None:
        """Delete the disks that an earlier process left, but those in `keep`. What this one made stays."""
        for entry in self._folder.iterdir():
            with self._lock:
                mine = entry in self._made
            if not mine and entry not in keep:
                self._delete(entry)

    def close(self) -> None:
        """Delete what was ready and never used."""
        with self._lock:
            spare = [disk for disks in self._spare.values() for disk in disks]
            self._spare.clear()
        for disk in spare:
            with suppress(EngineError):  # an engine that is away has nothing of a disk that nobody took
                self.release(disk)

    def _make(self, size_mib: int) -> Disk:
        folder = self._folder / uuid.uuid4().hex
        disk = _disk(self.kind, folder, size_mib)
        with self._lock:
            self._made.add(folder)
        (folder / "disk").mkdir(parents=True)
        try:
            if self.kind == "carried":
                (folder / _CARRIED).touch()
            if self.kind == "loop":
                _format(folder / "image", max(size_mib, _LEAST_MIB))
                _mount(folder)
            for place in (disk.outputs, disk.temporary):
                place.mkdir(mode=0o700)
                if self.kind != "carried":
                    _give_to_task(place)
        except BaseException:
            self.discard(folder)
            raise
        return disk

    def _delete(self, folder: Path) -> None:
        name = carried_name(folder)
        if name is not None:
            self._carrier.drop(name)
        _delete(folder)


def _disk(kind: DiskKind, folder: Path, size_mib: int) -> Disk:
    """What is fetched is ours, whoever wrote it there."""
    return Disk(kind, folder, size_mib, None) if kind == "carried" else Disk(kind, folder, size_mib)


def _give_to_task(place: Path) -> None:
    if os.geteuid() == 0:
        os.chown(place, USER, USER)
        place.chmod(0o700)


def _choose(folder: Path) -> DiskKind:
    """carried when the engine is far; loop when it works here and the engine shares our mounts; it is tried,
    not guessed."""
    if is_far(address()):
        return "carried"
    if os.geteuid() != 0 or not shares_our_mounts(address()):
        return "watched"
    probe = folder / f"probe-{uuid.uuid4().hex}"
    (probe / "disk").mkdir(parents=True)
    try:
        _format(probe / "image", _LEAST_MIB)
        _mount(probe)
    except EngineError:
        return "watched"
    finally:
        _delete(probe)
    return "loop"


def _format(image: Path, size_mib: int) -> None:
    with image.open("wb") as stream:
        os.truncate(stream.fileno(), size_mib << 20)
    # No journal: the disk does not outlive a crash of the host with anything that is worth keeping.
    _run([*_MKFS, str(image)])


def _mount(folder: Path) -> None:
    _run(["mount", "-o", _MOUNT_OPTIONS, str(folder / "image"), str(folder / "disk")])


def _run(command: list[str]) -> None:
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin:/sbin"
    try:
        done = subprocess.run(command, capture_output=True, check=False, env={"PATH": path, "LC_ALL": "C"})
    except OSError as error:
        raise EngineError(f"{command[0]} is needed to make a task's disk and is not here") from error
    if done.returncode != 0:
        raise EngineError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()[:300]}")


def _delete(folder: Path) -> None:
    """Unmount and delete. A mount that something still holds is detached now and freed by the kernel
    later."""
    place = folder / "disk"
    if os.path.ismount(place):
        try:
            _run(["umount", str(place)])
        except EngineError:
            _run(["umount", "--lazy", str(place)])
    shutil.rmtree(folder, ignore_errors=True)


def _tree_bytes(folder: Path) -> int:
    total, stack = 0, [folder]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(Path(entry.path))
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
