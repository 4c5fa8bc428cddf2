"""A duty: a thread that does one kind of work whenever something wakes it, and never dies silently."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from marketplace.store.database import Store
from prixfixe.errors import Unavailable
from prixfixe.logs import about
from prixfixe.metrics import Family, Histogram

log = logging.getLogger(__name__)

_FIRST_BACK_OFF_SECONDS: Final = 0.2
_LAST_BACK_OFF_SECONDS: Final = 5.0
_MOST_SPACING: Final = 10  # times what a duty spaces its runs by, on a slow machine
_ELECTION_SECONDS: Final = 1.0  # between looks whether a duty that another process leads is free
RUN_TIMES: Final = Histogram(
    "duty_run_seconds", "Runs of the duties in this process.", (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
)


@dataclass(frozen=True, slots=True)
class DutyHealth:
    """What health and `admin status` show. leads: whether it is this process, of all on the database, that
    does it. error: of the last run, None when it went well or another process does it since. since: when the
    errors began (service clock). warning: what will go wrong unless somebody looks after it."""

    name: str
    running: bool
    leads: bool
    runs: int
    error: str | None
    since: float | None
    warning: str | None = None


class Duty:
    """Base of the duties. A subclass gives `name`, `topics`, `run_once`, and `spacing_seconds` when it does
    many things for little more than one.

    Of all processes on one database one leads a duty and does it; the others stand by.

    One thread calls `run_once` at the start, after each notification of a topic, and after the seconds that
    it returned. What wakes it right after it was woken waits for the rest of `spacing_seconds`, or as long
    again as the run took, and one run does it all; the first after a rest is done at once. An exception is
    logged with its reason and tried again later, each time waiting longer; a part that is out of reach is
    logged once until it is back.
    """

    name: str = "duty"
    topics: tuple[str, ...] = ()
    spacing_seconds: float = 0.0

    def __init__(self, store: Store) -> None:
        self.store: Final = store
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._leads = False
        self._runs = 0
        self._error: str | None = None
        self._failing_since: float | None = None

    def run_once(self) -> float:
        """Do what can be done now. Seconds until it should run again although nothing wakes it."""
        raise NotImplementedError

    def turn(self) -> float | None:
        """One run, if this process leads the duty; what `run_once` gives, None where another leads."""
        if not self._is_leading():
            return None
        with self.store.led(self.name), about(duty=self.name):
            return self.run_once()

    def took_over(self) -> None:
        """Forget what was remembered of the last time: this process begins to lead, maybe after another."""

    def warning(self) -> str | None:
        """What will go wrong unless somebody looks after it, in words."""
        return None

    def figures(self) -> Iterable[Family]:
        """What it has to show of itself beside its health, for `/metrics`."""
        return ()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the run that is under way; returns at once."""
        self._stopping.set()
        self.store.wake(self._stop_topic)

    def join(self, timeout: float) -> bool:
        """Wait for its end; whether it ended."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def should_stop(self) -> bool:
        """Whether it was asked to end: long runs look at it between steps."""
        return self._stopping.is_set()

    def health(self) -> DutyHealth:
        running = self._thread is not None and self._thread.is_alive()
        return DutyHealth(
            self.name, running, self._leads, self._runs, self._error, self._failing_since, self.warning()
        )

    @property
    def _stop_topic(self) -> str:
        return f"stop:{self.name}:{id(self)}"

    def _loop(self) -> None:
        failures, woken = 0, False
        try:
            while True:
                # Before the look: a stop that comes in between wakes the wait.
                mark = self.store.sequence()
                if self._stopping.is_set():
                    break
                began = time.perf_counter()
                try:
                    pause = self.turn()
                except Exception as error:
                    failures += 1
                    RUN_TIMES.observe(time.perf_counter() - began, duty=self.name)
                    pause = min(_FIRST_BACK_OFF_SECONDS * 2 ** min(failures - 1, 10), _LAST_BACK_OFF_SECONDS)
                    self._failed(error)
                    # Only a stop shortens the back-off: what wakes the duty does not cure it.
                    self.store.wait([self._stop_topic], pause, since=mark)
                else:
                    failures = 0
                    if pause is None:
                        self.store.wait([self._stop_topic], _ELECTION_SECONDS, since=mark)
                        continue
                    RUN_TIMES.observe(time.perf_counter() - began, duty=self.name)
                    self._went_well()
                    took = time.perf_counter() - began
                    again = self.store.wait([*self.topics, self._stop_topic], max(pause, 0.0), since=mark)
                    if woken and again:
                        rest = began + self._spacing(took) - time.perf_counter()
                        self.store.wait([self._stop_topic], max(rest, 0.0), since=mark)
                    woken = bool(again)
        finally:
            self.store.leading.release(self.name)

    def _spacing(self, took: float) -> float:
        """Seconds from the beginning of a run that took so long to the next. On a machine that has much else
        to do it grows with the runs, so that more is done in each."""
        return max(self.spacing_seconds, min(2 * took, _MOST_SPACING * self.spacing_seconds))

    def _is_leading(self) -> bool:
        try:
            leads = self.store.leading.leads(self.name)
        except Exception:
            self._leads = False
            raise
        if leads and not self._leads:
            self.took_over()
        self._leads = leads
        if self.store.leading.is_elsewhere(self.name):
            # What failed here is another process's to do. While the database is away nobody else can.
            self._error, self._failing_since = None, None
        return leads

    def _failed(self, error: Exception) -> None:
        self._runs += 1
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, Unavailable):
            if text != self._error:
                log.warning("%s: %s; it tries again until that works", self.name, error)
        else:
            log.error("%s failed and tries again: %s", self.name, text, exc_info=error)
        self._error = text
        self._failing_since = self._failing_since or time.time()

    def _went_well(self) -> None:
        self._runs += 1
        if self._failing_since is not None:
            log.info("%s works again after %.1f s", self.name, time.time() - self._failing_since)
        self._error, self._failing_since = None, None


def stop_all(duties: Iterable[Duty], seconds: float) -> list[str]:
    """Stop duties together; the names of those that did not end within `seconds`."""
    stopped = list(duties)
    for duty in stopped:
        duty.stop()
    deadline = time.monotonic() + seconds
    return [duty.name for duty in stopped if not duty.join(max(0.0, deadline - time.monotonic()))]
