"""Hours of a worker, on clocks that change and over midnights."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from prixfixe.errors import ConfigurationError, InvalidInput
from prixfixe.protocol.product import Product
from worker.duty import Duty, Orders, resting
from worker.schedule import SCHEDULE_FILE, Schedule

PARIS = "Europe/Paris"
HOUR = Product(milli_vcpu=1000, memory_mib=1024, disk_mib=100, max_seconds=3600)
DAY = Product(milli_vcpu=1000, memory_mib=1024, disk_mib=100, max_seconds=86_400)


def at(text: str, zone: str = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


NIGHTS = Schedule.parse("22:00-06:00", "daily", PARIS)
WEEK = Schedule.parse("22:00-06:00", "mon-fri", PARIS)


@pytest.mark.parametrize(
    ("now", "works"),
    [
        ("2026-11-23T21:59:59", False),
        ("2026-11-23T22:00:00", True),
        ("2026-11-24T04:59:59", True),
        ("2026-11-24T05:00:01", False),  # a task of an hour would not end in time
        ("2026-11-24T06:00:00", False),
    ],
)
def test_it_works_in_the_night_and_stops_asking_before_its_end(now: str, works: bool) -> None:
    assert (resting(NIGHTS, (HOUR,), at(now)) is None) is works


def test_a_product_that_fits_into_no_night_does_not_keep_it_from_working(tmp_path: Path) -> None:
    assert resting(NIGHTS, (HOUR, DAY), at("2026-11-24T04:00:00")) is None
    NIGHTS.save(tmp_path)
    duty = Duty(tmp_path, lambda: at("2026-11-24T04:00:00"))
    assert duty.rest((HOUR, DAY)) is None
    assert (duty.admits(HOUR), duty.admits(DAY)) == (True, False)


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    assert resting(WEEK, (), at("2026-11-28T02:00:00")) is None  # Friday's, on Saturday
    assert "again Mon 22:00" in str(resting(WEEK, (), at("2026-11-28T22:30:00")))


def test_a_night_in_which_clocks_change_ends_by_the_clock_on_the_wall() -> None:
    window = NIGHTS.window(at("2026-10-24T23:00:00"))
    assert (window.start, window.end) == (at("2026-10-24T22:00:00"), at("2026-10-25T06:00:00"))
    assert window.end is not None
    assert window.end - window.start == 9 * 3600


def test_days_that_touch_are_one_window() -> None:
    weekend = Schedule.parse("00:00-24:00", "sat,sun", PARIS)
    window = weekend.window(at("2026-11-28T23:30:00"))
    assert (window.start, window.end) == (at("2026-11-28T00:00:00"), at("2026-11-30T00:00:00"))
    always = Schedule.parse("00:00-24:00", "daily", PARIS)
    assert always.window(at("2026-11-28T23:30:00")).end is None
    assert resting(always, (DAY,), at("2026-11-28T23:59:59")) is None


def test_days_may_go_over_the_weekend() -> None:
    assert Schedule.parse("08:00-18:00", "fri-mon", "UTC").days == {4, 5, 6, 0}


@pytest.mark.parametrize(
    ("hours", "days", "zone"),
    [
        ("22-6", "daily", "UTC"),
        ("22:00-22:00", "daily", "UTC"),
        ("24:00-06:00", "daily", "UTC"),
        ("22:60-06:00", "daily", "UTC"),
        ("22:00-06:00", "someday", "UTC"),
        ("22:00-06:00", "daily", "Mars/Olympus"),
        ("22:00-06:00", "daily", "../../etc/passwd"),
    ],
)
def test_hours_that_make_no_sense_are_refused(hours: str, days: str, zone: str) -> None:
    with pytest.raises(InvalidInput):
        Schedule.parse(hours, days, zone)


def test_hours_are_kept_as_they_were_set_and_changed_while_it_runs(tmp_path: Path) -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    duty = Duty(tmp_path, lambda: noon)
    assert duty.rest(()) is None
    WEEK.save(tmp_path)
    assert Schedule.load(tmp_path) == WEEK
    assert "outside of its hours (22:00-06:00 mon,tue,wed,thu,fri Europe/Paris)" in str(duty.rest(()))
    (tmp_path / SCHEDULE_FILE).write_text("{")
    assert duty.rest(()) is not None  # those of before
    with pytest.raises(ConfigurationError, match="holds no hours"):
        Schedule.load(tmp_path)
    Schedule.forget(tmp_path)
    assert duty.rest(()) is None


def test_a_pause_outlives_a_restart_and_a_drain_does_not(tmp_path: Path) -> None:
    Orders("pause").save(tmp_path)
    assert "worker resume" in str(Duty(tmp_path).rest(()))
    Orders("drain").save(tmp_path)
    assert Duty(tmp_path).rest(()) is None
