"""What the service frees goes back to the machine."""

from __future__ import annotations

import gc
import platform
import weakref

import pytest

from scheduler import heap
from tests.support.memory import resident_kib
from tests.support.scheduling import until


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_memory_that_nobody_uses_goes_back_though_something_behind_it_is_used() -> None:
    pieces = [bytes([at % 256]) * 4_000 for at in range(15_000)]  # too small to be mapped alone
    most = resident_kib()
    del pieces[:-1]
    with heap.trimmed(pause=0.05):
        until(lambda: resident_kib() < most - 40_000, "40 MB of 60 to go back", 60)


def test_what_a_start_made_is_not_looked_through_for_garbage_and_later_garbage_is_found() -> None:
    class Held:
        def __init__(self) -> None:
            self.itself = self

    threshold = gc.get_threshold()
    with heap.settled():
        assert gc.get_freeze_count() > 10_000
        gone = weakref.ref(Held())
        gc.collect()
        assert gone() is None
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, threshold)
