"""Whether a worker is to work now: what its provider ordered (work, pause, drain), and its hours.

Orders are a file in the data folder, written by `prixfixe worker pause | resume | drain` and read by the
running worker at each heartbeat. A worker that rests asks for nothing; what it was given before goes on.

    work   takes work
    pause  takes none until `resume`, also after a restart
    drain  takes none, and ends once nothing runs; the next start works again
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, cast, get_args

from prixfixe.client.keeping import write_private
from prixfixe.errors import PrixfixeError
from prixfixe.protocol.product import Product
from worker.schedule import SCHEDULE_FILE, Schedule, zone_of

log = logging.getLogger("prixfixe.worker")

ORDERS_FILE: Final = "orders.json"
LOCK_FILE: Final = "lock"
State = Literal["work", "pause", "drain"]


@dataclass(frozen=True, slots=True)
class Orders:
    """state: see above."""

    state: State = "work"

    def save(self, data: Path) -> None:
        write_private(data / ORDERS_FILE, json.dumps({"state": self.state}) + "\n")

    @staticmethod
    def load(data: Path) -> Orders:
        """To work, when nobody ordered anything or the file is not ours."""
        try:
            state = json.loads((data / ORDERS_FILE).read_text(encoding="utf-8"))["state"]
        except (OSError, ValueError, KeyError, TypeError):
            return Orders()
        return Orders(cast(State, state)) if state in get_args(State) else Orders()


class Duty:
    """Of one data folder; belongs to the heart's thread."""

    def __init__(self, data: Path, clock: Callable[[], float] = time.time) -> None:
        self._data = data
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._schedule: Schedule | None = None
        if Orders.load(data).state == "drain":  # of the last run, which has ended
            Orders().save(data)

    @property
    def draining(self) -> bool:
        return Orders.load(self._data).state == "drain"

    def rest(self, products: Iterable[Product]) -> str | None:
        """Why nothing is asked now, in a sentence for the provider; None when work is to be taken. products:
        what this worker sells."""
        orders = Orders.load(self._data)
        if orders.state == "pause":
            return "paused by its provider: prixfixe worker resume"
        if orders.state == "drain":
            return "drained by its provider: it ends when nothing runs any more"
        self._refresh()
        return None if self._schedule is None else resting(self._schedule, products, self._clock())

    def admits(self, product: Product) -> bool:
        """Whether a task of the product fits into its hours at all."""
        return self._schedule is None or product.max_seconds <= self._schedule.seconds

    def _refresh(self) -> None:
        """Take what `prixfixe worker schedule` changed. Hours that cannot be read leave the last ones."""
        try:
            status = (self._data / SCHEDULE_FILE).stat()
            seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            seen = (0, 0)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._schedule = Schedule.load(self._data)
        except PrixfixeError as error:
            log.error("%s; keeping the hours of before", error)


def resting(schedule: Schedule, products: Iterable[Product], now: float) -> str | None:
    """Why a worker with these hours rests at this second; None when it works. It stops asking as long before
    its hours end as the longest product that it sells may take, so that what it takes ends in them."""
    window = schedule.window(now)
    zone = zone_of(schedule.zone)

    def clock(moment: float, form: str) -> str:
        return datetime.fromtimestamp(moment, zone).strftime(form)

    if now < window.start:
        return f"outside of its hours ({schedule}); it works again {clock(window.start, '%a %H:%M')}"
    if window.end is None:
        return None
    sold = [product for product in products if product.max_seconds <= schedule.seconds]
    longest = max(sold, key=lambda product: product.max_seconds, default=None)
    if longest is not None and now + longest.max_seconds > window.end:
        return (
            f"its hours end at {clock(window.end, '%H:%M')} ({schedule}), before a task of {longest.name}"
            " would have to"
        )
    return None


def is_running(data: Path) -> bool:
    """Whether a worker has this folder now: it holds the lock as long as it lives, whatever became of it."""
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
