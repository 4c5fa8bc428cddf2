"""How many tasks run at once on this machine, whatever lots they are of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Slots:
    """`count` places; who finds none waits for one."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._condition = threading.Condition()

    @contextmanager
    def one(self, stopped: Callable[[], bool]) -> Iterator[None]:
        """A place for the length of the block. stopped: ends the waiting, also without a place; whoever makes
        it true calls `wake`."""
        with self._condition:
            self._condition.wait_for(lambda: self._free > 0 or stopped())
            self._free -= 1
        try:
            yield
        finally:
            with self._condition:
                self._free += 1
                self._condition.notify_all()

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()
