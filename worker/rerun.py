"""Running a challenged task again, in the same cage as the worker that was paid for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prixfixe.errors import EngineError, VerificationFailed
from prixfixe.protocol.outputs import OutputManifest, TaskStatus
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import CaseFile
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


class Bench:
    """A place to run challenged tasks: a runner of its own, image and input caches."""

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
        self._stopper: Stopper | None = None

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
        """End what runs now."""
        if self._stopper is not None:
            self._stopper.stop("shutdown")

    def run(self, file: CaseFile, task: int, name: str) -> Rerun:
        """Run task `task` of the job once. name: of the container. EngineError, VerificationFailed when it
        cannot be run here; then nothing is known."""
        definition, offer = as_bought(file.manifest, file.definition, file.purchase)
        product = Product.from_bytes(offer.product)
        tier = file.manifest.bundle.tier if file.manifest.bundle is not None else ""
        folder = self._settings.data / "runs" / name
        self._images.ensure(file.manifest.image, file.image_archive)
        limit = next(each.up_to for each in definition.tiers if each.name == tier)
        disk = self._hands.take(max(product.disk_mib, 1))
        try:
            lay_out(folder, file.manifest, self._inputs, index=task, limit_units=limit)
            return self._run(file, task, product, folder, disk, name)
        finally:
            with suppress(EngineError):
                self._hands.remove(container_name(name, task))
            with suppress(EngineError):
                self._hands.release(disk.folder)
            shutil.rmtree(folder, ignore_errors=True)
            self._inputs.evict()

    def _run(self, file: CaseFile, task: int, product: Product, folder: Path, disk: Disk, name: str) -> Rerun:
        settings = self._settings
        cage = cage_of(
            file.manifest,
            product,
            folder,
            disk,
            settings.limits,
            task=task,
            attempt=name,
            worker=installation(settings.data),
            runtime=runtime_of(settings.runtime, self._runtimes, file.manifest),
        )
        self._stopper = Stopper()
        run = self._hands.run(
            self._hands.create(cage),
            cage,
            disk,
            settings.limits,
            float(product.max_seconds),
            self._stopper,
            lambda piece: None,
            again=False,
        )
        status, reason = outcomes.judge(
            run, outcomes.Limits(product.max_seconds, product.memory_mib, disk.size_mib)
        )
        if reason is not None and reason.fault == "provider":
            raise EngineError(f"the run was broken by this machine: {reason.message}", code="run-broken")
        outputs = OutputManifest()
        if status is TaskStatus.SUCCEEDED:
            try:
                limits = OutputLimits(settings.limits.output_files, disk.size_mib << 20)
                outputs = self._hands.collect(disk.outputs, limits)
            except OutputRefused as error:
                if error.fault == "provider":  # this machine's, which says nothing of the task
                    raise VerificationFailed(error.message) from error
                status = TaskStatus.OUTPUT_REFUSED
        return Rerun(int(status), outputs.digest)
