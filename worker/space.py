"""Whether the data disk has room for what a worker writes before it may sign: journal, outputs, logs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

_MIB: Final = 2**20
# Below it no work is taken: the journal, the logs and the report of what runs still have room then.
LEAST_BYTES: Final = 64 * _MIB
# Back at work only with this much, so that a worker at the edge does not come and go.
ENOUGH_BYTES: Final = 128 * _MIB
_LEAST_FILES: Final = 256


class Space:
    """Looks at the disk of a folder. Safe for many threads."""

    def __init__(self, folder: Path, least: int = LEAST_BYTES, enough: int = ENOUGH_BYTES) -> None:
        self._folder = folder
        self._least = least
        self._enough = enough
        self._short = False
        self._lock = threading.Lock()

    def trouble(self) -> str | None:
        """Why no work can be taken, in a sentence for the provider; None when there is room."""
        found = os.statvfs(self._folder)
        free = found.f_bavail * found.f_frsize
        no_files = found.f_files > 0 and found.f_favail < _LEAST_FILES  # some file systems do not count files
        with self._lock:
            self._short = no_files or free < (self._enough if self._short else self._least)
            if not self._short:
                return None
        if no_files:
            return f"the data folder's disk has room for {found.f_favail} more files: remove some"
        return (
            f"the data folder's disk has {free // _MIB} MiB left: "
            f"no work is taken until it has {self._enough // _MIB} MiB"
        )
