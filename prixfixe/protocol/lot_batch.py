"""Several lots in one call of a worker (`/v1/assignments/batch`, `/v1/attempts/start`,
`/v1/attempts/results`), each answered by itself."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from prixfixe.protocol.fields import Body, Message
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.wire import Assignment, ReportAnswer

MOST_LOTS: Final = 32  # in one call
# A longer report goes alone: so many of this length fit any service's bound of a body.
MOST_SHARED_BYTES: Final = 16_384

AttemptName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]


class Assignments(Message):
    """What waits for a worker, oldest first: not always all of it."""

    items: tuple[Assignment, ...]
    next: None = None


class Starting(Body):
    """Attempts that run now."""

    attempts: Annotated[tuple[AttemptName, ...], Field(min_length=1, max_length=MOST_LOTS)]


class Started(Message):
    """problem: why this one may not run, as if it had come alone; None when it may."""

    attempt: str
    problem: dict[str, Any] | None = None


class StartAnswers(Message):
    """Of each, in their order."""

    items: tuple[Started, ...]
    next: None = None


class NamedReport(Body):
    """The signed end of one attempt."""

    attempt: AttemptName
    report: LotReport


class LotReports(Body):
    """Those of several attempts. Of one that is named twice the last that can be read
    counts."""

    reports: Annotated[tuple[NamedReport, ...], Field(min_length=1, max_length=MOST_LOTS)]


class Reported(Message):
    """What a report that had come alone would have been answered with: an answer or a problem."""

    attempt: str
    answer: ReportAnswer | None = None
    problem: dict[str, Any] | None = None


class ReportAnswers(Message):
    """Of each, in their order."""

    items: tuple[Reported, ...]
    next: None = None
