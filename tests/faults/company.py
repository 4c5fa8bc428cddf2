"""All processes of a market, two of everything, each started again as soon as it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_AGAIN_SECONDS: Final = 0.05
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Member:
    """One process of the company. ended: how often, by its exit status (negative: the signal's number)."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ended: Counter[int] = field(default_factory=Counter)


class Company:
    """The processes, kept alive by a thread until `stop`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._members: dict[str, Member] = {}
        self.killed = 0  # processes that a `kill` ended
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def add(self, name: str, words: Iterable[str]) -> None:
        """A Python program of the market: the words after the interpreter's name."""
        member = Member(name, [sys.executable, *words], self._logs / f"{name}.log")
        self._members[name] = member
        self._start(member)

    def begin(self) -> None:
        """From now on whoever ends is started again."""
        self._keeper.start()

    def kill(self, name: str) -> None:
        """As a machine that loses its power would end it."""
        with self._lock:
            process = self._members[name].process
            if process is not None:
                process.kill()
                self.killed += process.wait() == -signal.SIGKILL

    @contextmanager
    def held(self, names: Iterable[str]) -> Iterator[None]:
        """These do nothing for the length of a block, and go on after it."""
        held = [process for name in names if (process := self._members[name].process) is not None]
        for process in held:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in held:
                process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all, for good; whoever does not end in time is killed."""
        self._stopping.set()
        if self._keeper.is_alive():
            self._keeper.join()
        alive = [each.process for each in self._members.values() if each.process is not None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        for process in alive:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def endings(self) -> dict[str, dict[int, int]]:
        """How often each ended, by its exit status."""
        return {each.name: dict(each.ended) for each in self._members.values()}

    def last_words(self, lines: int = 15) -> str:
        """The end of each log, for a failure's message."""
        told = []
        for each in self._members.values():
            text = each.log.read_text(errors="replace").splitlines() if each.log.exists() else []
            told.append("\n".join([f"--- {each.name} (ended {dict(each.ended)})", *text[-lines:]]))
        return "\n".join(told)

    def _start(self, member: Member) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with member.log.open("ab") as log:
            member.process = subprocess.Popen(
                member.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while not self._stopping.wait(_AGAIN_SECONDS):
            for member in self._members.values():
                with self._lock:
                    status = None if member.process is None else member.process.poll()
                    if status is not None:
                        member.ended[status] += 1
                        self._start(member)
