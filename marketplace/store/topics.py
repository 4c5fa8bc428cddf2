"""Wake-ups inside one process: who changed something says so, who waits for it sleeps until then. What other
processes change comes in by `marketplace.store.listening` and `beside`.

Every notification has a number, from one counter for all topics. A waiter first takes the number
(`sequence`), then looks at the store, then waits for anything after that number: nothing that happens
between its look and its wait is missed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

# Topics such as `job:<id>` come and go. Of those beyond this many only the newest number is kept, which may
# wake a slow waiter once for nothing, never lets one sleep through.
_REMEMBERED: Final = 65_536


class Topics:
    """Notifications by topic, for threads and for an event loop. Safe to call from any thread."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._lock = threading.Lock()
        self._counter = 0
        self._forgotten = 0
        self._remembered = remembered
        self._last: OrderedDict[str, int] = OrderedDict()
        self._waiters: dict[str, set[_Waiter]] = {}

    def sequence(self) -> int:
        """The number of the newest notification."""
        with self._lock:
            return self._counter

    def deliver(self, topics: Iterable[str]) -> None:
        """Wake everybody who waits for one of `topics`."""
        with self._lock:
            woken: set[_Waiter] = set()
            for topic in dict.fromkeys(topics):
                self._counter += 1
                self._last[topic] = self._counter
                self._last.move_to_end(topic)
                woken |= self._waiters.get(topic, set())
            while len(self._last) > self._remembered:
                self._forgotten = self._last.popitem(last=False)[1]
        for waiter in woken:
            waiter.wake()

    def deliver_all(self) -> None:
        """Wake everybody: of anything may have been told, unheard."""
        with self._lock:
            self._counter += 1
            self._forgotten = self._counter
            self._last.clear()
            woken: set[_Waiter] = set().union(*self._waiters.values())
        for waiter in woken:
            waiter.wake()

    def wait(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """Block the thread until one of `topics` is notified after number `since` (now, when None).

        Gives the topics that were; empty when `timeout` seconds passed.
        """
        wanted = frozenset(topics)
        event = threading.Event()
        waiter = _Waiter(event.set)
        start = self._enlist(waiter, wanted, since)
        until = time.monotonic() + timeout
        try:
            while not (changed := self._changed(wanted, start)):
                left = until - time.monotonic()
                if left <= 0 or not event.wait(left):
                    return self._changed(wanted, start)
                event.clear()
            return changed
        finally:
            self._dismiss(waiter, wanted)

    async def wait_async(self, topics: Iterable[str], timeout: float, since: int | None = None) -> set[str]:
        """As `wait`, for a task of the running event loop."""
        wanted = frozenset(topics)
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            # A loop that was closed under a waiter has nobody left to wake.
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

        waiter = _Waiter(wake)
        start = self._enlist(waiter, wanted, since)
        try:
            async with asyncio.timeout(timeout):
                while not (changed := self._changed(wanted, start)):
                    await event.wait()
                    event.clear()
                return changed
        except TimeoutError:
            return self._changed(wanted, start)
        finally:
            self._dismiss(waiter, wanted)

    def _enlist(self, waiter: _Waiter, topics: frozenset[str], since: int | None) -> int:
        with self._lock:
            for topic in topics:
                self._waiters.setdefault(topic, set()).add(waiter)
            return self._counter if since is None else since

    def _dismiss(self, waiter: _Waiter, topics: frozenset[str]) -> None:
        with self._lock:
            for topic in topics:
                waiters = self._waiters.get(topic)
                if waiters is not None:
                    waiters.discard(waiter)
                    if not waiters:
                        del self._waiters[topic]

    def _changed(self, topics: frozenset[str], since: int) -> set[str]:
        with self._lock:
            return {topic for topic in topics if self._last.get(topic, self._forgotten) > since}


class _Waiter:
    """One call of `wait`; compared by identity."""

    __slots__ = ("wake",)

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
