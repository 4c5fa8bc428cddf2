"""The self-benchmark: a process of its own that loads the machine for some seconds and prints figures.

Run as `python -m worker.measuring --folder DIR --seconds 0.5`: six measurements of that long and a disk write
that is bounded by its size. It sees no key and no job.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_BLOCK: Final = bytes(1 << 20)
_FLOATS: Final = 2000
_COPY_BYTES: Final = 64 << 20  # more than caches hold
_DISK_BYTES: Final = 64 << 20
_DISK_PIECE: Final = 4 << 20


def _hash() -> int:
    """Kilobytes hashed."""
    hashlib.sha256(_BLOCK).digest()
    return len(_BLOCK) // 1000


def _floats() -> int:
    """Multiplications and additions, each."""
    value = 1.0
    for _ in range(_FLOATS):
        value = value * 1.0000001 + 1e-9
    return _FLOATS


def _rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work a second, of this thread: of one at least, however long the machine lets it wait."""
    done, taken, began = 0, 0.0, time.perf_counter()
    while not done or taken < seconds:
        done += work()
        taken = time.perf_counter() - began
    return done / taken


def _all(work: Callable[[], int], seconds: float) -> float:
    """The same of as many processes as there are processors, together."""
    count = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("fork").Pool(count) as pool:
        return sum(pool.starmap(_rate, [(work, seconds)] * count, chunksize=1))


def _memory(seconds: float) -> float:
    """Megabytes copied a second."""
    source = bytearray(_COPY_BYTES)
    target = bytearray(_COPY_BYTES)

    def copy() -> int:
        target[:] = source
        return _COPY_BYTES // 1_000_000

    return _rate(copy, seconds)


def _disk(folder: Path, seconds: float) -> float:
    """Megabytes written and flushed a second; less than the whole when the disk is slow."""
    piece, written, began = os.urandom(_DISK_PIECE), 0, time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as stream:
        while not written or (written < _DISK_BYTES and time.perf_counter() - began < 2 * seconds):
            stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
            written += len(piece)
    return written / 1_000_000 / (time.perf_counter() - began)


def measure(folder: Path, seconds: float) -> dict[str, int]:
    """The fields of `benchmarks.Figures`."""
    return {
        "integer_one": int(_rate(_hash, seconds)),
        "integer_all": int(_all(_hash, seconds)),
        "float_one": int(_rate(_floats, seconds) / 1000),
        "float_all": int(_all(_floats, seconds) / 1000),
        "memory": int(_memory(seconds)),
        "disk": math.ceil(_disk(folder, seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    print(json.dumps(measure(options.folder, options.seconds)))


if __name__ == "__main__":
    main()
