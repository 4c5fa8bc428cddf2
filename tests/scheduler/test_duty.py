"""A duty runs when it is woken, survives its errors and stops when it is asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.store.database import Store
from prixfixe.errors import Unavailable
from scheduler.duty import Duty, stop_all
from tests.support.scheduling import until


class Counting(Duty):
    name = "counting"
    topics = ("work",)

    def __init__(self, store: Store, error: Exception | None = None) -> None:
        super().__init__(store)
        self.runs = 0
        self.error = error

    def run_once(self) -> float:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.at(tmp_path / "duty.db")
    yield made
    made.close()


def test_a_duty_runs_at_the_start_and_after_each_notification(store: Store) -> None:
    duty = Counting(store)
    duty.start()
    until(lambda: duty.runs == 1, "the first run")
    store.wake("work")
    until(lambda: duty.runs == 2, "the run after the wake-up")
    store.wake("other")
    assert stop_all([duty], 5.0) == []
    assert duty.runs == 2


def test_a_duty_that_fails_says_why_and_works_again_by_itself(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    duty = Counting(store, ValueError("the disk is full"))
    duty.start()
    until(lambda: duty.runs >= 2, "a second try")
    health = duty.health()
    assert health.running
    assert health.error == "ValueError: the disk is full"
    assert "the disk is full" in caplog.text
    duty.error = None
    until(lambda: duty.health().error is None, "a run that goes well")
    assert "counting works again" in caplog.text
    assert stop_all([duty], 5.0) == []


def test_a_part_out_of_reach_is_logged_once_and_not_at_every_try(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    duty = Counting(store, Unavailable("the chain is out of reach"))
    duty.start()
    until(lambda: duty.runs >= 3, "three tries")
    assert stop_all([duty], 5.0) == []
    assert caplog.text.count("the chain is out of reach") == 1


def test_a_duty_that_does_not_end_in_time_is_named(store: Store) -> None:
    release = threading.Event()

    class Stuck(Counting):
        name = "stuck"

        def run_once(self) -> float:
            super().run_once()
            release.wait(30.0)
            return 60.0

    duty = Stuck(store)
    duty.start()
    until(lambda: duty.runs == 1, "its run")
    assert stop_all([duty], 0.1) == ["stuck"]
    release.set()
    assert duty.join(5.0)
