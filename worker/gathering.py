"""Calls that come while one of their kind is under way go out together with the next: nobody waits for
company, and the busier the worker, the fewer calls it makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

_G = TypeVar("_G")
_A = TypeVar("_A")


class Gathered(Generic[_G, _A]):
    """Safe for many threads. send: makes one call for several, at most so many, and gives the answer or the
    error of each, in their order."""

    def __init__(self, send: Callable[[Sequence[_G]], Sequence[_A | Exception]], most: int) -> None:
        self._send = send
        self._most = most
        self._turn = threading.Condition()
        self._waiting: list[tuple[_G, Future[_A]]] = []
        self._under_way = False

    def call(self, given: _G) -> _A:
        """The answer to this one; its error is raised."""
        own: Future[_A] = Future()
        with self._turn:
            self._waiting.append((given, own))
        while True:
            with self._turn:
                self._turn.wait_for(lambda: own.done() or not self._under_way)
                if own.done():
                    return own.result()
                now = self._waiting[: self._most]
                del self._waiting[: self._most]
                self._under_way = True
            try:
                self._send_now(now)
            finally:
                with self._turn:
                    self._under_way = False
                    self._turn.notify_all()

    def _send_now(self, now: Sequence[tuple[_G, Future[_A]]]) -> None:
        try:
            answers = self._send([given for given, _ in now])
        except Exception as error:
            answers = [error] * len(now)
        except BaseException:
            self._answer(now, [RuntimeError("it was stopped before it was answered")] * len(now))
            raise
        if len(answers) != len(now):
            answers = [RuntimeError(f"{len(now)} were sent and {len(answers)} answered")] * len(now)
        self._answer(now, answers)

    def _answer(self, now: Sequence[tuple[_G, Future[_A]]], answers: Sequence[_A | Exception]) -> None:
        for (_, future), answer in zip(now, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
