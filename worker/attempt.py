"""One attempt, from the market's assignment to a report that the service has.

An attempt is of one lot: its tasks run side by side, as many as there are slots, each in a folder, disk and
cage of its own (`worker.task`), and come together in one signed result. Each step is written in the journal
before the next one cannot be taken back, and each can be repeated: `take` begins, `recover` goes on wherever
an earlier process stopped.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from prixfixe.errors import EngineError, InvalidInput, PrixfixeError
from prixfixe.keys import sign_typed
from prixfixe.logs import about
from prixfixe.protocol import matrix
from prixfixe.protocol.deals import Due, open_word, refusal_root
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputManifest, TaskStatus, lot_root
from prixfixe.protocol.reports import MORE_WORDS_BYTES, LotReport, TaskReport
from prixfixe.protocol.surroundings import Surroundings
from prixfixe.protocol.wire import Assignment, Reason
from worker import outcomes
from worker.checks import check_deal, check_job
from worker.client import Stopped
from worker.containers import container_name
from worker.delivery import WORD_SECONDS, Delivery
from worker.journal import AttemptRow, TaskRow
from worker.ownlog import ids_of
from worker.quoting import slots_for
from worker.room import Abandoned, Room
from worker.task import Ended, Task

log = logging.getLogger("prixfixe.worker")

_MARGIN_SECONDS: Final = 1.0  # before the deadline: to hash, upload and settle
_LOT_MARGIN: Final = 0.05  # of a lot of several: that part of its time, since all its files come at the end
_MOST_MARGIN_SECONDS: Final = 60.0


class Attempt:
    """One attempt in one thread, with more for its tasks; `stop` may be called from others."""

    def __init__(self, room: Room, assignment: Assignment) -> None:
        self.room = room
        self.assignment = assignment
        self.id = assignment.attempt
        self.folder = room.runs / assignment.attempt
        self.width = min(len(assignment.tasks), max(1, slots_for(room.settings, assignment.product)))
        self.abandoned = threading.Event()
        self._why: str | None = None
        self._lock = threading.Lock()
        self._running: dict[int, Task] = {}
        self._ended: dict[int, Ended] = {}
        self._cleaning: list[Future[None]] = []
        self._until = 0.0  # on the monotonic clock: when what still runs is stopped
        self._cage: dict[str, Any] = {}
        self._secrets: Path | None = None
        self._manifests: dict[int, JobManifest] = {}  # of tasks that have parameters of their own

    def stop(self, why: str) -> None:
        """End it. "given up" by the market: no report. "shutdown" of the worker, now: no report, and a
        restart begins anew what had not ended. "drain", the worker's patience is over: a report of what is
        done, or a refusal, so that the customer has the money back at once."""
        if why != "drain":
            self.abandoned.set()
        with self._lock:
            self._why = self._why or why
            running = list(self._running.values())
        self.room.slots.wake()
        self.room.gpus.wake()
        for task in running:
            task.stop(why)

    # ------------------------------------------------------------------------------------------------- ways

    def accept(self) -> bool:
        """Whether this is a deal of ours that is not known yet; it is in the journal then. NotOurs
        otherwise."""
        check_deal(self.assignment, self.room.signer.address, self.room.settings.provider, self.room.domain)
        return self.room.journal.take(self.id, self.assignment.model_dump_json())

    def begin(self) -> None:
        """An accepted assignment: check, run, report."""
        self._carry_on(lambda: self._run({}))

    def recover(self, row: AttemptRow) -> None:
        """Go on after a restart, from what the journal says."""
        known = self.room.journal.tasks(self.id)
        report = _finished(row)
        if report is not None:
            self._ended = {task: _ended(each) for task, each in known.items() if each.report is not None}
            for each in known.values():
                if each.disk is not None:  # a restart of the machine has unmounted it
                    self.room.hands.adopt(each.disk, max(self.assignment.product.disk_mib, 1))
            self._carry_on(lambda: report)
            return
        log.info("attempt %s: going on with %d tasks begun", self.id, len(known))
        self._carry_on(lambda: self._run(known))

    def _carry_on(self, run: Callable[[], LotReport]) -> None:
        """`run` gives the report; it is sent, and everything of the attempt is cleaned away. Only a
        shutdown leaves the journal as it is, for the next process."""
        try:
            report = run()
            self._delivery.send_in_the_end(report)
            self.room.journal.reported(self.id)
        except (Stopped, Abandoned):
            if self._why != "given up":
                # Without its clock a container must not run on; a finished task keeps its files for the next
                # process.
                self._remove_containers()
                return
            log.info("attempt %s: given up", self.id)
            self._drop()
        except PrixfixeError as error:
            log.warning("attempt %s: dropped: %s", self.id, error)
            self._drop()
        self.room.pool.submit(self._clean)

    # ---------------------------------------------------------------------------------------------- running

    def _run(self, known: dict[int, TaskRow]) -> LotReport:
        """Every task, and the report; a refusal when anything of ours breaks: the customer's money never
        waits for a deadline because of a worker that knows better."""
        try:
            self._until = time.monotonic() + self._check()
            # Beside everything that is made for them: it takes as long as they do.
            self.room.pool.submit(self._fetch_inputs)
            self.room.images.ensure(self.assignment.manifest.image, self.assignment.image_archive)
            self._secrets = self.room.secrets.fetch(
                self.room.client, self.assignment, self.room.signer.address, self._until, self._is_stopped
            )
            self._raise_if_abandoned()
            self._manifests = self._read_matrix()
            self._run_all(known)
        except (Stopped, Abandoned):
            raise
        except Exception as error:
            self._raise_if_abandoned()
            if not isinstance(error, PrixfixeError):
                log.exception("attempt %s: unexpected", self.id)
                error = EngineError(f"the worker failed: {type(error).__name__}", code="worker-fault")
            log.warning("attempt %s could not be run: %s", self.id, error)
            status, reason = outcomes.could_not_start(error.message, error)
            self._ended = {index: self._not_run(status, reason) for index in self.assignment.tasks}
        return self._report()

    def _check(self) -> float:
        """Seconds until its tasks must be over, once everything about it is as bought and its deal is open
        on chain."""
        check_job(self.assignment, self.room.settings)
        assignment = self.assignment
        expected = open_word(assignment.deal.id, assignment.due)
        found = self.room.chain.wait_for_word(
            assignment.deal.order, assignment.deal.lot, expected, WORD_SECONDS
        )
        if found != expected:
            # Nothing to refuse either: the contract takes no word about a deal that is not open.
            self.stop("given up")
            raise Abandoned(
                f"deal {assignment.deal_id} is not open on chain (its lot's word is 0x{found.hex()})"
            )
        return self._time_left()

    def _fetch_inputs(self) -> None:
        """Bring the inputs that are not here. What goes wrong is met again, and told, where they are used."""
        with suppress(PrixfixeError):
            for wanted in self.assignment.manifest.inputs:
                if self._is_stopped():
                    return
                self.room.inputs.fetch(wanted.sha256, wanted.size, patient=False)

    def _time_left(self) -> float:
        """Wall-clock seconds until the deal's deadline, after which the contract pays nobody, less what
        delivery needs; replicas need some of it to agree."""
        deal, product = self.assignment.deal, self.assignment.product
        margin = _MARGIN_SECONDS + (self.room.grace / 2 if len(deal.legs) > 1 else 0)
        if deal.count > 1:
            whole = product.max_seconds * -(-deal.count // self.width)
            margin += min(_MOST_MARGIN_SECONDS, _LOT_MARGIN * whole)
        left = Due.unpack(self.assignment.due).deadline - self.room.chain.now() - margin
        if left <= 0:
            raise PrixfixeError(
                "the deal's deadline was too near to start its tasks", code="too-late", fault="provider"
            )
        return left

    def _read_matrix(self) -> dict[int, JobManifest]:
        """The job as each task of this lot runs it, when they differ."""
        manifest, tasks = self.assignment.manifest, self.assignment.tasks
        if manifest.matrix is None:
            return {}
        if manifest.matrix.size > matrix.MAX_BYTES:
            raise InvalidInput(f"the matrix has more than {matrix.MAX_BYTES:,} bytes", code="bad-matrix")
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / "matrix"
        place.unlink(missing_ok=True)
        self.room.inputs.place(manifest.matrix, place)
        rows = matrix.from_lines(place.read_bytes(), manifest.tasks)
        return {index: matrix.for_task(manifest, rows[index]) for index in tasks}

    def _run_all(self, known: dict[int, TaskRow]) -> None:
        """As many side by side as there are slots. What an earlier process left running comes first: its
        clock runs already."""
        waiting = deque(
            sorted(self.assignment.tasks, key=lambda index: index not in known or known[index].disk is None)
        )
        failed: list[BaseException] = []

        def work() -> None:
            try:
                while True:
                    try:
                        index = waiting.popleft()
                    except IndexError:
                        return
                    with about(**ids_of(self.assignment), task=index):
                        self._ended[index] = self._run_one(index, known.get(index))
            except BaseException as error:
                failed.append(error)
                waiting.clear()

        helpers = [
            threading.Thread(target=work, name=f"attempt-{self.id[:8]}-{number}", daemon=True)
            for number in range(1, self.width)
        ]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
        if failed:
            raise failed[0]

    def _is_stopped(self) -> bool:
        return self._why is not None

    def _gpus(self, known: TaskRow | None) -> AbstractContextManager[tuple[str, ...]]:
        """The GPUs of one task: those that its container has already, else free ones."""
        product = self.assignment.product
        container = None if known is None else known.container
        return self.room.gpus.hold(product.gpu_model, product.gpu_count, self._is_stopped, container)

    def _run_one(self, index: int, known: TaskRow | None) -> Ended:
        if known is not None and known.report is not None:
            return _ended(known)
        with self.room.slots.one(self._is_stopped), self._gpus(known) as devices:
            self._raise_if_abandoned()
            left = self._until - time.monotonic()
            if left <= 0:
                return self._not_run(*outcomes.could_not_start("the deal's time was over before it began"))
            seconds = min(float(self.assignment.product.max_seconds), left)
            manifest = self._manifests.get(index, self.assignment.manifest)
            task = Task(
                self.room,
                self.assignment,
                manifest,
                index,
                seconds,
                self._raise_if_abandoned,
                devices,
                self._secrets,
            )
            with self._lock:
                if self._why is None:
                    self._running[index] = task
            if index not in self._running:
                return self._not_run(*outcomes.could_not_start("the worker was stopped before it began"))
            try:
                ended = task.run(known)
            finally:
                with self._lock:
                    del self._running[index]
            if task.cleaning is not None:
                self._cleaning.append(task.cleaning)
            self._cage = self._cage or ended.cage or {}
            return ended

    def _not_run(self, status: TaskStatus, reason: Reason | None) -> Ended:
        if reason is not None and len(self.assignment.tasks) > 1:
            reason = outcomes.shortened(reason, MORE_WORDS_BYTES)
        return Ended(
            TaskReport(
                status=int(status), exit_code=None, seconds=0.0, outputs=OutputManifest(), reason=reason
            )
        )

    # --------------------------------------------------------------------------------------------- finishing

    def _report(self) -> LotReport:
        """Promise, sign, write down. From here on the answer is fixed."""
        self._raise_if_abandoned()
        deal = self.assignment.deal
        told = [self._ended[index].report for index in self.assignment.tasks]
        broken = next((each for each in told if each.status == TaskStatus.COULD_NOT_START), None)
        if len(deal.legs) > 1 and broken is not None:
            # Others will have run them all: a result that differs from theirs would only hold them up.
            told = [broken] * len(told)
        done = sum(deal.pays_for(each.status) for each in told)
        root = (
            lot_root((each.status, each.outputs.digest) for each in told)
            if done
            else refusal_root(self.assignment.due)
        )
        result = Result(deal.id, root, done)
        report = LotReport(
            tasks=tuple(told),
            result=result,
            signature=self._delivery.sign(result, self.assignment.due),
            cage=self._signed_cage(root) if done else self._cage,
        )
        self.room.journal.finished(self.id, report.model_dump_json())
        self.room.settler.watch(self.id)
        return report

    def _signed_cage(self, root: bytes) -> dict[str, Any]:
        """What the tasks ran in, with this worker's word for it. Empty for what never ran here."""
        if not self._cage:
            return {}
        word = Surroundings(self.assignment.deal.id, root, bytes.fromhex(self._cage["digest"]))
        return {**self._cage, "signature": "0x" + sign_typed(self.room.signer, word, self.room.domain).hex()}

    @property
    def _delivery(self) -> Delivery:
        ended = (self._ended.get(index) for index in self.assignment.tasks)
        places = tuple(None if each is None else each.outputs for each in ended)
        return Delivery(self.room, self.assignment, places, self.abandoned)

    # ---------------------------------------------------------------------------------------------- cleaning

    def _raise_if_abandoned(self) -> None:
        if self.abandoned.is_set():
            raise Abandoned("the attempt was stopped")

    def _drop(self) -> None:
        with suppress(PrixfixeError):
            self.room.journal.dropped(self.id)

    def _remove_containers(self) -> None:
        for task in self.room.journal.tasks(self.id):
            with suppress(EngineError):
                self.room.hands.remove(container_name(self.id, task))

    def _clean(self) -> None:
        """After the report: nothing here is part of anybody's wait."""
        size = max(self.assignment.product.disk_mib, 1)
        wait(self._cleaning)
        for task, row in self.room.journal.tasks(self.id).items():
            if row.disk is not None:
                with suppress(EngineError):
                    self.room.hands.remove(container_name(self.id, task))
                with suppress(EngineError):  # what stays is swept at the next start
                    self.room.hands.release(row.disk)
            if row.container is not None:
                self.room.gpus.forget(row.container)
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(EngineError):
            self.room.hands.delete(self.room.kept(self.id))
        self.room.secrets.forget(self.id)
        self.room.inputs.evict()
        self.room.images.evict()
        with suppress(EngineError):
            self.room.hands.prepare(size)


def _finished(row: AttemptRow) -> LotReport | None:
    """The report that was signed, if any. One that an older version wrote is made anew."""
    if row.state != "finished" or row.report is None:
        return None
    try:
        return LotReport.model_validate_json(row.report)
    except ValidationError:
        return None


def _ended(row: TaskRow) -> Ended:
    assert row.report is not None
    return Ended(TaskReport.model_validate_json(row.report), row.outputs)
