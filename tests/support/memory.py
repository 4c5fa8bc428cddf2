"""How much memory a process has now."""

from __future__ import annotations

from pathlib import Path


def resident_kib(process: int | None = None) -> int:
    """Its pages in memory, KiB; of the process of the tests unless another is named. Not the most that it
    ever had: tests before this one set that."""
    status = Path(f"/proc/{process or 'self'}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
