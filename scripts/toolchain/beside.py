"""Programs that run one after the other while something else has the terminal."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from toolchain.counting import Counts, believed
from toolchain.project import say

KILL_SECONDS = 30.0  # for a pytest that was told to end, and stops what it started


@dataclass(frozen=True)
class Command:
    """A test runner to start. count: reads its output. fine: statuses beside 0 that are no failure. nice: how
    far it stands back while it is quiet."""

    words: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    count: Callable[[str], Counts]
    fine: tuple[int, ...] = ()
    nice: int = 10


class Runs:
    """Commands in their order, in a thread. Quiet: their output is kept until `join`, and they are as nice
    as each says, so that what runs beside them is hardly slower. Left early, what still runs is ended."""

    def __init__(self, commands: Sequence[tuple[str, Command]], *, quiet: bool) -> None:
        self._commands = commands
        self._quiet = quiet
        self._outputs: dict[str, list[str]] = {name: [] for name, _ in commands}
        self._results: dict[str, Counts] = {}
        self._seconds: dict[str, float] = {}
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)

    def __enter__(self) -> Self:
        if self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # nothing is started any more
            self._stopped = True
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def join(self) -> dict[str, Counts]:
        """Wait for the last; what each kept is shown now, and its counts by name."""
        if self._quiet:
            while self._thread.is_alive():
                self._thread.join(0.2)  # in pieces, so that signals are heard
        else:
            self._run()
        for name, _ in self._commands:
            if self._quiet:
                say(f"== {name}")
                print("".join(self._outputs[name]), end="", flush=True)
            say(f"== {name}: {self._results[name]} in {self._seconds[name]:.1f} s")
        return self._results

    def _run(self) -> None:
        for name, command in self._commands:
            began = time.monotonic()
            if not self._quiet:
                say(f"== {name}")
            status = self._one(name, command)
            counted = command.count("".join(self._outputs[name]))
            self._results[name] = believed(counted, 0 if status in command.fine else status)
            self._seconds[name] = time.monotonic() - began

    def _one(self, name: str, command: Command) -> int:
        words = ("nice", "-n", str(command.nice), *command.words) if self._quiet else command.words
        with self._lock:
            if self._stopped:
                return 1
            try:
                self._process = process = subprocess.Popen(
                    words,
                    cwd=command.cwd,
                    env=dict(command.env),
                    text=True,
                    errors="replace",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                self._outputs[name].append(f"{words[0]} could not be started: {error}\n")
                return 1
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._outputs[name].append(line)
                if not self._quiet:
                    print(line, end="", flush=True)
        return process.wait()
