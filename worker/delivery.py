"""From a finished task to the service: of several replicas first an agreement, then outputs, then the report.

Every step may be repeated, so a restart begins again with the first; the journal keeps what must stay the
same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prixfixe.errors import Conflict, EngineError, Unavailable
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import open_word, refusal_root
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputFile
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.uploads import PartRange
from prixfixe.protocol.wire import Assignment
from worker.replica import agree
from worker.room import Room

log = logging.getLogger("prixfixe.worker")

_KEEP_PAID_SECONDS: Final = 7 * 86400.0
WORD_SECONDS: Final = 3.0  # how long our node may be behind the service's


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt's way to the service. places: of each task of the lot the folder in which its outputs lie,
    None when it has none. abandoned: set when it is given up."""

    room: Room
    assignment: Assignment
    places: Sequence[Path | None]
    abandoned: threading.Event

    def send(self, report: LotReport) -> None:
        """Outputs first, since the service settles only what it can deliver; then the report. A silent
        service is waited for until the deal's deadline has passed; after it, once more.

        One of several replicas gives its outputs only for a quorum of signatures; NotPaid without.
        """
        attempt, wait = self.assignment.attempt, max(30.0, self.assignment.deadline - time.time())
        delivered = False
        if len(self.assignment.deal.legs) > 1 and report.result.done:
            delivered = agree(self.room, self.assignment, report, wait, self.abandoned).delivered
        if not delivered:
            self._upload_all(report, wait)
        if report.result.done:
            self.room.journal.delivered(attempt)
        try:
            answer = self.room.lots.report(attempt, report, wait)
        except Conflict as error:
            if error.code == "outputs-missing" and delivered:
                self._upload_all(report, wait)
            elif error.code == "due-changed" and not report.result.done:
                report = self._with_new_due(report, int(error.values["due"]))
            else:
                raise
            answer = self.room.lots.report(attempt, report, wait)
        if not answer.accepted:
            told = answer.reason.message if answer.reason else "no reason given"
            log.warning("attempt %s: the service did not take the result: %s", attempt, told)
        else:
            log.info("attempt %s: reported, %d of %d done", attempt, report.result.done, len(report.tasks))

    def send_in_the_end(self, report: LotReport) -> None:
        """As `send`. A result that the chain has paid, while the service was away, is kept for it longer than
        its deal: its customer's receipt and files hang on it."""
        until = time.monotonic() + _KEEP_PAID_SECONDS
        while True:
            try:
                return self.send(report)
            except Unavailable:
                paid = self.room.journal.how_settled(self.assignment.attempt) == "settled"
                if not paid or time.monotonic() > until:
                    raise

    def sign(self, result: Result, due: int) -> str:
        """The signature over a result, promised in the journal before it exists."""
        self.room.journal.promise(result, due)
        return "0x" + sign_typed(self.room.signer, result, self.room.domain).hex()

    def _with_new_due(self, report: LotReport, due: int) -> LotReport:
        """A refusal signed anew for a deal that was hastened meanwhile, once the chain says so too."""
        deal = self.assignment.deal
        expected = open_word(deal.id, due)
        found = self.room.chain.wait_for_word(deal.order, deal.lot, expected, WORD_SECONDS)
        if found != expected:
            raise Conflict(
                f"deal {self.assignment.deal_id} is not open with the due {due} that the service names"
            )
        result = Result(deal.id, refusal_root(due), 0)
        renewed = report.model_copy(update={"result": result, "signature": self.sign(result, due)})
        self.room.journal.finished(self.assignment.attempt, renewed.model_dump_json())
        return renewed

    def _upload_all(self, report: LotReport, wait: float) -> None:
        """Every file once, whatever tasks it is of."""
        found: dict[str, tuple[Path, OutputFile]] = {}
        for task, place in zip(report.tasks, self.places, strict=True):
            if task.outputs.files and place is None:
                raise EngineError("the outputs of a finished task are gone", code="outputs-gone")
            if place is not None:
                found |= {file.sha256: (place, file) for file in task.outputs.files}
        if not found:
            return
        one, *more = found.values()
        sent = [self.room.pool.submit(self._upload, *each, wait) for each in more]
        self._upload(*one, wait)
        for upload in sent:
            upload.result()

    def _upload(self, place: Path, file: OutputFile, wait: float) -> None:
        def content(part: PartRange) -> Iterable[bytes]:
            return self.room.hands.read(place, file.path, part.offset, part.length)

        self.room.client.upload(file.sha256, file.size, content, wait)
