"""Looks after what a worker depends on, and enters and leaves its states: disk, engine, clock, gas money."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from prixfixe.development_keys import is_local_chain
from prixfixe.errors import EngineError, PrixfixeError
from worker.space import Space

if TYPE_CHECKING:
    from worker.room import Room

log = logging.getLogger("prixfixe.worker")

_LOOK_SECONDS: Final = 1.0
_ENGINE_SECONDS: Final = 5.0  # between looks at an engine that answers
_LONGEST_PAUSE_SECONDS: Final = 15.0  # between looks at one that does not
_GAS_SECONDS: Final = 600.0
_CLOCK_SECONDS: Final = 60.0
# Seconds by which a clock may be off. TLS and sign-in fail at minutes; asks live for five.
HARMFUL_SKEW_SECONDS: Final = 30.0
# What one settlement takes, and some: a worker with less is told before it needs it.
_GAS_OF_A_SETTLEMENT: Final = 200_000


class Watch:
    """One thread. `look` does all of it once."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._space = Space(room.settings.data)
        self._over = threading.Event()
        self._engine_pause = _ENGINE_SECONDS
        self._due = {"engine": 0.0, "gas": 0.0, "clock": 0.0}
        self._thread = threading.Thread(target=self._watch_on, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def look(self) -> None:
        """Whatever it is time for."""
        self._look_at_disk()
        for name, look in (
            ("engine", self._look_at_engine),
            ("clock", self._look_at_clock),
            ("gas", self._look_at_gas),
        ):
            if time.monotonic() >= self._due[name]:
                self._due[name] = time.monotonic() + look()

    def _watch_on(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                log.exception("watching: unexpected")

    def _look_at_disk(self) -> None:
        trouble = self._space.trouble()
        if trouble is None:
            self._room.states.leave("disk-full")
        else:
            self._room.states.enter("disk-full", trouble)

    def _look_at_engine(self) -> float:
        """Gives, as the others do, the seconds until the next look."""
        try:
            self._room.hands.ping()
        except EngineError as error:
            self._room.states.enter(
                "engine-away", f"no work is taken until the container engine answers again ({error.message})"
            )
            self._engine_pause = min(self._engine_pause * 1.5, _LONGEST_PAUSE_SECONDS)
            return self._engine_pause
        self._room.states.leave("engine-away")
        self._engine_pause = _LOOK_SECONDS
        return _ENGINE_SECONDS

    def _look_at_clock(self) -> float:
        """Both tell the time: the service in its answers, the chain in its blocks. A local chain's clock may
        be anywhere."""
        skew, against = self._room.client.skew_seconds, "the service's"
        if abs(skew) <= HARMFUL_SKEW_SECONDS and not is_local_chain(self._room.domain.chain_id):
            try:
                ahead = self._room.chain.now() - time.time()
            except PrixfixeError:
                ahead = 0.0
            # A quiet chain's newest block may be old: only a clock behind the chain's is wrong for sure.
            if ahead > HARMFUL_SKEW_SECONDS:
                skew, against = ahead, "the chain's"
        if abs(skew) <= HARMFUL_SKEW_SECONDS:
            self._room.states.leave("clock-skew")
            return _CLOCK_SECONDS
        side = "behind" if skew > 0 else "ahead of"
        self._room.states.enter(
            "clock-skew",
            f"this machine's clock is {abs(skew):.0f} s {side} {against}: no work is taken until it is right"
            " (timedatectl set-ntp true)",
        )
        return _ENGINE_SECONDS

    def _look_at_gas(self) -> float:
        key = self._room.signer.address
        try:
            has, price = self._room.chain.gas_balance(key), self._room.chain.gas_price()
        except PrixfixeError:
            return _CLOCK_SECONDS
        if has >= _GAS_OF_A_SETTLEMENT * price:
            self._room.states.leave("no-gas")
            return _GAS_SECONDS
        self._room.states.enter(
            "no-gas",
            f"the worker key {key} has no gas money to settle what the operator leaves open:"
            " send it a little of the chain's own coin",
        )
        return _CLOCK_SECONDS
