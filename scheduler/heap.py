"""Gives back to the machine what the C library keeps of memory that nobody uses any more.

Of what one of a dozen threads frees, the C library keeps all that does not lie at the end of that thread's
heap. A service that worked through tasks, and held as many objects all the time, grew by 2 % with every
10,000 of them; told to give back what is free it grew less (`scripts/bench scale memory`).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_PAUSE_SECONDS: Final = 30.0


@contextmanager
def trimmed(pause: float = _PAUSE_SECONDS) -> Iterator[None]:
    """While it lasts, twice a minute: milliseconds, in which other threads run. Does nothing where the C
    library has no such call (macOS, musl)."""
    trim = _trim()
    if trim is None:
        yield
        return
    over = threading.Event()

    def keep_trimming() -> None:
        while not over.wait(pause):
            trim(0)

    thread = threading.Thread(target=keep_trimming, name="heap", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`: of all threads' heaps, the pages that hold nothing go back (man 3
    malloc_trim)."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
