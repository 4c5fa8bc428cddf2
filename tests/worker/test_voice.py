"""Events for a reader that is slow, or gone."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

from tests.support.devnet import wait_for
from worker.voice import Voice


def test_a_reader_that_sleeps_holds_up_nobody_and_hears_the_first_thousand() -> None:
    heard: list[int] = []
    awake = threading.Event()

    def emit(event: str, facts: dict[str, Any]) -> None:
        awake.wait(20)
        heard.append(facts["n"])

    with closing(Voice(emit)) as voice:
        for number in range(5000):
            voice("said", {"n": number})
        awake.set()
    assert heard[:1000] == list(range(1000))
    assert len(heard) < 1010


def test_a_reader_that_has_gone_is_given_up() -> None:
    tried: list[str] = []

    def emit(event: str, facts: dict[str, Any]) -> None:
        tried.append(event)
        raise BrokenPipeError

    with closing(Voice(emit)) as voice:
        voice("first", {})
        wait_for(lambda: tried)
        for _ in range(3000):
            voice("more", {})
    assert tried == ["first"]
