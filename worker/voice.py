"""Telling events to whoever reads the worker's standard output, without ever waiting for it.

A pipe whose reader sleeps or has gone holds up, or fails, whoever writes to it: a worker would take no more
work because nobody reads what it says.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger("prixfixe.worker")

_MOST: Final = 1000  # events that wait; later ones are dropped
_LAST_WORDS_SECONDS: Final = 2.0

Emit = Callable[[str, dict[str, Any]], None]


class Voice:
    """An `Emit` that returns at once. emit: called in a thread of its own, in order."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(_MOST)
        self._full = False
        self._thread = threading.Thread(target=self._speak, name="voice", daemon=True)
        self._thread.start()

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        try:
            self._waiting.put_nowait((event, facts))
            self._full = False
        except queue.Full:
            if not self._full:
                log.warning("nobody reads what this worker says: events are dropped")
            self._full = True

    def close(self) -> None:
        """Say what waits, if somebody listens."""
        try:
            self._waiting.put(None, timeout=_LAST_WORDS_SECONDS)
        except queue.Full:
            return
        self._thread.join(_LAST_WORDS_SECONDS)

    def _speak(self) -> None:
        while (said := self._waiting.get()) is not None:
            try:
                self._emit(*said)
            except (OSError, ValueError) as error:
                log.warning("nobody hears what this worker says any more: %s", error)
                break
        while said is not None:  # whoever speaks on is not held up
            said = self._waiting.get()
