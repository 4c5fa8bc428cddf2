"""What is wrong with a worker now, in words, and until when: for its provider, the market and its log.

A state is entered, said once, and left again by whoever saw it end; none of them needs a restart. Those that
make new work unwise end the asking; what runs goes on in all of them.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger("prixfixe.worker")

STATES_FILE: Final = "states.json"
# In the order in which a provider should look at them.
STOPPING: Final = ("disk-full", "engine-away", "clock-skew")
TOLD: Final = ("service-away", "chain-away", "no-gas")


@dataclass(frozen=True, slots=True)
class State:
    """name: one of the above. message: what is wrong and what ends it. since: unix seconds."""

    name: str
    message: str
    since: int


class States:
    """Safe for many threads. emit: told ("state", facts) at each change. place: file that `worker status`
    reads."""

    def __init__(self, folder: Path, emit: Callable[[str, dict[str, Any]], None]) -> None:
        self._place = folder / STATES_FILE
        self._emit = emit
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._write()

    def close(self) -> None:
        """Nobody runs here any more."""
        with suppress(OSError):
            self._place.unlink()

    def enter(self, name: str, message: str) -> None:
        with self._lock:
            known = self._states.get(name)
            self._states[name] = State(name, message, known.since if known else int(time.time()))
            if known is not None and known.message == message:
                return
            self._write()
        if known is None:
            log.warning("%s: %s", name, message)
            self._emit("state", {"name": name, "entered": True, "message": message})

    def leave(self, name: str) -> None:
        with self._lock:
            known = self._states.pop(name, None)
            if known is None:
                return
            self._write()
        log.info("%s: over after %d s", name, time.time() - known.since)
        self._emit("state", {"name": name, "entered": False, "message": ""})

    def trouble(self) -> str | None:
        """Why no work can be taken, in a sentence for the provider."""
        with self._lock:
            return next((self._states[name].message for name in STOPPING if name in self._states), None)

    def _write(self) -> None:
        told = (self._states[name] for name in (*STOPPING, *TOLD) if name in self._states)
        states = [{"name": each.name, "message": each.message, "since": each.since} for each in told]
        part = self._place.with_suffix(".part")
        with suppress(OSError):  # a full disk is one of the states
            part.write_text(json.dumps({"pid": os.getpid(), "states": states}) + "\n")
            part.replace(self._place)


def read_states(folder: Path) -> list[dict[str, Any]]:
    """What the worker that runs on this folder says is wrong now; nothing when none runs."""
    try:
        found = json.loads((folder / STATES_FILE).read_text(encoding="utf-8"))
        os.kill(int(found["pid"]), 0)
        states: list[dict[str, Any]] = found["states"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return states
