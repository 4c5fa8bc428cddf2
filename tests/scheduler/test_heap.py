"""What the service frees goes back to the machine."""

from __future__ import annotations

import platform

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
