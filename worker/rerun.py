"""Running a task on a bench, in the same cage as a paid worker: one that was challenged, again, and whatever
else the operator has run."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prixfixe.errors import EngineError, VerificationFailed
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.outputs import OutputManifest, TaskStatus
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import CaseFile, Reason
from worker import outcomes
from worker.checks import as_bought
from worker.client import ServiceClient
from worker.containers import container_name
from worker.daemon import installation
from worker.hands import Hands
from worker.images import ImageStore
from worker.inputs import InputCache
from worker.isolation import runtime_of
from worker.judging import Rerun
from worker.layout import cage_of, lay_out
from worker.outputs import OutputLimits, OutputRefused
from worker.scratch import Disk
from worker.settings import Limits, ScratchKind
from worker.stopping import Stopper


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """data: folder of the bench. runtime: OCI runtime of the engine. scratch: how a task's disk is
    bounded."""

    data: Path
    runtime: str = "runc"
    scratch: ScratchKind = "auto"
    limits: Limits = field(default_factory=Limits)


class CagedRun:
    """How a task ended, and the way to what it left. reason: why, unless it succeeded."""

    def __init__(self, hands: Hands, disk: Disk, status: TaskStatus, reason: Reason | None) -> None:
        self._hands = hands
        self._disk = disk
        self.status = status
        self.reason = reason

    def collect(self, files: int) -> OutputManifest:
        """Its outputs, at most so many files. OutputRefused names the first thing that is not allowed."""
        return self._hands.collect(self._disk.outputs, OutputLimits(files, self._disk.size_mib << 20))

    def read(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of a file that was collected."""
        return self._hands.read(self._disk.outputs, path, offset, length)


class Bench:
    """A place to run tasks: a runner of its own, image and input caches. Safe for several threads."""

    def __init__(
        self,
        settings: BenchSettings,
        hands: Hands,
        runtimes: frozenset[str],
        images: ImageStore,
        inputs: InputCache,
    ) -> None:
        self._settings = settings
        self._hands = hands
        self._runtimes = runtimes
        self._images = images
        self._inputs = inputs
        self._stoppers: set[Stopper] = set()
        self._stopping = threading.Event()

    @staticmethod
    @contextmanager
    def open(settings: BenchSettings, client: ServiceClient) -> Iterator[Bench]:
        """The bench, with what an earlier process left on it taken away. EngineError without an engine."""
        with closing(Hands(settings.data, settings.scratch, connections=4)) as hands:
            runtimes = frozenset(hands.describe().runtimes)
            for container in hands.containers(installation(settings.data)):
                hands.remove(container)
            hands.sweep(set())
            inputs = InputCache(settings.data / "inputs", client.download, settings.limits.input_cache_mib)
            yield Bench(settings, hands, runtimes, ImageStore(hands, inputs), inputs)

    def stop(self) -> None:
        """End what runs now, and whatever is asked for later."""
        self._stopping.set()
        for stopper in tuple(self._stoppers):
            stopper.stop("shutdown")

    def run(self, file: CaseFile, task: int, name: str) -> Rerun:
        """Run task `task` of the job once. name: of the container. EngineError, VerificationFailed when it
        cannot be run here; then nothing is known."""
        definition, offer = as_bought(file.manifest, file.definition, file.purchase)
        tier = file.manifest.bundle.tier if file.manifest.bundle is not None else ""
        limit = next(each.up_to for each in definition.tiers if each.name == tier)
        product = Product.from_bytes(offer.product)
        with self.caged(file.manifest, file.image_archive, product, name, task=task, limit=limit) as ended:
            status, outputs = ended.status, OutputManifest()
            if status is TaskStatus.SUCCEEDED:
                try:
                    outputs = ended.collect(self._settings.limits.output_files)
                except OutputRefused as error:
                    if error.fault == "provider":  # this machine's, which says nothing of the task
                        raise VerificationFailed(error.message) from error
                    status = TaskStatus.OUTPUT_REFUSED
            return Rerun(int(status), outputs.digest)

    @contextmanager
    def caged(
        self,
        manifest: JobManifest,
        archive: str | None,
        product: Product,
        name: str,
        *,
        task: int = 0,
        limit: int | None = None,
    ) -> Iterator[CagedRun]:
        """A task run to its end, whose outputs can be read inside the block. archive: blob of its image.
        limit: units that it may read. EngineError when this machine broke it."""
        folder = self._settings.data / "runs" / name
        self._images.ensure(manifest.image, archive)
        disk = self._hands.take(max(product.disk_mib, 1))
        try:
            lay_out(folder, manifest, self._inputs, index=task, limit_units=limit)
            status, reason = self._run(manifest, task, product, folder, disk, name)
            yield CagedRun(self._hands, disk, status, reason)
        finally:
            with suppress(EngineError):
                self._hands.remove(container_name(name, task))
            with suppress(EngineError):
                self._hands.release(disk.folder)
            shutil.rmtree(folder, ignore_errors=True)
            self._inputs.evict()

    def _run(
        self, manifest: JobManifest, task: int, product: Product, folder: Path, disk: Disk, name: str
    ) -> tuple[TaskStatus, Reason | None]:
        settings = self._settings
        cage = cage_of(
            manifest,
            product,
            folder,
            disk,
            settings.limits,
            task=task,
            attempt=name,
            worker=installation(settings.data),
            runtime=runtime_of(settings.runtime, self._runtimes, manifest),
        )
        stopper = Stopper()
        self._stoppers.add(stopper)
        try:
            if self._stopping.is_set():
                stopper.stop("shutdown")
            run = self._hands.run(
                self._hands.create(cage),
                cage,
                disk,
                settings.limits,
                float(product.max_seconds),
                stopper,
                lambda piece: None,
                again=False,
            )
        finally:
            self._stoppers.discard(stopper)
        status, reason = outcomes.judge(
            run, outcomes.Limits(product.max_seconds, product.memory_mib, disk.size_mib)
        )
        if reason is not None and reason.fault == "provider":
            raise EngineError(f"the run was broken by this machine: {reason.message}", code="run-broken")
        return status, reason
