"""What a task leaves behind, and how a lot's results become one root.

The digest of a task is SHA-256 of its canonical output manifest. A leaf binds the task's place in its lot,
status and digest; a lot's root is a Merkle tree over exactly its leaves. Leaves and inner nodes hash with
different first bytes, so neither can be taken for the other; an odd node moves up unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from json.encoder import encode_basestring
from typing import Any, Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.canonical import parse_canonical
from prixfixe.protocol.hashing import keccak256, sha256
from prixfixe.protocol.typed_data import require_fields

MANIFEST_VERSION: Final = 1
MAX_NAME_BYTES: Final = 255
MAX_PATH_BYTES: Final = 1024
_MAX_SIZE: Final = 2**53

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class TaskStatus(IntEnum):
    """How a task ended; one byte of its leaf."""

    SUCCEEDED = 0
    EXITED_NON_ZERO = 1
    OUT_OF_MEMORY = 2
    OUT_OF_TIME = 3
    OUTPUT_REFUSED = 4  # limits, links, odd names
    INPUT_REFUSED = 5  # the program left with 64 or 65: the customer's mistake
    COULD_NOT_START = 6


def ending(status: int) -> str:
    """A status in words: "out of memory"."""
    known = [each.name for each in TaskStatus if each == status]
    return known[0].lower().replace("_", " ") if known else f"status {status}"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file. path: relative, `/` between names. sha256: 64 lower-case hexadecimal digits. size: bytes."""

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        require_output_path(self.path)
        if type(self.sha256) is not str or not _SHA256.fullmatch(self.sha256):
            raise InvalidInput(f"{self.path!r} has no SHA-256 of 64 lower-case digits", code="bad-output")
        if type(self.size) is not int or not 0 <= self.size < _MAX_SIZE:
            raise InvalidInput(f"{self.path!r} has the size {self.size!r}", code="bad-output")

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "size": self.size}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> OutputFile:
        require_fields(value, ["path", "sha256", "size"], "output file")
        return OutputFile(value["path"], value["sha256"], value["size"])


@dataclass(frozen=True, slots=True)
class OutputManifest:
    """All files of one task, sorted by path as UTF-8 bytes; no path twice, none below another. May be
    empty."""

    files: tuple[OutputFile, ...] = ()

    def __post_init__(self) -> None:
        if type(self.files) is not tuple or not all(type(file) is OutputFile for file in self.files):
            raise InvalidInput("an output manifest holds a tuple of output files", code="bad-output")
        if not self.files:
            return
        paths = [file.path.encode("utf-8") for file in self.files]
        if paths != sorted(paths):
            raise InvalidInput("the output files are not sorted by path", code="bad-output")
        known = set(paths)
        if len(known) != len(paths):
            raise InvalidInput("two output files have the same path", code="bad-output")
        for path in paths:
            for cut in (at for at, byte in enumerate(path) if byte == ord("/")):
                if path[:cut] in known:
                    name = path[:cut].decode("utf-8")
                    raise InvalidInput(f"{name!r} is both a file and a folder", code="bad-output")

    @staticmethod
    def of(files: Iterable[OutputFile]) -> OutputManifest:
        """The manifest of files in any order."""
        return OutputManifest(tuple(sorted(files, key=lambda file: file.path.encode("utf-8"))))

    def to_json(self) -> dict[str, Any]:
        return {"files": [file.to_json() for file in self.files], "version": MANIFEST_VERSION}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> OutputManifest:
        require_fields(value, ["files", "version"], "output manifest")
        if type(value["version"]) is not int or value["version"] != MANIFEST_VERSION:
            raise InvalidInput(
                f"output manifest version {value['version']!r} is not known", code="bad-output"
            )
        if not isinstance(value["files"], list):
            raise InvalidInput("an output manifest's files are a list", code="bad-output")
        return OutputManifest(tuple(OutputFile.from_json(file) for file in value["files"]))

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785): what is stored and hashed. Of values that were checked already, so it is
        written as it stands, which takes a twentieth of what looking at each again would."""
        files = ",".join(
            f'{{"path":{encode_basestring(file.path)},"sha256":"{file.sha256}","size":{file.size}}}'
            for file in self.files
        )
        return f'{{"files":[{files}],"version":{MANIFEST_VERSION}}}'.encode()

    @staticmethod
    def from_bytes(data: bytes) -> OutputManifest:
        return OutputManifest.from_json(parse_canonical(data))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return sha256(self.to_bytes())

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def require_output_path(path: object) -> str:
    """`path` when every system can store it and none can be led out of a folder by it; InvalidInput
    otherwise.

    Relative, names of 1 to 255 bytes of UTF-8 between `/`, none `.` or `..`, no control or line-breaking
    character, no backslash (a separator on the customer's Windows), at most 1024 bytes. Names are kept byte
    for byte.
    """
    reason = _path_fault(path)
    if reason is not None:
        shown = repr(path)
        raise InvalidInput(
            f"output path {shown if len(shown) <= 80 else shown[:77] + '...'} {reason}",
            code="bad-output-path",
        )
    assert isinstance(path, str)
    return path


def _path_fault(path: object) -> str | None:
    if type(path) is not str or not path:
        return "is not text"
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(raw) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") or char == "\\" for char in path):
        return "has a control character or a backslash"
    for name in raw.split(b"/"):
        if not name:
            return "is absolute or has an empty name"
        if name in (b".", b".."):
            return "has a name that is '.' or '..'"
        if len(name) > MAX_NAME_BYTES:
            return f"has a name longer than {MAX_NAME_BYTES} bytes"
    return None


def leaf(index: int, status: int, digest: bytes) -> bytes:
    """`keccak256(0x00 | uint32 index | uint8 status | bytes32 digest)`; index is the task's place in its
    lot, from 0, as the contract's proof counts it, and not its number in the job: a lot of one has leaf 0."""
    if type(index) is not int or not 0 <= index < 2**32:
        raise InvalidInput(f"task index {index!r} does not fit 32 bits", code="bad-leaf")
    if not 0 <= status < 256:
        raise InvalidInput(f"task status {status!r} does not fit 8 bits", code="bad-leaf")
    _require_nodes([digest])
    return keccak256(b"\x00" + index.to_bytes(4, "big") + bytes([status]) + digest)


def lot_leaves(tasks: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """The leaves of a lot's tasks, (status, digest) each, in their order."""
    return [leaf(place, status, digest) for place, (status, digest) in enumerate(tasks)]


def lot_root(tasks: Iterable[tuple[int, bytes]]) -> bytes:
    """The root that a lot's workers sign: over all its tasks, (status, digest) each, in their order."""
    return merkle_root(lot_leaves(tasks))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over the leaves in order. One leaf is its own root; none has no root."""
    if not leaves:
        raise InvalidInput("a lot has at least one task", code="bad-leaf")
    _require_nodes(leaves)
    level = list(leaves)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from leaf `index` up to the root; a level where it has none is left out."""
    if not 0 <= index < len(leaves):
        raise InvalidInput(f"there is no leaf {index} among {len(leaves)}", code="bad-leaf")
    _require_nodes(leaves)
    proof, level = [], list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level, index = _next_level(level), index // 2
    return proof


def verify_proof(root: bytes, leaf_hash: bytes, index: int, count: int, proof: Sequence[bytes]) -> bool:
    """Whether `leaf_hash` is leaf `index` of `count` under `root`. The shape is fixed by `count`, so a proof
    of another length never passes."""
    if not 0 <= index < count:
        return False
    node, left, width = leaf_hash, list(proof), count
    while width > 1:
        if index ^ 1 < width:
            if not left:
                return False
            sibling = left.pop(0)
            node = _inner(sibling, node) if index & 1 else _inner(node, sibling)
        index, width = index // 2, (width + 1) // 2
    return not left and node == root


def _next_level(level: list[bytes]) -> list[bytes]:
    pairs = [_inner(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _inner(left: bytes, right: bytes) -> bytes:
    return keccak256(b"\x01" + left + right)


def _require_nodes(nodes: Sequence[bytes]) -> None:
    for node in nodes:
        if type(node) is not bytes or len(node) != 32:
            raise InvalidInput("hashes have 32 bytes", code="bad-leaf")
