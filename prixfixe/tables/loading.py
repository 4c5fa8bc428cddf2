"""A large sheet loaded in a process of its own, while its archive is measured in this one.

The bytes may be hostile, so that the process that parses them has a limit of memory, and is killed at once
when the archive is refused. Once the archive has been measured the limit is the one of a sheet that may be
opened; a process that met the lower limit before is then started again. What the process itself says counts
only after the archive was found good: the same file always gets the same refusal.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prixfixe.errors import PrixfixeError
from prixfixe.tables.archive import refused
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.sheetrows import Layout, Written
from prixfixe.tables.table import ReaderKilled

UNMEASURED_BYTES = 2 << 30
"""Memory, as addresses, for a workbook that has not been measured yet."""

MEASURED_BYTES = 8 << 30
"""Memory for one that has been: `archive.MAX_CELLS` take 5 GiB; endless copies of one long text take more."""

_MODULE = "prixfixe.tables.loader"

_MEASURED, _LOADED = 0.15, 0.8
"""Shares of the time that have passed when the archive is measured, and when its sheet is loaded."""

_LOAD_AFTER_MEASURE = 4.0
"""How much longer a sheet takes to load after it was measured, in the time of that, about: the reader does
not say how far it is."""

_EVERY_SECONDS = 0.25

_Check = Callable[[Report], None]


class _NoMemory(Exception):
    """The process met its limit of memory."""


def load_apart(
    path: Path, target: Path, sheet: str, layout: Layout, check: _Check, report: Report
) -> Written:
    """Write the sheet into `target`. check: measures the archive; what it raises ends the process.

    InvalidInput as the workbook deserves, and when it needs more memory than any may; OSError for the disk;
    ReaderKilled when somebody else ended the process."""
    order = {
        "path": str(path),
        "target": str(target),
        "sheet": sheet,
        "header_row": layout.header_row,
        "header_rows": layout.header_rows,
        "wanted": layout.wanted,
    }
    with suppress(_NoMemory), _process(order, UNMEASURED_BYTES) as process:
        began = time.monotonic()
        check(lambda share: report(_MEASURED * share))
        with suppress(ProcessLookupError, PermissionError):  # has ended already, or may not be touched
            _limit(process.pid, MEASURED_BYTES)
        return _answer(process, path, _LOAD_AFTER_MEASURE * (time.monotonic() - began), report)
    try:
        with _process(order, MEASURED_BYTES) as process:
            return _answer(process, path, 0.0, unheard)
    except _NoMemory:
        raise refused(
            path,
            f"needs more than {MEASURED_BYTES >> 20:,} MiB of memory to be opened",
            "open it, delete what is not the table, and save it again",
        ) from None


def _limit(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    most = MEASURED_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEASURED_BYTES)
    resource.prlimit(pid, resource.RLIMIT_AS, (min(size, most), most))


@contextmanager
def _process(order: Mapping[str, Any], memory: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process, at work on the order. None of its group is left when the block ends."""
    paths = [each or os.getcwd() for each in sys.path]
    # Large pages for the cells: half of the time that the system takes to find memory for them.
    tunables = [*filter(None, [os.environ.get("GLIBC_TUNABLES")]), "glibc.malloc.hugetlb=1"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "GLIBC_TUNABLES": ":".join(tunables),
        },
        process_group=0,  # an interrupt of the terminal is ours alone, and all of it can be killed
    )
    try:
        with process:
            try:
                _limit(process.pid, memory)
                assert process.stdin is not None
                with suppress(BrokenPipeError), process.stdin as stdin:
                    stdin.write(json.dumps(order).encode())
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.wait()


def _answer(process: subprocess.Popen[bytes], path: Path, about: float, report: Report) -> Written:
    """What the process says at last. Its sheet should be loaded in `about` seconds, for the report."""
    assert process.stdout is not None
    with _estimated(about, report):
        line = process.stdout.readline()
    while line:
        said = json.loads(line)
        if "share" in said:
            report(_LOADED + (1 - _LOADED) * said["share"])
        elif "written" in said:
            names, indices, empty = said["written"]
            return Written(tuple(names), tuple(indices), empty)
        elif "refused" in said:
            raise PrixfixeError.from_problem(said["refused"])
        elif "disk" in said:
            raise OSError(*said["disk"])
        elif "memory" in said:
            raise _NoMemory
        elif "killed" in said:
            raise _killed(path, said["killed"])
        line = process.stdout.readline()
    raise _ended(process, path)


def _ended(process: subprocess.Popen[bytes], path: Path) -> Exception:
    """Why the process ended without a word."""
    assert process.stderr is not None
    errors = process.stderr.read().decode("utf-8", "replace").strip()
    # Not reaped before the group is killed: until then its number is nobody else's.
    status = None
    with suppress(ChildProcessError):
        status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    # The message is of Rust's allocator, of Python, or of the system's loader of libraries.
    if any(sign in errors for sign in ("memory allocation of", "MemoryError", "Cannot allocate memory")):
        return _NoMemory()
    if status is not None and status.si_code != os.CLD_EXITED:
        return _killed(path, status.si_status)
    last = errors.splitlines()[-1] if errors else "it said nothing"
    return refused(path, f"cannot be read: {last}", "open it, save it as .xlsx and run again")


def _killed(path: Path, number: int) -> ReaderKilled:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return ReaderKilled(f"the process that read {path.name} was ended by {name}", file=path.name)


@contextmanager
def _estimated(seconds: float, report: Report) -> Iterator[None]:
    """Report, while the block loads the sheet, the share that is done by the time that it should take."""
    if report is unheard:
        yield
        return
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(_EVERY_SECONDS):
            share = (time.monotonic() - began) / max(seconds, _EVERY_SECONDS)
            report(_MEASURED + (_LOADED - _MEASURED) * min(0.99, share))

    thread = threading.Thread(target=tell, name="sheet-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
