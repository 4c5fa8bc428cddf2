"""Commands timed as benchmarks do: by the clock, by the processor, by memory."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def timed(*command: str | Path, path: Path | None = None) -> tuple[float, float, float]:
    """Seconds of a command, seconds of processor that it used, and the most memory that it or a child of it
    held, in GiB. path: a further folder that Python imports from."""
    paths = [str(each) for each in (ROOT, path) if each is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << 20)
