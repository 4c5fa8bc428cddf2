"""One attempt, from the market's assignment to a report that the service has.

Each step is written in the journal before the next one cannot be taken back, and each can be repeated: `take`
begins, `recover` goes on wherever an earlier process stopped.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from prixfixe.errors import EngineError, PrixfixeError
from prixfixe.protocol.deals import Due, open_word, refusal_root
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputManifest, TaskStatus, leaf, merkle_root
from prixfixe.protocol.wire import Assignment, LogChunk, Reason, TaskReport
from worker import outcomes
from worker.checks import check_deal, check_job
from worker.client import Stopped
from worker.delivery import WORD_SECONDS, Delivery
from worker.engine import ContainerState, ImageMissing
from worker.journal import AttemptRow
from worker.layout import cage_of, lay_out
from worker.logs import LogSender, LogTail, Piece
from worker.outputs import OutputLimits, OutputRefused, collect
from worker.room import Abandoned, Room
from worker.runner import Job, Runner, Stopper, container_name
from worker.scratch import Disk

log = logging.getLogger("prixfixe.worker")

_MARGIN_SECONDS: Final = 1.0  # before the deadline: to hash, upload and settle


class Attempt:
    """One attempt in one thread; `stop` may be called from others."""

    def __init__(self, room: Room, assignment: Assignment) -> None:
        self.room = room
        self.assignment = assignment
        self.id = assignment.attempt
        self.folder = room.runs / assignment.attempt
        self._stopper = Stopper()
        self._runner = Runner(room.engine)
        self._disk: Disk | None = None
        self._cage: dict[str, Any] = {}
        self.abandoned = threading.Event()

    def stop(self, why: str) -> None:
        """End it. "given up" by the market: no report. "shutdown" of the worker, now: no report, and a
        restart begins it anew. "drain", the worker's patience is over: a refusal, so that the customer has
        the money back at once."""
        if why != "drain":
            self.abandoned.set()
        self._stopper.stop(why)

    # ------------------------------------------------------------------------------------------------- ways

    def accept(self) -> bool:
        """Whether this is a deal of ours that is not known yet; it is in the journal then. NotOurs
        otherwise."""
        check_deal(self.assignment, self.room.signer.address, self.room.settings.provider, self.room.domain)
        return self.room.journal.take(self.id, self.assignment.model_dump_json())

    def begin(self) -> None:
        """An accepted assignment: check, run, report."""
        self._carry_on(self._run_fresh)

    def recover(self, row: AttemptRow) -> None:
        """Go on after a restart, from what the journal says."""
        size = max(self.assignment.product.disk_mib, 1)
        if row.disk is not None:
            self._disk = self.room.scratch.adopt(row.disk, size)
        if row.state == "finished" and row.report is not None:
            report = TaskReport.model_validate_json(row.report)
            self._carry_on(lambda: report)
            return
        state = self.room.engine.state(container_name(self.id))
        if (
            row.state == "running"
            and state is not None
            and self._disk is not None
            and state.status != "created"
        ):
            log.info("attempt %s: found its container again (%s)", self.id, state.status)
            self._carry_on(lambda: self._run_found(state))
            return
        log.info("attempt %s: starting it over", self.id)
        if self._disk is not None:
            self.room.scratch.release(self._disk)
            self._disk = None
        self._carry_on(lambda: self._run_fresh())

    def _carry_on(self, run: Callable[[], TaskReport]) -> None:
        """`run` gives the report; it is sent, and everything of the attempt is cleaned away. Only a
        shutdown leaves the journal as it is, for the next process."""
        try:
            report = run()
            self._delivery.send(report)
            self.room.journal.reported(self.id)
        except (Stopped, Abandoned):
            if self._stopper.why != "given up":
                # Without its clock a container must not run on; a finished task keeps its disk for the next
                # process.
                with suppress(EngineError):
                    self.room.engine.remove(container_name(self.id))
                return
            log.info("attempt %s: given up", self.id)
            self._drop()
        except PrixfixeError as error:
            log.warning("attempt %s: dropped: %s", self.id, error)
            self._drop()
        self.room.pool.submit(self._clean)

    # ---------------------------------------------------------------------------------------------- running

    def _run_fresh(self) -> TaskReport:
        def run(sender: LogSender) -> TaskReport:
            budget = self._check()
            self._disk = self.room.scratch.take(max(self.assignment.product.disk_mib, 1))
            job = self._prepare(self._disk, sender, budget)
            container = self._create(job)
            self.room.journal.running(self.id, container, self._disk.folder)
            return self._finish(self._runner.run(container, job, self._stopper), sender)

        return self._refusing(run)

    def _run_found(self, state: ContainerState) -> TaskReport:
        def run(sender: LogSender) -> TaskReport:
            assert self._disk is not None
            job = self._job(self._disk, sender, float(self.assignment.product.max_seconds))
            return self._finish(self._runner.resume(state, job, self._stopper), sender)

        return self._refusing(run)

    def _refusing(self, run: Callable[[LogSender], TaskReport]) -> TaskReport:
        """The report of `run`, or a refusal when anything of ours breaks: the customer's money never waits
        for a deadline because of a worker that knows better."""
        sender = LogSender(self._post_log)
        try:
            return run(sender)
        except (Stopped, Abandoned):
            raise
        except Exception as error:
            self._raise_if_abandoned()
            if not isinstance(error, PrixfixeError):
                log.exception("attempt %s: unexpected", self.id)
                error = EngineError(f"the worker failed: {type(error).__name__}", code="worker-fault")
            log.warning("attempt %s could not be run: %s", self.id, error)
            status, reason = outcomes.could_not_start(error.message, error)
            return self._report(status, None, 0.0, OutputManifest(), reason)
        finally:
            sender.close(timeout=0.0)

    def _check(self) -> float:
        """Seconds that the task may run, once everything about it is as bought and its deal is open on
        chain."""
        check_job(self.assignment, self.room.settings)
        assignment = self.assignment
        expected = open_word(assignment.deal.id, assignment.due)
        found = self.room.chain.wait_for_word(
            assignment.deal.order, assignment.deal.lot, expected, WORD_SECONDS
        )
        if found != expected:
            # Nothing to refuse either: the contract takes no word about a deal that is not open.
            self._stopper.stop("given up")
            raise Abandoned(
                f"deal {assignment.deal_id} is not open on chain (its lot's word is 0x{found.hex()})"
            )
        return self._budget()

    def _budget(self) -> float:
        """Wall-clock seconds for the container: the product's, but never past the deal's deadline, after
        which the contract pays nobody; replicas need some of it to agree."""
        several = len(self.assignment.deal.legs) > 1
        margin = _MARGIN_SECONDS + (self.room.grace / 2 if several else 0)
        left = Due.unpack(self.assignment.due).deadline - self.room.chain.now() - margin
        if left <= 0:
            raise PrixfixeError(
                "the deal's deadline was too near to start its task", code="too-late", fault="provider"
            )
        return min(float(self.assignment.product.max_seconds), left)

    def _prepare(self, disk: Disk, sender: LogSender, budget: float) -> Job:
        """The task's folder as the container will see it, and its image."""
        manifest = self.assignment.manifest
        self.room.images.ensure(manifest.image, self.assignment.image_archive)
        lay_out(
            self.folder,
            manifest,
            self.room.inputs,
            index=self.assignment.tasks[0],
            limit_units=self.assignment.limit_units,
            go_on=self._raise_if_abandoned,
        )
        return self._job(disk, sender, budget)

    def _job(self, disk: Disk, sender: LogSender, budget: float) -> Job:
        settings = self.room.settings
        cage = cage_of(
            self.assignment.manifest,
            self.assignment.product,
            self.folder,
            disk,
            settings.limits,
            attempt=self.id,
            worker=self.room.installation,
            runtime=settings.runtime,
        )
        self._cage = {**cage.describe(), "digest": cage.digest}
        return Job(cage, disk, LogTail(settings.limits), budget, sender.put)

    def _create(self, job: Job) -> str:
        try:
            return self._runner.create(job)
        except ImageMissing:
            # It was there before; somebody cleaned up. Bring it back once.
            self.room.images.forget(job.cage.image)
            self.room.images.ensure(job.cage.image, self.assignment.image_archive)
            return self._runner.create(job)

    # --------------------------------------------------------------------------------------------- finishing

    def _finish(self, run: outcomes.Run, sender: LogSender) -> TaskReport:
        self._raise_if_abandoned()
        product, disk = self.assignment.product, self._disk
        assert disk is not None
        limits = outcomes.Limits(product.max_seconds, product.memory_mib, disk.size_mib)
        status, reason = outcomes.judge(run, limits)
        outputs = OutputManifest()
        if status is TaskStatus.SUCCEEDED:
            try:
                outputs = self._collect(disk)
            except OutputRefused as error:
                status = TaskStatus.OUTPUT_REFUSED
                reason = Reason(
                    code=error.code, message=error.message, hint=error.hint or "", fault=error.fault
                )
        sender.close(timeout=2.0)
        return self._report(status, run.exit_code, run.seconds, outputs, reason)

    def _collect(self, disk: Disk) -> OutputManifest:
        limits = OutputLimits(self.room.settings.limits.output_files, disk.size_mib << 20)
        try:
            return collect(disk.outputs, limits)
        except OSError as error:
            raise OutputRefused(
                f"the outputs cannot be read: {error.strerror}", code="output-unreadable", fault="provider"
            ) from error

    def _report(
        self,
        status: TaskStatus,
        exit_code: int | None,
        seconds: float,
        outputs: OutputManifest,
        reason: Reason | None,
    ) -> TaskReport:
        """Promise, sign, write down. From here on the answer is fixed."""
        if status is TaskStatus.SUCCEEDED:
            root = merkle_root([leaf(0, status, outputs.digest)])  # the lot's first place, and its only one
            result = Result(self.assignment.deal.id, root, 1)
        else:
            result = Result(self.assignment.deal.id, refusal_root(self.assignment.due), 0)
        report = TaskReport(
            status=int(status),
            exit_code=exit_code,
            seconds=round(seconds, 3),
            outputs=outputs,
            result=result,
            signature=self._delivery.sign(result, self.assignment.due),
            reason=reason,
            cage=self._cage,
        )
        self.room.journal.finished(self.id, report.model_dump_json())
        return report

    @property
    def _delivery(self) -> Delivery:
        return Delivery(self.room, self.assignment, self._disk, self.abandoned)

    def _post_log(self, piece: Piece) -> None:
        self.room.client.log(self.id, LogChunk(offset=piece.offset, text=piece.text, progress=piece.progress))

    # ---------------------------------------------------------------------------------------------- cleaning

    def _raise_if_abandoned(self) -> None:
        if self.abandoned.is_set():
            raise Abandoned("the attempt was stopped")

    def _drop(self) -> None:
        with suppress(PrixfixeError):
            self.room.journal.dropped(self.id)

    def _clean(self) -> None:
        """After the report: nothing here is part of anybody's wait."""
        with suppress(EngineError):
            self.room.engine.remove(container_name(self.id))
        if self._disk is not None:
            self.room.scratch.release(self._disk)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.room.inputs.evict()
        with suppress(EngineError):
            self.room.scratch.prepare(max(self.assignment.product.disk_mib, 1))
