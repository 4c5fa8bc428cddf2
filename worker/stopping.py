"""Ending a run from another thread, and a process by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


def on_signals(stop: Callable[[], None]) -> None:
    """Have SIGTERM and Ctrl-C call `stop`, each time. From the main thread only."""

    def handle(number: int, frame: FrameType | None) -> None:
        # In a thread: a handler runs between two instructions of the thread that may hold a lock.
        threading.Thread(target=stop, daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


class Stopper:
    """Lets other threads end a run: the market gave the attempt up, or the worker stops at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kill: Callable[[], None] | None = None
        self.why: str | None = None

    def stop(self, why: str) -> None:
        """Kill the container, now or as soon as there is one. The first reason stays. Returns at once: the
        engine ends a container only when its output is read, which may be the caller's job."""
        with self._lock:
            self.why = self.why or why
            kill = self._kill
        if kill is not None:
            threading.Thread(target=kill, name="kill", daemon=True).start()

    def arm(self, kill: Callable[[], None]) -> None:
        with self._lock:
            self._kill = kill
            why = self.why
        if why is not None:
            self.stop(why)

    def disarm(self) -> None:
        with self._lock:
            self._kill = None
