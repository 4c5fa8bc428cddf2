"""Lots as a worker takes, starts and reports them: several in one call where several are ready."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from prixfixe.errors import NotFound, PrixfixeError
from prixfixe.protocol.lot_batch import MOST_LOTS, MOST_SHARED_BYTES, LotReports, NamedReport, Starting
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.wire import Assignment, ReportAnswer
from worker.client import ServiceClient
from worker.gathering import Gathered

# Until a service that knows no calls for several, as older ones do not, is asked for them again.
_ALONE_SECONDS: Final = 600.0


class Lots:
    """Of one worker, at one service. Safe for many threads."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._alone_until = 0.0
        self._reports = Gathered(self._report_each, MOST_LOTS)

    def next(self, most: int, wait_seconds: float) -> Sequence[Assignment]:
        """What is to be run, at most so many lots, the first waited for at the service."""
        if most > 1 and self._together:
            try:
                return self._client.assignment_batch(min(most, MOST_LOTS), wait_seconds)
            except NotFound:
                self._go_alone()
        one = self._client.assignment(wait_seconds)
        return () if one is None else (one,)

    def start(self, attempts: Sequence[str]) -> dict[str, PrixfixeError]:
        """These run now; of those that the service was not told of, or would not have run, why."""
        if len(attempts) > 1 and self._together:
            try:
                told = self._client.start_batch(Starting(attempts=tuple(attempts)))
                asked = set(attempts)
                return {
                    each.attempt: PrixfixeError.from_problem(each.problem)
                    for each in told
                    if each.problem and each.attempt in asked
                }
            except NotFound:
                self._go_alone()
            except PrixfixeError as error:
                return dict.fromkeys(attempts, error)
        refused: dict[str, PrixfixeError] = {}
        for attempt in attempts:
            try:
                self._client.start(attempt)
            except PrixfixeError as error:
                refused[attempt] = error
        return refused

    def report(self, attempt: str, report: LotReport, wait: float) -> ReportAnswer:
        """The service's answer, waited for so many seconds. A short report goes with others that are ready at
        the same moment; when that comes to nothing, it goes alone."""
        answer = None
        if self._together and len(report.model_dump_json()) <= MOST_SHARED_BYTES:
            answer = self._reports.call(NamedReport(attempt=attempt, report=report))
        return self._client.report(attempt, report, wait) if answer is None else answer

    def _report_each(self, given: Sequence[NamedReport]) -> Sequence[ReportAnswer | PrixfixeError | None]:
        """One try. None for what is to go alone: the service was silent, or could not take them together."""
        try:
            if len(given) == 1:
                return [self._client.report(given[0].attempt, given[0].report, 0.0)]
            told = self._client.report_batch(LotReports(reports=tuple(given)))
        except PrixfixeError as error:
            if len(given) == 1 and not error.retryable:
                return [error]
            if isinstance(error, NotFound):
                self._go_alone()
            return [None] * len(given)
        answers = {
            each.attempt: PrixfixeError.from_problem(each.problem) if each.problem else each.answer
            for each in told
        }
        found = [answers.get(each.attempt) for each in given]
        return [None if isinstance(each, PrixfixeError) and each.retryable else each for each in found]

    @property
    def _together(self) -> bool:
        return time.monotonic() >= self._alone_until

    def _go_alone(self) -> None:
        self._alone_until = time.monotonic() + _ALONE_SECONDS
