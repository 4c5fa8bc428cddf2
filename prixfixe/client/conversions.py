"""Converted tables, kept on this machine until they are bought: a run that was killed while it uploaded goes
on with the same bytes, and one that was only previewed converts nothing twice.

A conversion is found by what it was made of: the SHA-256 of the original, which is hashed again, and the
parameters. Nothing that differs from what was kept is ever used.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.keys import home
from prixfixe.protocol.canonical import canonical_digest_hex
from prixfixe.protocol.hashing import sha256_file

if TYPE_CHECKING:
    from prixfixe.tables.convert import Conversion

MAX_BYTES = 2 << 30
"""Bytes that are kept in all; the ones not used for longest go first."""

_ABANDONED_SECONDS = 86_400.0
_ABOUT = "conversion.json"
_FORMAT = 1
"""Goes up when a conversion of the same file and parameters would be another one."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted table: its file, that file's SHA-256, and what it was made of."""

    path: Path
    sha256: str
    conversion: Conversion


class Conversions:
    """The kept conversions of one person. folder: by default `conversions` in PRIXFIXE_HOME."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MAX_BYTES) -> None:
        self._folder = home() / "conversions" if folder is None else folder
        self._most = most_bytes

    def find(self, source: Path, parameters: Mapping[str, Any]) -> Converted | None:
        """What was made of this file with these parameters; None when nothing is kept or it is damaged. The
        original is hashed only when something could be found."""
        for entry in self._folder.glob(_name(source, parameters, "*")):
            digest, _ = sha256_file(source)
            if entry.name == _name(source, parameters, digest):
                found = _read(entry)
                if found is not None:
                    with suppress(OSError):
                        os.utime(entry)
                    return found
        return None

    def room(self) -> Path | None:
        """A new folder to convert into; None when this person's folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".making-", dir=self._folder))
        except OSError:
            return None

    def keep(
        self, made: Path, source: Path, parameters: Mapping[str, Any], conversion: Conversion
    ) -> Converted:
        """Keep a file that was made in a folder of `room`."""
        digest, _ = sha256_file(made)
        about = {"sha256": digest, "name": made.name, "conversion": asdict(conversion)}
        (made.parent / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        entry = self._folder / _name(source, parameters, conversion.sha256)
        shutil.rmtree(entry, ignore_errors=True)
        made.parent.rename(entry)
        self._sweep(entry)
        return Converted(entry / made.name, digest, conversion)

    def forget(self, kept: Path) -> None:
        """Remove a file that `find` or `keep` gave, or that is being made; another one is left alone."""
        if kept.parent.parent == self._folder:
            shutil.rmtree(kept.parent, ignore_errors=True)

    def _sweep(self, newest: Path) -> None:
        now, total = time.time(), 0
        entries = [(path.stat().st_mtime, path) for path in self._folder.iterdir() if path != newest]
        total = _size(newest)
        for used, path in sorted(entries, reverse=True):
            if path.name.startswith("."):
                if now - used > _ABANDONED_SECONDS:  # its process was killed
                    shutil.rmtree(path, ignore_errors=True)
                continue
            total += _size(path)
            if total > self._most:
                shutil.rmtree(path, ignore_errors=True)


def _name(source: Path, parameters: Mapping[str, Any], digest: str) -> str:
    declared = canonical_digest_hex({"format": _FORMAT, "parameters": dict(parameters)})
    return f"{declared[:32]}-{source.stat().st_size}-{digest}"


def _size(folder: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _read(entry: Path) -> Converted | None:
    from prixfixe.tables.convert import Conversion
    from prixfixe.tables.survey import Preflight

    try:
        about = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
        path = entry / Path(about["name"]).name
        if sha256_file(path)[0] != about["sha256"]:
            return None
        fields = about["conversion"]
        found = Preflight(**{**fields["found"], "columns": tuple(fields["found"]["columns"])})
        lists = {name: tuple(fields[name]) for name in ("columns", "pseudonymised")}
        return Converted(path, about["sha256"], Conversion(**{**fields, **lists, "found": found}))
    except (OSError, ValueError, KeyError, TypeError):
        return None
