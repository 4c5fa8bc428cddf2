"""Files on the customer's side: what is sent is what was priced, what arrives is whole or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from prixfixe.client.calls import Download, Part, Upload
from prixfixe.errors import ConfigurationError, Conflict, InvalidInput, PrixfixeError, VerificationFailed
from prixfixe.protocol.hashing import sha256_file
from prixfixe.protocol.manifest import InputFile

if TYPE_CHECKING:
    from prixfixe.protocol.wire import OutputFileInfo

CHUNK_BYTES = 1 << 20


class FileChanged(InvalidInput):
    """A file is no longer what it was when it was priced."""

    default_code = "file-changed"
    default_hint = "nothing was charged; run the command again with the file at rest"
    title = "The file changed"


def body_of(call: Upload | Part) -> Iterator[bytes]:
    """The bytes that a call sends."""
    return outgoing_part(call) if isinstance(call, Part) else outgoing(call)


def outgoing(call: Upload) -> Iterator[bytes]:
    """The file's bytes in pieces. FileChanged, before the last piece leaves, when they are not what was
    promised."""
    digest, sent = hashlib.sha256(), 0
    with _readable(call.source) as stream:
        pending = b""
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            if pending:
                yield pending
                sent += len(pending)
                if call.progress is not None:
                    call.progress(sent, call.size)
            pending = chunk
            if sent + len(pending) > call.size:
                raise changed(call.source)
        # The last piece is held back until the whole is known to be right: a changed file never arrives
        # whole.
        if sent + len(pending) != call.size or digest.hexdigest() != call.sha256:
            raise changed(call.source)
        if pending:
            yield pending
        if call.progress is not None:
            call.progress(call.size, call.size)


def outgoing_part(call: Part) -> Iterator[bytes]:
    """The part's bytes in pieces. FileChanged when the file has become shorter; any other change is found by
    the service, which takes nothing that is not what was promised."""
    done, end = call.range.offset, call.range.end
    with _readable(call.source) as stream:
        stream.seek(done)
        while done < end:
            chunk = stream.read(min(CHUNK_BYTES, end - done))
            if not chunk:
                raise changed(call.source)
            yield chunk
            done += len(chunk)
            if call.progress is not None:
                call.progress(done, call.range.size)


def require_unchanged(source: Path, sha256: str, size: int) -> None:
    """FileChanged when the file is not what was promised."""
    with _readable(source):
        if sha256_file(source) != (sha256, size):
            raise changed(source)


def changed(source: Path) -> FileChanged:
    return FileChanged(f"{source} was changed after it was priced", file=str(source))


def _readable(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise InvalidInput(f"{source} cannot be read: {error.strerror}", file=str(source)) from error


class IncomingFile:
    """Takes a body into a hidden file beside the target; `finish` puts it in place when every byte is
    right."""

    def __init__(self, call: Download) -> None:
        self._call = call
        # Not longer than the name itself may be, which is as long as a file system takes.
        short = hashlib.sha256(os.fsencode(call.target.name)).hexdigest()[:16]
        self._part = call.target.with_name(f".{short}.{os.getpid()}.part")
        self._digest = hashlib.sha256()
        self._received = 0

    def __enter__(self) -> Self:
        try:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._part.open("wb")
        except OSError as error:
            raise unwritable(self._call.target, error) from error
        return self

    def write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._received += len(chunk)
        if self._received > self._call.size:
            raise self._wrong("is longer than")
        try:
            self._stream.write(chunk)
        except OSError as error:
            raise unwritable(self._call.target, error) from error
        if self._call.progress is not None:
            self._call.progress(self._received, self._call.size)

    def finish(self) -> None:
        """Put the file in place. VerificationFailed when it is not the one that the receipt names."""
        if self._received != self._call.size or self._digest.hexdigest() != self._call.sha256:
            raise self._wrong("differs from")
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._part.replace(self._call.target)
        except OSError as error:
            raise unwritable(self._call.target, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk is told by the write that met it
            self._stream.close()
        self._part.unlink(missing_ok=True)

    def _wrong(self, how: str) -> VerificationFailed:
        return VerificationFailed(
            f"what the service sent as {self._call.target.name} {how} what the worker signed",
            code="wrong-bytes",
            hint="it was not kept; download again, and keep the receipt: it names the right digest",
        )


def unwritable(target: Path, error: OSError) -> PrixfixeError:
    """What a failed write means for a person: a full disk, or a place that takes no file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ConfigurationError(
            f"there is no space left for {target}",
            code="disk-full",
            hint="the result stays with the service: make space and run `prixfixe jobs download`",
            fault="customer",
        )
    return ConfigurationError(
        f"{target} cannot be written: {error.strerror}",
        code="not-writable",
        hint="name another place; the result stays with the service: `prixfixe jobs download`",
        fault="customer",
    )


def require_writable(target: Path) -> None:
    """ConfigurationError unless a file can be made beside `target` now: asked before money moves."""
    probe = target.with_name(f".{target.name}.{os.getpid()}.probe")
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror}",
            code="not-writable",
            hint="nothing was charged; name another place with --out",
            fault="customer",
        ) from error


def require_free_target(target: Path, *, overwrite: bool, option: str = "--out") -> None:
    """Conflict when a file or folder is in the way. option: what names another place on a command line."""
    if target.is_dir():
        raise Conflict(f"{target} is a folder", code="output-exists", hint="name a file")
    if target.exists() and not overwrite:
        raise Conflict(
            f"{target} exists already",
            code="output-exists",
            hint=f"name another file with {option}, or replace it with --force",
        )


def is_there(file: OutputFileInfo, target: Path) -> bool:
    """Whether `target` holds this very output, so that it need not be fetched again."""
    try:
        return (
            target.is_file()
            and target.stat().st_size == file.size
            and sha256_file(target) == (file.sha256, file.size)
        )
    except OSError:
        return False


def free_name(target: Path) -> Path:
    """`target`, or the first of its name with -2, -3 ... that no file beside it has, whatever its ending."""
    if not target.parent.is_dir():
        return target
    taken = {path.stem for path in target.parent.iterdir()}
    names = chain((target.stem,), (f"{target.stem}-{number}" for number in count(2)))
    return target.with_stem(next(name for name in names if name not in taken))


def input_name(path: Path) -> str:
    """What a file is called inside of the job: its own name, with `_` for every letter that a job's name has
    not."""
    plain = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in path.name
    )
    return (plain if plain[:1].isalnum() else f"input{plain}")[-128:].lstrip("._-") or "input"


def describe_input(path: Path, sha256: str | None = None) -> InputFile:
    """Name, digest and size of a file on this machine. sha256: the digest, when it is known."""
    try:
        digest, size = (sha256, path.stat().st_size) if sha256 else sha256_file(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", file=str(path)) from error
    return InputFile(name=input_name(path), sha256=digest, size=size)


def named_input(given: InputFile | Path | str) -> tuple[InputFile, Path | None]:
    """An input, and the file on this machine when it was given as one."""
    if isinstance(given, InputFile):
        return given, None
    path = Path(given)
    return describe_input(path), path
