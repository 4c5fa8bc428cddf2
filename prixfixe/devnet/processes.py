"""Child processes that are known by id and start time, so that nothing else is ever signalled by mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.errors import ConfigurationError

# What this very process started and has not collected yet, by id.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process that the devnet started. `born` is the kernel's start time of the id (0 where unknown)."""

    name: str
    pid: int
    born: int
    argv: tuple[str, ...]
    log: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": self.pid,
            "born": self.born,
            "argv": list(self.argv),
            "log": self.log,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProcessRecord:
        return cls(data["name"], int(data["pid"]), int(data["born"]), tuple(data["argv"]), data["log"])


def _stat(pid: int) -> tuple[str, int] | None:
    """(state letter, start time) of a process, None when there is none. Linux; elsewhere only existence."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return ("R", 0)
    except ProcessLookupError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may hold spaces and parentheses; what follows cannot
    return (fields[0], int(fields[19]))


def spawn(name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> ProcessRecord:
    """Start a process in a session of its own (the terminal's Ctrl-C is the supervisor's), its output to
    `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **(env or {})},
            start_new_session=True,
        )
    _children[process.pid] = process
    stat = _stat(process.pid)
    return ProcessRecord(name, process.pid, stat[1] if stat else 0, tuple(argv), str(log))


def alive(record: ProcessRecord) -> bool:
    """Whether this very process still runs (an id that was given to another is not it)."""
    child = _children.get(record.pid)
    if child is not None and child.poll() is not None:  # asking also collects it, or it would stay a zombie
        del _children[record.pid]
        return False
    stat = _stat(record.pid)
    return stat is not None and stat[0] != "Z" and (record.born in (0, stat[1]))


def send(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signal the process if it is still the one; says whether it was."""
    if not alive(record):
        return False
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(record: ProcessRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def stop(record: ProcessRecord, seconds: float = 10.0) -> None:
    """Ask it to end; after `seconds` make it."""
    if send(record, signal.SIGTERM) and not wait_gone(record, seconds):
        send(record, signal.SIGKILL)
        wait_gone(record, 5.0)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def wait_ready(record: ProcessRecord, ready: Callable[[], bool], seconds: float) -> None:
    """Until `ready()`; an early death or a missed deadline is an error that shows the end of the log."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive(record):
            raise ConfigurationError(
                f"{record.name} ended while starting:\n{tail(Path(record.log))}",
                hint=f"its log is {record.log}",
            )
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"{record.name} was not ready after {seconds:.0f} s:\n{tail(Path(record.log))}",
                hint=f"its log is {record.log}",
            )
        time.sleep(0.03)
