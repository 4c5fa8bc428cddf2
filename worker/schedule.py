"""The hours in which a worker works: nights only, or whatever its provider wants the machine for otherwise.

Hours are wall-clock times of one time zone, so a night stays a night when clocks change. A window belongs to
the day on which it begins. The file lies in the worker's data folder and is read while the worker runs.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prixfixe.client.keeping import write_private
from prixfixe.errors import ConfigurationError, InvalidInput

SCHEDULE_FILE: Final = "schedule.json"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds since 1970. Windows that touch are one; `end` is None when they never stop touching."""

    start: float
    end: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """begin, end: minutes of the day; an end that is not after the begin is on the next day. days: on which a
    window begins, 0 is Monday. zone: IANA name of the time zone."""

    begin: int
    end: int
    days: frozenset[int]
    zone: str

    def __post_init__(self) -> None:
        if not 0 <= self.begin < _DAY_MINUTES or not 0 <= self.end <= _DAY_MINUTES or self.begin == self.end:
            raise _wrong("hours go from 00:00 to 24:00, such as 22:00-06:00, and are not empty")
        if not self.days or not self.days <= set(range(7)):
            raise _wrong("there is no day to work on")
        zone_of(self.zone)

    @staticmethod
    def parse(hours: str, days: str, zone: str) -> Schedule:
        """hours: "22:00-06:00". days: "mon-fri", "sat,sun" or "daily". InvalidInput for anything else."""
        found = _HOURS.fullmatch(hours)
        if found is None:
            raise _wrong(f"{hours!r} are no hours such as 22:00-06:00")
        numbers = [int(part) for part in found.groups()]
        if numbers[1] > 59 or numbers[3] > 59:
            raise _wrong(f"{hours!r} are no hours such as 22:00-06:00")
        return Schedule(
            numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3], frozenset(_parse_days(days)), zone
        )

    def __str__(self) -> str:
        hours = "-".join(f"{each // 60:02d}:{each % 60:02d}" for each in (self.begin, self.end))
        days = "daily" if len(self.days) == 7 else ",".join(_DAYS[day] for day in sorted(self.days))
        return f"{hours} {days} {self.zone}"

    @property
    def seconds(self) -> int:
        """How long one window is, by the clock on the wall."""
        if len(self.days) == 7 and self.end - self.begin == _DAY_MINUTES:
            return 7 * 86_400
        return ((self.end - self.begin) % _DAY_MINUTES or _DAY_MINUTES) * 60

    def window(self, now: float) -> Window:
        """The window in which `now` lies, else the next one."""
        zone = zone_of(self.zone)
        today = datetime.fromtimestamp(now, zone).date()
        windows = [self._on(today + timedelta(days=away), zone) for away in range(-1, 9)]
        known = [each for each in windows if each is not None]
        at = next(index for index, (_, end) in enumerate(known) if end > now)
        start, end = known[at]
        for following_start, following_end in known[at + 1 :]:
            if following_start > end:
                return Window(start, end)
            end = following_end
        return Window(start, None)

    def _on(self, day: date, zone: tzinfo) -> tuple[float, float] | None:
        """The window that begins on a day."""
        if day.weekday() not in self.days:
            return None
        last = day if self.end > self.begin else day + timedelta(days=1)
        return _instant(day, self.begin, zone), _instant(last, self.end, zone)

    def to_json(self) -> dict[str, Any]:
        return {"begin": self.begin, "end": self.end, "days": sorted(self.days), "zone": self.zone}

    def save(self, data: Path) -> None:
        write_private(data / SCHEDULE_FILE, json.dumps(self.to_json()) + "\n")

    @staticmethod
    def load(data: Path) -> Schedule | None:
        """None when it works around the clock. ConfigurationError when the file cannot be read."""
        place = data / SCHEDULE_FILE
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
            return Schedule(
                int(found["begin"]), int(found["end"]), frozenset(map(int, found["days"])), str(found["zone"])
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, InvalidInput) as error:
            raise ConfigurationError(
                f"{place} holds no hours: {error}",
                code="bad-schedule-file",
                hint="set them anew: prixfixe worker schedule --help",
                fault="provider",
            ) from error

    @staticmethod
    def forget(data: Path) -> None:
        (data / SCHEDULE_FILE).unlink(missing_ok=True)


def zone_of(name: str) -> tzinfo:
    """InvalidInput for a zone that this machine does not know."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"this machine knows no time zone {name!r}",
            code="bad-time-zone",
            hint="a name such as Europe/Paris, or UTC; a system without time zones needs the package tzdata",
            fault="provider",
        ) from error


def local_zone() -> str:
    """The name of this machine's time zone; UTC when it does not say."""
    for name in (os.environ.get("TZ", ""), os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]):
        try:
            if name and zone_of(name):
                return name
        except InvalidInput:
            continue
    return "UTC"


def _instant(day: date, minutes: int, zone: tzinfo) -> float:
    day += timedelta(days=minutes // _DAY_MINUTES)
    clock = datetime(day.year, day.month, day.day, minutes % _DAY_MINUTES // 60, minutes % 60, tzinfo=zone)
    return clock.timestamp()


def _parse_days(text: str) -> list[int]:
    if text == "daily":
        return list(range(7))
    days: list[int] = []
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise _wrong(f"{part!r} are no days such as mon-fri, or sat,sun")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days += [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]
    return days


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(
        message, code="bad-schedule", hint="see `prixfixe worker schedule --help`", fault="provider"
    )
