"""Reading what a task left, without trusting one name of it.

The folder was written by a stranger's program: it may hold links to the host's files, devices, pipes that
never answer, sparse giants, names that no system can store. Everything is opened relative to an open folder
and never through a link; a regular file with one name is the only thing that counts. The task is over
before this runs, so nothing changes underneath.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from prixfixe.errors import InvalidInput, PrixfixeError
from prixfixe.protocol.outputs import OutputFile, OutputManifest, require_output_path

_CHUNK: Final = 1 << 20
DEEPEST: Final = 16
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for its other end.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputRefused(PrixfixeError):
    """A task left something that is not plain files within its limits. The run counts as failed, status 4."""

    default_code = "output-refused"
    default_hint = "a program may leave plain files and folders in /job/outputs, within the product's disk"
    default_fault = "platform"
    title = "The outputs were refused"


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """files: how many. total_bytes: of all files, by their length, so a sparse file counts in full."""

    files: int
    total_bytes: int


def collect(folder: Path, limits: OutputLimits) -> OutputManifest:
    """Every file under `folder` with digest and size. OutputRefused names the first thing that is not
    allowed."""
    files, total = [], 0
    root = os.open(folder, _FOLDER_FLAGS)
    for path, parent, name in _walk(root, "", limits.files, 0):
        descriptor = _open_file(parent, name, path)
        try:
            size = os.fstat(descriptor).st_size
            total += size
            if total > limits.total_bytes:
                raise OutputRefused(
                    f"the outputs have more than {limits.total_bytes} bytes (at {path!r})",
                    code="output-too-large",
                )
            files.append(OutputFile(path, _digest(descriptor, size, path), size))
        finally:
            os.close(descriptor)
        if len(files) > limits.files:
            raise OutputRefused(f"more than {limits.files} output files", code="output-too-many")
    return OutputManifest.of(files)


@contextmanager
def open_output(folder: Path, path: str) -> Iterator[BinaryIO]:
    """The bytes of one collected file, each part of its path opened without following links."""
    require_output_path(path)
    *folders, name = path.split("/")
    descriptor = os.open(folder, _FOLDER_FLAGS)
    try:
        for part in folders:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        opened = _open_file(descriptor, name, path)
    finally:
        os.close(descriptor)
    with closing(os.fdopen(opened, "rb")) as stream:
        yield stream


def keep(folder: Path, files: Iterable[OutputFile], into: Path) -> None:
    """Copy collected files, so that the disk they lie on can go."""
    for file in files:
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_output(folder, file.path) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)


def _walk(descriptor: int, prefix: str, most: int, depth: int) -> Iterator[tuple[str, int, str]]:
    """(path, open parent folder, name) of everything that is no folder, in the order of names. Closes the
    descriptor."""
    try:
        if depth > DEEPEST:
            raise OutputRefused(f"folders nested deeper than {DEEPEST}", code="output-too-deep")
        names = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) > most:
                    raise OutputRefused(f"more than {most} entries in one folder", code="output-too-many")
        for name in sorted(names):
            path = checked_path(prefix + name)
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                below = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
                yield from _walk(below, f"{path}/", most, depth + 1)
            else:
                _require_plain(mode, path)
                yield path, descriptor, name
    finally:
        os.close(descriptor)


def _open_file(parent: int, name: str, path: str) -> int:
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise OutputRefused(f"{path!r} is not a plain file", code="output-not-plain") from error
        raise
    found = os.fstat(descriptor)
    try:
        _require_plain(found.st_mode, path)
        if found.st_nlink != 1:
            raise OutputRefused(f"{path!r} is one file under several names", code="output-hard-link")
    except OutputRefused:
        os.close(descriptor)
        raise
    return descriptor


_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _require_plain(mode: int, path: str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((words for test, words in _KINDS if test(mode)), "not a plain file")
    raise OutputRefused(f"{path!r} is {kind}", code="output-not-plain")


def checked_path(path: str) -> str:
    """The path; OutputRefused for one that not every system can store."""
    try:
        return require_output_path(path)
    except InvalidInput as error:
        raise OutputRefused(error.message, code="output-odd-name") from error


def _digest(descriptor: int, size: int, path: str) -> str:
    digest, seen = hashlib.sha256(), 0
    while chunk := os.read(descriptor, _CHUNK):
        digest.update(chunk)
        seen += len(chunk)
    if seen != size:
        raise OutputRefused(f"{path!r} changed while it was read", code="output-changed")
    return digest.hexdigest()
