"""Files that pages load: styles and scripts, all our own copies. Each is named by its digest, so that a
browser may keep it for good, and a page never meets another version's; modules import each other so."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from prixfixe.errors import NotFound

_FOLDER: Final = Path(__file__).parent / "assets"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """path: where the service serves it. packed: the content, compressed by gzip."""

    path: str
    media_type: str
    content: bytes
    packed: bytes


# How a module names one of the library's: by its file, or as a part of its package.
_IMPORTED: Final = re.compile(rb"""(?<= from )(["'])(?:\./|@noble/hashes/)(?:_|noble_)?(\w+)(?:\.js)?\1""")


@cache
def _read(file: Path) -> Asset:
    content = _IMPORTED.sub(_placed, file.read_bytes())
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Asset(
        f"/assets/{file.stem}-{digest}{file.suffix}",
        _TYPES[file.suffix],
        content,
        gzip.compress(content, mtime=0),
    )


def _placed(imported: re.Match[bytes]) -> bytes:
    return f'"{_read(_FOLDER / f"noble_{imported[2].decode()}.js").path}"'.encode()


ASSETS: Final[Mapping[str, Asset]] = {
    file.name: _read(file) for file in sorted(_FOLDER.iterdir()) if file.suffix in _TYPES
}
_BY_PATH: Final = {asset.path: asset for asset in ASSETS.values()}


def asset_at(path: str) -> Asset:
    """NotFound for what is none, also for an older version's."""
    try:
        return _BY_PATH[path]
    except KeyError:
        raise NotFound(
            f"there is nothing at {path}", code="unknown-route", hint="load the page anew"
        ) from None
