"""An inspector: a machine of the operator's that looks at files which people send from a page.

A file is a stranger's and may be made to break its reader, so it is read in the cage that workers use,
without a network, by the table kit in a bundle's own image. What comes out is checked for its form and size
and nothing else: it is shown to who sent the file.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from pydantic import Field, ValidationError

from prixfixe.errors import NotFound, PrixfixeError, VerificationFailed
from prixfixe.keys import Signer
from prixfixe.protocol.fields import Message
from prixfixe.protocol.inspections import (
    COMMAND,
    InspectionAnswer,
    InspectionTask,
    Made,
    Seen,
)
from prixfixe.protocol.manifest import InputFile, JobManifest
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import Reason
from prixfixe.tables.looked import FOUND, MAX_FOUND_BYTES, TABLE
from worker.client import ServiceClient, Stopped
from worker.daemon import only_one
from worker.operating import LateBench, operate
from worker.outputs import OutputRefused
from worker.rerun import Bench, BenchSettings
from worker.voice import Emit

log = logging.getLogger("prixfixe.worker")

_POLL_SECONDS: Final = 25.0
_PAUSE_SECONDS: Final = 2.0
_UPLOAD_SECONDS: Final = 300.0
_LEFT_FILES: Final = 2
_LEAVE_SECONDS: Final = 3.0


class _Told(Message):
    """What the cage says of a step that makes."""

    units: Annotated[int, Field(ge=0, lt=2**53)]
    converted: bool


class Left(Protocol):
    """What an inspector needs of `worker.rerun.CagedRun`."""

    @property
    def status(self) -> TaskStatus: ...

    @property
    def reason(self) -> Reason | None: ...

    def collect(self, files: int) -> OutputManifest: ...

    def read(self, path: str, offset: int, length: int) -> Iterator[bytes]: ...


class Cages(Protocol):
    """What an inspector needs of `worker.rerun.Bench`."""

    def caged(
        self, manifest: JobManifest, archive: str | None, product: Product, name: str
    ) -> AbstractContextManager[Left]: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class InspectorSettings:
    """bench: where files are read. slots: files at once."""

    bench: BenchSettings
    slots: int = 1


class Inspector:
    """Looks at files until it is told to stop."""

    def __init__(
        self,
        settings: InspectorSettings,
        client: ServiceClient,
        signer: Signer,
        emit: Emit = lambda event, facts: None,
        open_bench: Callable[[], AbstractContextManager[Cages]] | None = None,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """open_bench: where files are read; by default on this machine's engine. poll_seconds: of one look
        for the next."""
        self._poll_seconds = poll_seconds
        self._settings = settings
        self._client = client
        self._signer = signer
        self._emit = emit
        self._stopping = threading.Event()
        self._bench = LateBench[Cages](open_bench or (lambda: Bench.open(settings.bench, client)))

    def stop(self) -> None:
        """End soon; what is being looked at is given to another."""
        self._stopping.set()
        self._bench.stop()

    def run(self) -> None:
        """Until stopped."""
        data = self._settings.bench.data
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(data), self._bench:
            self._sign_in()
            if not self._stopping.is_set():
                self._emit("ready", {"inspector": self._signer.address, "slots": self._settings.slots})
            hands = [
                threading.Thread(target=self._work, name=f"inspector-{number}", daemon=True)
                for number in range(self._settings.slots)
            ]
            for each in hands:
                each.start()
            self._stopping.wait()
            for each in hands:  # whoever only waits at the service for work is left there
                each.join(_LEAVE_SECONDS)

    def look(self, task: InspectionTask) -> InspectionAnswer:
        """What is found in the cage, or why nothing is."""
        try:
            return self._in_cage(task)
        except (PrixfixeError, ValidationError) as error:
            if self._stopping.is_set():
                raise Stopped("the inspector is stopping") from error
            log.warning("inspection %s failed: %s", task.id, error)
            return InspectionAnswer(number=task.number, reason=_broken(error))

    def _sign_in(self) -> None:
        while not self._stopping.is_set():
            try:
                self._client.sign_in(self._signer)
                return
            except PrixfixeError as error:
                if not error.retryable:
                    raise
                log.warning("waiting: %s", error)
                self._stopping.wait(_PAUSE_SECONDS)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                task = self._client.inspection(self._poll_seconds)
                if task is None:
                    continue
                answer = self.look(task)
                self._client.answer_inspection(task.id, answer, wait=_UPLOAD_SECONDS)
                how = "failed" if answer.reason is not None else "done"
                self._emit("looked", {"inspection": task.id, "step": task.step, "how": how})
            except Stopped:
                return
            except PrixfixeError as error:
                log.warning("not now: %s", error)
                self._stopping.wait(_PAUSE_SECONDS)
            except Exception:
                log.exception("looking at a file failed")
                self._stopping.wait(_PAUSE_SECONDS)

    def _in_cage(self, task: InspectionTask) -> InspectionAnswer:
        manifest = JobManifest(
            image=task.image,
            command=COMMAND,
            parameters={"step": task.step, "preflight": task.preflight, "parameters": task.parameters},
            inputs=(task.file,),
            determinism="none",
        )
        # A container's name is there once: of a try that was lost another machine may have one yet.
        name = secrets.token_hex(16)
        with self._bench.get().caged(manifest, task.image_archive, task.product, name) as ended:
            if ended.status is not TaskStatus.SUCCEEDED:
                return InspectionAnswer(number=task.number, reason=ended.reason)
            try:
                files = {file.path: file for file in ended.collect(_LEFT_FILES).files}
            except OutputRefused as error:
                raise VerificationFailed(error.message) from error
            found = _found(ended, files)
            if task.step == "look":
                return InspectionAnswer(number=task.number, seen=Seen.model_validate_json(found))
            return InspectionAnswer(number=task.number, made=self._made(task, ended, files, found))

    def _made(self, task: InspectionTask, ended: Left, files: dict[str, OutputFile], found: bytes) -> Made:
        told = _Told.model_validate_json(found)
        if not told.converted:
            return Made(file=task.file, units=told.units)
        table = files.get(TABLE)
        if table is None:
            raise NotFound("the table that was made is missing")
        self._client.upload(
            table.sha256,
            table.size,
            lambda part: ended.read(TABLE, part.offset, part.length),
            wait=_UPLOAD_SECONDS,
        )
        stem = task.file.name.rpartition(".")[0] or task.file.name
        file = InputFile(name=f"{stem[:120]}.parquet", sha256=table.sha256, size=table.size)
        return Made(file=file, units=told.units)


def _found(ended: Left, files: dict[str, OutputFile]) -> bytes:
    file = files.get(FOUND)
    if file is None or file.size > MAX_FOUND_BYTES:
        raise VerificationFailed("what was found in the file is missing, or longer than it may be")
    return b"".join(ended.read(FOUND, 0, file.size))


def _broken(error: Exception) -> Reason:
    told = error.message if isinstance(error, PrixfixeError) else "what came out of it has no form"
    return Reason(
        code="not-looked-at",
        message=f"the file could not be looked at: {told}"[:1000],
        hint="nothing was charged; try again, or use the command prixfixe run",
        fault="platform",
    )


def serve(
    settings: InspectorSettings,
    service: str,
    signer_for: Callable[[int], Signer],
    emit: Emit,
    handle: Callable[[Callable[[], None]], None],
) -> None:
    """Run an inspector for a service. signer_for: the key for a chain. handle: is given what stops it, before
    it begins."""
    operate(
        service,
        handle,
        lambda client, market: nullcontext(Inspector(settings, client, signer_for(market.chain_id), emit)),
    )
