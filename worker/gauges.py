"""What a running worker shows of itself: slots, tasks, money, heartbeat, disk and engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from typing import Final

import prixfixe
from prixfixe.errors import EngineError
from prixfixe.metrics import Cached, Family, Sample, dollars, number
from prixfixe.protocol.outputs import TaskStatus
from worker.room import Room
from worker.states import read_states

PREFIX: Final = "prixfixe_worker_"


class Gauges:
    """Of one running worker. taken: slots in use. heard: when the market last answered a heartbeat, seconds
    of the monotonic clock, None before the first."""

    def __init__(self, room: Room, taken: Callable[[], int], heard: Callable[[], float | None]) -> None:
        self._room = room
        self._taken = taken
        self._heard = heard
        self._money = Cached(self._ask_money)
        self._engine = Cached(self._ask_engine)

    def families(self) -> Iterable[Family]:
        room = self._room
        labels = {
            "version": prixfixe.__version__,
            "name": room.settings.name,
            "key": room.signer.address,
            "provider": room.settings.provider,
        }
        yield Family("info", "Which worker this is.", (Sample("1", labels),))
        yield number("slots", "Tasks that may run at once.", room.settings.slots)
        yield number("slots_taken", "Slots that running attempts may use.", self._taken())
        yield Family(
            "attempts",
            "Attempts of the last seven days, by state.",
            tuple(Sample(str(n), {"state": state}) for state, n in sorted(room.journal.counts().items())),
        )
        yield Family(
            "tasks",
            "Ended tasks of the last seven days, by how they ended.",
            tuple(
                Sample(str(n), {"status": TaskStatus(status).name.lower()})
                for status, n in sorted(room.journal.outcomes().items())
            ),
        )
        yield Family(
            "trouble",
            "What is wrong now, by name; nothing when all is well.",
            tuple(Sample("1", {"state": each["name"]}) for each in read_states(room.settings.data)),
        )
        heard = self._heard()
        if heard is not None:
            age = time.monotonic() - heard
            yield number("heartbeat_age_seconds", "Since the market last answered a heartbeat.", age)
        yield number(
            "clock_skew_seconds",
            "How far the service's clock is ahead of this machine's; 0 below two seconds.",
            room.client.skew_seconds,
        )
        free = shutil.disk_usage(room.settings.data).free
        yield number("disk_free_bytes", "Free on the disk of the worker's folder.", free)
        yield from self._engine.get()
        yield from self._money.get()

    def _ask_engine(self) -> list[Family]:
        try:
            self._room.hands.ping()
        except EngineError:
            return [number("engine_up", "Whether the container engine answers.", 0)]
        return [number("engine_up", "Whether the container engine answers.", 1)]

    def _ask_money(self) -> list[Family]:
        found = self._room.client.status(self._room.signer.address)
        return [
            dollars("earned_dollars", "What this worker was paid in all.", found.earned),
            dollars("free_dollars", "Free in the provider's account.", found.free),
            dollars("held_dollars", "Of the provider's earnings, what can still be disputed.", found.held),
            dollars("surety_dollars", "What must be free for work to come.", found.surety),
            number("draining", "Whether the market gives it no work, by its own word.", found.draining),
        ]
