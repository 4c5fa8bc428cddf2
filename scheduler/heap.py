"""Gives back to the machine what the C library keeps of memory that nobody uses any more.

Of what one of a dozen threads frees, the C library keeps all that does not lie at the end of that thread's
heap, and what is large too, once something as large was freed. A service that worked through tasks, and held
as many objects all the time, grew by 2 % with every 10,000 of them (`scripts/bench scale memory`). So all
threads share two heaps, what is large is mapped alone and goes back when it is freed, and the rest every ten
seconds, with what only circles hold: `settled` has them looked for so seldom that it grew by up to a tenth.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_PAUSE_SECONDS: Final = 10.0
# glibc's malloc.h: what mallopt sets, and to what. A threshold that is set no longer grows by itself. Pieces
# of an upload, 256 KiB, stay below: mapping each would take longer than hashing it.
_M_TRIM_THRESHOLD: Final = (-1, 1 << 20)
_M_MMAP_THRESHOLD: Final = (-3, 512 << 10)
_M_ARENA_MAX: Final = (-8, 2)
_YOUNG: Final = 20_000  # new objects between looks among them


@contextmanager
def settled() -> Iterator[None]:
    """What is there now stays, and is not looked through for garbage while this lasts; what is new, less
    often. A start makes two hundred thousand objects, and looking through them again and again took a sixth
    of the time of an order (`scripts/bench throughput`)."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def trimmed(pause: float = _PAUSE_SECONDS) -> Iterator[None]:
    """While it lasts, every ten seconds: milliseconds, in which other threads run. What is set for the
    process stays. Does nothing where the C library has no such calls (macOS, musl)."""
    trim = _trim()
    if trim is None:
        yield
        return
    for what, value in (_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        ctypes.CDLL(None).mallopt(what, value)
    over = threading.Event()

    def keep_trimming() -> None:
        while not over.wait(pause):
            gc.collect()
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
