"""Keeping a process that holds a key from being read by others of its user."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def hide_memory() -> None:
    """No debugger, `/proc/PID/mem` or core file shows this process to its own user (prctl(2)); root still
    sees it. Programs that it starts are as ever. Nothing happens where the kernel does not know how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
