"""What machines of the operator's have in common, which look at files or judge: they run until they are told
to stop, and have a bench once they need one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Final, Generic, Protocol, Self, TypeVar

from prixfixe.protocol.wire import Market
from worker.client import ServiceClient, Stopped

_FOREVER: Final = 10 * 365 * 86400.0


class Stoppable(Protocol):
    def stop(self) -> None: ...


class Machine(Stoppable, Protocol):
    def run(self) -> None:
        """Until stopped."""


_B = TypeVar("_B", bound=Stoppable)


class LateBench(Generic[_B]):
    """A bench that is opened when it is first needed, since the engine may be away until then, and that ends
    with the block."""

    def __init__(self, open_bench: Callable[[], AbstractContextManager[_B]]) -> None:
        self._open_bench = open_bench
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._bench: _B | None = None
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self) -> _B:
        """The bench. EngineError without an engine."""
        with self._lock:
            if self._bench is None:
                self._bench = self._stack.enter_context(self._open_bench())
                if self._is_stopped:
                    self._bench.stop()
            return self._bench

    def stop(self) -> None:
        """End what runs on it, and whatever is asked of it later."""
        self._is_stopped = True
        if self._bench is not None:
            self._bench.stop()


def operate(
    service: str,
    handle: Callable[[Callable[[], None]], None],
    make: Callable[[ServiceClient, Market], AbstractContextManager[Machine]],
) -> None:
    """Run a machine for a service, whose market is waited for. handle: is given what stops it, before it
    begins."""
    stopping = threading.Event()
    running: list[Machine] = []

    def stop() -> None:
        stopping.set()
        for each in running:
            each.stop()

    handle(stop)
    with closing(ServiceClient(service, stopping=stopping)) as client:
        try:
            market = client.market(wait=_FOREVER)
        except Stopped:
            return
        with make(client, market) as machine:
            running.append(machine)
            if not stopping.is_set():
                machine.run()
