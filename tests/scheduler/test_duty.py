"""A duty runs when it is woken, survives its errors and stops when it is asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.store.database import Store
from marketplace.store.leading import Alone
from prixfixe.errors import Unavailable
from scheduler.duty import Duty, stop_all
from tests.support.scheduling import until


class Counting(Duty):
    name = "counting"
    topics = ("work",)

    def __init__(self, store: Store, error: Exception | None = None) -> None:
        super().__init__(store)
        self.runs = 0
        self.third = threading.Event()
        self.error = error

    def run_once(self) -> float:
        self.runs += 1
        if self.runs == 3:
            self.third.set()
        if self.error is not None:
            raise self.error
        return 60.0


class Seat(Alone):
    """Who leads, as the test says: this process, another one, or nobody who can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.leader = "here"
        self.error: Exception | None = None

    def leads(self, duty: str) -> bool:
        if self.error is not None:
            raise self.error
        return self.leader == "here"

    def is_elsewhere(self, duty: str) -> bool:
        return self.leader == "elsewhere"


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
    assert stop_all([duty], 60.0) == []
    assert duty.runs == 2


def test_what_wakes_a_duty_again_and_again_is_done_in_one_run(store: Store) -> None:
    duty = Counting(store)
    duty.spacing_seconds = 3600.0
    duty.start()
    until(lambda: duty.runs == 1, "the first run")
    store.wake("work")
    until(lambda: duty.runs == 2, "the run after a rest, which waits for nothing")
    for _ in range(3):
        store.wake("work")
    assert not duty.third.wait(0.3), "they wait for one another"
    assert stop_all([duty], 60.0) == [], "a stop does not"


def test_what_woke_a_duty_too_soon_is_done_when_its_time_has_come(store: Store) -> None:
    duty = Counting(store)
    duty.spacing_seconds = 0.2
    duty.start()
    for runs in (1, 2, 3):
        until(lambda runs=runs: duty.runs >= runs, f"run {runs}")
        store.wake("work")
    assert stop_all([duty], 60.0) == []


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
    assert stop_all([duty], 60.0) == []


def test_a_part_out_of_reach_is_logged_once_and_not_at_every_try(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    duty = Counting(store, Unavailable("the chain is out of reach"))
    duty.start()
    until(lambda: duty.runs >= 3, "three tries")
    assert stop_all([duty], 60.0) == []
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
    assert duty.join(60.0)


@pytest.fixture
def seat(store: Store, monkeypatch: pytest.MonkeyPatch) -> Seat:
    monkeypatch.setattr("scheduler.duty._ELECTION_SECONDS", 0.02)
    store.leading = seat = Seat()
    return seat


def test_a_duty_that_another_process_leads_has_no_error_any_more(
    store: Store, seat: Seat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    duty = Counting(store, Unavailable("the chain is out of reach"))
    duty.start()
    until(lambda: duty.health().error, "a run that fails")
    seat.leader = "nowhere"
    until(lambda: not duty.health().leads, "the lead to be lost")
    assert duty.health().error == "Unavailable: the chain is out of reach", "nobody else does it"
    seat.leader = "elsewhere"
    until(lambda: duty.health().error is None, "the other to lead")
    assert duty.health().since is None
    duty.error, seat.leader = None, "here"
    runs = duty.runs
    until(lambda: duty.runs > runs, "the lead again")
    assert stop_all([duty], 60.0) == []
    assert "works again" not in caplog.text


def test_a_duty_outlives_an_error_of_asking_who_leads_and_of_taking_over(store: Store, seat: Seat) -> None:
    class Forgetful(Counting):
        taken = 0

        def took_over(self) -> None:
            self.taken += 1
            if self.taken == 1:
                raise ValueError("it cannot forget")

    seat.error = ValueError("the driver's own")
    duty = Forgetful(store)
    duty.start()
    until(lambda: duty.health().error == "ValueError: the driver's own", "the first error")
    seat.error = None
    until(lambda: duty.runs == 1, "a run")
    assert duty.taken == 2
    assert stop_all([duty], 60.0) == []
