"""Late imports: of libraries that change the whole interpreter as they load, and of many at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def recursion_limit_kept() -> Iterator[None]:
    """Import within this what loads py_ecc, which raises the interpreter's recursion limit to 100,000: a JSON
    text nested that deep, from anybody, then overruns the stack and ends the process, where the usual limit
    makes it an error."""
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within this what makes many objects that all stay: looking through them for garbage, again and
    again, takes a twelfth of the start of `prixfixe run` and a sixth of that of `prixfixe serve`."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
