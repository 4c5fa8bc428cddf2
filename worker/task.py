"""One task of an attempt: its folder, disk and cage, from start to a report that the journal has."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import EngineError, PrixfixeError
from prixfixe.protocol.deals import NO_BUNDLE
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.outputs import OutputManifest, TaskStatus
from prixfixe.protocol.reports import MORE_WORDS_BYTES, TaskReport, most_listing_bytes
from prixfixe.protocol.surroundings import cage_digest
from prixfixe.protocol.wire import Assignment, LogChunk, Reason
from worker import outcomes
from worker.cage import Cage
from worker.calls import RunnerLost
from worker.client import Stopped
from worker.containers import ContainerState, ImageMissing, Run, container_name
from worker.isolation import runtime_of
from worker.journal import TaskRow
from worker.layout import cage_of, lay_out_empty, place_inputs
from worker.logs import HeldLog, LogSender, Piece
from worker.outputs import OutputLimits, OutputRefused
from worker.room import Abandoned, Room
from worker.scratch import Disk
from worker.settings import Limits
from worker.stopping import Stopper

log = logging.getLogger("prixfixe.worker")

_LEAST_LOG_BYTES: Final = 8192  # of a task, however many share the room for a log


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that is over. outputs: the folder in which the files of its report lie, None when it has none.
    cage: what it ran in, without what differs from task to task; empty when it never ran here."""

    report: TaskReport
    outputs: Path | None = None
    cage: dict[str, Any] | None = None


class Task:
    """One task in one thread; `stop` may be called from others. manifest: as this task runs it. index: in the
    job. seconds: that it may run; fewer than the product's when the deal ends before. stopped: raises when
    the attempt is given up."""

    def __init__(
        self,
        room: Room,
        assignment: Assignment,
        manifest: JobManifest,
        index: int,
        seconds: float,
        stopped: Callable[[], None],
        gpus: tuple[str, ...] = (),
        secrets: Path | None = None,
    ) -> None:
        self.room = room
        self.assignment = assignment
        self._manifest = manifest
        self.index = index
        self.seconds = seconds
        self._gpus = gpus
        self._secrets = secrets
        self.folder = room.runs / assignment.attempt / str(index)
        self._raise_if_stopped = stopped
        self._stopper = Stopper()
        self._disk: Disk | None = None
        self._cage: dict[str, Any] | None = None
        self._held: HeldLog | None = None
        self._begun = False  # the journal has its container and disk
        self.cleaning: Future[None] | None = None

    @property
    def _several(self) -> bool:
        return self.assignment.deal.count > 1

    def stop(self, why: str) -> None:
        self._stopper.stop(why)

    def run(self, known: TaskRow | None) -> Ended:
        """Its end. known: what an earlier process began of it: followed when its container is still there,
        else it is run anew."""
        sender = LogSender(self._post)
        try:
            state = self._found(known)
            ended = self._begin(sender) if state is None else self._follow(state, sender)
        except (Stopped, Abandoned):
            raise
        except Exception as error:
            self._raise_if_stopped()
            if not isinstance(error, PrixfixeError):
                log.exception("%s: unexpected", self._name)
                error = EngineError(f"the worker failed: {type(error).__name__}", code="worker-fault")
            log.warning(
                "attempt %s, task %d could not be run: %s", self.assignment.attempt, self.index, error
            )
            status, reason = outcomes.could_not_start(error.message, error)
            ended = Ended(self._report(status, None, 0.0, OutputManifest(), reason), None, self._cage)
        finally:
            sender.close(timeout=0.0)
        self.room.journal.ended(
            self.assignment.attempt, self.index, ended.report.model_dump_json(), ended.outputs
        )
        if self._several:
            self._tell_end(ended.report.status)
        if self._several or not self._begun:
            # A single one that began keeps disk and container until it is delivered: its attempt cleans.
            self.cleaning = self.room.pool.submit(self._clean)
        return ended

    # ---------------------------------------------------------------------------------------------- running

    def _found(self, known: TaskRow | None) -> ContainerState | None:
        """The container that an earlier process started, with the disk that it writes to. Without both
        nothing is left of them afterwards."""
        if known is None or known.disk is None:
            return None
        self._disk = self.room.hands.adopt(known.disk, self._disk_mib)
        state = self.room.hands.state(self._container)
        if state is not None and self._disk is not None and state.status != "created":
            log.info(
                "attempt %s, task %d: found again (%s)", self.assignment.attempt, self.index, state.status
            )
            return state
        log.info("%s: starting it over", self._name)
        if state is not None:
            self.room.hands.remove(self._container)
        if self._disk is not None:
            self.room.hands.release(self._disk.folder)
            self._disk = None
        return None

    def _begin(self, sender: LogSender) -> Ended:
        self._disk = self.room.hands.take(self._disk_mib)
        lay_out_empty(self.folder, self._manifest, index=self.index, limit_units=self.assignment.limit_units)
        cage = self._cage_on(self._disk)
        if self._disk.carried is not None:  # what is carried to another machine must be here first
            self._place_inputs()
        container = self._create(cage)
        if self._disk.carried is None:
            # Not before: they arrive while the engine makes the container.
            try:
                self._place_inputs()
            except BaseException:
                self.room.hands.remove(container)  # no journal names it
                raise
        self.room.journal.running(self.assignment.attempt, self.index, container, self._disk.folder)
        self._begun = True
        return self._finish(self._run(container, cage, self._disk, sender, again=False), sender)

    def _place_inputs(self) -> None:
        place_inputs(self.folder, self._manifest, self.room.inputs, self._raise_if_stopped)

    def _follow(self, state: ContainerState, sender: LogSender) -> Ended:
        assert self._disk is not None
        self._begun = True
        cage = self._cage_on(self._disk)
        return self._finish(self._run(state.id, cage, self._disk, sender, again=True), sender)

    def _run(self, container: str, cage: Cage, disk: Disk, sender: LogSender, *, again: bool) -> Run:
        """To its end, through every runner that dies meanwhile."""
        limits = _log_limits(self.room.settings.limits, self.assignment)
        while True:
            try:
                return self.room.hands.run(
                    container, cage, disk, limits, self.seconds, self._stopper, self._ear(sender), again=again
                )
            except RunnerLost:
                state = self.room.hands.state(container)
                if state is None:
                    raise EngineError(
                        "the engine lost the container while it ran", code="container-lost", retryable=True
                    ) from None
                again = state.status != "created"
                sender.begin_again()
                log.info("%s: followed by a new runner (%s)", self._name, state.status)

    def _ear(self, sender: LogSender) -> Callable[[Piece], None]:
        """Takes the log from its beginning."""
        if self.assignment.deal.bundle != NO_BUNDLE:
            return sender.put
        self._held = HeldLog(sender.put)
        return self._held.put

    def _cage_on(self, disk: Disk) -> Cage:
        settings, manifest = self.room.settings, self.assignment.manifest
        cage = cage_of(
            self._manifest,
            self.assignment.product,
            self.folder,
            disk,
            settings.limits,
            task=self.index,
            attempt=self.assignment.attempt,
            worker=self.room.installation,
            runtime=runtime_of(
                settings.runtime,
                self.room.runtimes,
                manifest,
                egress="egress" in self.room.capabilities,
                gpus=bool(self._gpus),
            ),
            gpus=self._gpus,
            secrets=self._secrets,
        )
        alike = replace(cage, task=0, command=manifest.command, environment=manifest.environment)
        shown = alike.describe()
        self._cage = {**shown, "digest": cage_digest(shown)}
        return cage

    def _create(self, cage: Cage) -> str:
        try:
            return self.room.hands.create(cage)
        except ImageMissing:
            # It was there before; somebody cleaned up. Bring it back once.
            self.room.images.forget(cage.image)
            self.room.images.ensure(cage.image, self.assignment.image_archive)
            return self.room.hands.create(cage)

    # --------------------------------------------------------------------------------------------- finishing

    def _finish(self, run: Run, sender: LogSender) -> Ended:
        self._raise_if_stopped()
        product, disk, deal = self.assignment.product, self._disk, self.assignment.deal
        assert disk is not None
        status, reason = outcomes.judge(
            run, outcomes.Limits(product.max_seconds, product.memory_mib, disk.size_mib)
        )
        if run.stopped_for == "time" and self.seconds < product.max_seconds:
            status, reason = outcomes.could_not_start("the deal's time was over before the task's own")
        outputs = OutputManifest()
        if deal.pays_for(status):
            try:
                outputs = self._collect(disk)
            except OutputRefused as error:
                status = TaskStatus.OUTPUT_REFUSED
                reason = Reason(
                    code=error.code, message=error.message, hint=error.hint or "", fault=error.fault
                )
        if self._held is not None:
            self._held.end(paid=deal.pays_for(status))
        sender.close(timeout=2.0)
        report = self._report(status, run.exit_code, run.seconds, outputs, reason)
        return Ended(report, self._place(disk, outputs), self._cage)

    def _collect(self, disk: Disk) -> OutputManifest:
        limits = OutputLimits(self.room.settings.limits.output_files, disk.size_mib << 20)
        outputs = self.room.hands.collect(disk.outputs, limits)
        most = most_listing_bytes(self.assignment.deal.count)
        if len(outputs.to_bytes()) > most:
            raise OutputRefused(
                f"the list of the {len(outputs.files)} output files has more than {most:,} bytes",
                code="output-list-too-long",
                hint="write fewer files, such as one archive, or buy smaller lots",
            )
        return outputs

    def _place(self, disk: Disk, outputs: OutputManifest) -> Path | None:
        """Where the files lie until they are delivered: of a single task on its disk, since its customer
        waits; of several in a folder, so that no more disks are needed than tasks run at once."""
        if not outputs.files:
            return None
        if not self._several:
            return disk.outputs
        place = self.room.kept(self.assignment.attempt) / str(self.index)
        self.room.hands.keep(disk.outputs, outputs.files, place)
        return place

    def _report(
        self,
        status: TaskStatus,
        exit_code: int | None,
        seconds: float,
        outputs: OutputManifest,
        reason: Reason | None,
    ) -> TaskReport:
        if reason is not None and self._several:
            reason = outcomes.shortened(reason, MORE_WORDS_BYTES)
        return TaskReport(
            status=int(status),
            exit_code=exit_code,
            seconds=round(seconds, 3),
            outputs=outputs,
            reason=reason,
        )

    def _clean(self) -> None:
        """Take away its container, disk and folder; not the files that `Ended.outputs` names."""
        with suppress(EngineError):
            self.room.hands.remove(self._container)
        if self._disk is not None:
            with suppress(PrixfixeError):
                self.room.hands.release(self._disk.folder)
                self.room.journal.released(self.assignment.attempt, self.index)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ telling

    def _post(self, piece: Piece) -> None:
        chunk = LogChunk(task=self.index, offset=piece.offset, text=piece.text, progress=piece.progress)
        self.room.client.log(self.assignment.attempt, chunk)

    def _tell_end(self, status: int) -> None:
        """For the customer's eyes; what counts is the lot's report."""
        chunk = LogChunk(task=self.index, offset=0, text="", status=status)

        def post() -> None:
            with suppress(PrixfixeError):
                self.room.client.log(self.assignment.attempt, chunk)

        self.room.pool.submit(post)

    @property
    def _name(self) -> str:
        return f"attempt {self.assignment.attempt}, task {self.index}"

    @property
    def _container(self) -> str:
        return container_name(self.assignment.attempt, self.index)

    @property
    def _disk_mib(self) -> int:
        return max(self.assignment.product.disk_mib, 1)


def _log_limits(limits: Limits, assignment: Assignment) -> Limits:
    """The room for a log is the attempt's, and its tasks share it."""
    share = max(_LEAST_LOG_BYTES, limits.log_bytes // assignment.deal.count)
    return replace(limits, log_bytes=min(limits.log_bytes, share))
