"""A worker's work with a function in the place of a container: from an assignment to a signed report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from prixfixe.keys import LocalSigner, sign_typed
from prixfixe.protocol import matrix
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import refusal_root
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BOTH, Ask, Result
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus, lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.typed_data import Domain
from prixfixe.protocol.wire import Assignment, Reason, SignedAsk

_WRONG = (64, 65)  # exit codes of a program that cannot work with its parameters or data


@dataclass(frozen=True, slots=True)
class Task:
    """What a container would have been started with. inputs: by name. index: in its job."""

    job: str
    index: int
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    parameters: Mapping[str, Any]
    inputs: Mapping[str, bytes]


class TaskFailed(Exception):
    """Raised by a test's function: the task ends with this exit code, as a program's does. 64 and 65 say that
    parameters or data are wrong: the order is refused and its money goes back."""

    def __init__(self, message: str, *, exit_code: int = 1, code: str = "failed") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code


class CouldNotStart(Exception):
    """The machine's fault, or nobody's: the task never ran."""


Run: TypeAlias = Callable[[Task], Mapping[str, bytes]]


def echo(task: Task) -> Mapping[str, bytes]:
    """Gives back the inputs."""
    return task.inputs


@dataclass(frozen=True, slots=True)
class Worked:
    """What came of an assignment. files: the outputs, by their SHA-256."""

    report: LotReport
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Hand:
    """A worker's key, and what it does with it. provider: for whom it sells."""

    signer: LocalSigner
    provider: str
    domain: Domain

    def ask(self, product: Product, price: Money, slots: int, expiry: int) -> SignedAsk:
        """What it asks for a task. expiry: the chain's time, seconds."""
        ask = Ask(
            provider=self.provider,
            product=product.to_bytes(),
            price=price.units,
            slots=slots,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self.domain.verifying_contract,
            expiry=expiry,
            era=0,
        )
        return SignedAsk(ask=ask, signature=self._signature(ask))

    def work(self, assignment: Assignment, run: Run, fetch: Callable[[str], bytes]) -> Worked:
        """Every task of it. fetch: a file that the worker may read, by its SHA-256."""
        files: dict[str, bytes] = {}
        tasks = [self._end(assignment, index, run, fetch, files) for index in assignment.tasks]
        return Worked(self.report(assignment, tasks), files)

    def report(self, assignment: Assignment, tasks: list[TaskReport]) -> LotReport:
        """The report of these tasks, signed."""
        deal = assignment.deal
        done = sum(deal.pays_for(task.status) for task in tasks)
        root = lot_root((task.status, task.outputs.digest) for task in tasks)
        result = Result(deal.id, root if done else refusal_root(assignment.due), done)
        return LotReport(tasks=tuple(tasks), result=result, signature=self._signature(result), cage={})

    def _signature(self, struct: Ask | Result) -> str:
        return "0x" + sign_typed(self.signer, struct, self.domain).hex()

    @staticmethod
    def _end(
        assignment: Assignment,
        index: int,
        run: Run,
        fetch: Callable[[str], bytes],
        files: dict[str, bytes],
    ) -> TaskReport:
        """How one task ends."""
        task, began = _task(assignment, index, fetch), time.monotonic()
        try:
            given = run(task)
        except TaskFailed as failure:
            refused = failure.exit_code in _WRONG
            status = TaskStatus.INPUT_REFUSED if refused else TaskStatus.EXITED_NON_ZERO
            reason = Reason(code=failure.code, message=str(failure), fault="customer")
            return _ended(status, failure.exit_code, began, OutputManifest(()), reason)
        except CouldNotStart as failure:
            reason = Reason(code="could-not-start", message=str(failure), fault="provider")
            return _ended(TaskStatus.COULD_NOT_START, None, began, OutputManifest(()), reason)
        except Exception as error:
            reason = Reason(code="raised", message=f"{type(error).__name__}: {error}"[:500], fault="customer")
            return _ended(TaskStatus.EXITED_NON_ZERO, 1, began, OutputManifest(()), reason)
        names = {name: sha256_hex(content) for name, content in given.items()}
        files |= {names[name]: content for name, content in given.items()}
        outputs = OutputManifest.of(
            OutputFile(name, names[name], len(content)) for name, content in given.items()
        )
        return _ended(TaskStatus.SUCCEEDED, 0, began, outputs, None)


def _task(assignment: Assignment, index: int, fetch: Callable[[str], bytes]) -> Task:
    manifest = _of_task(assignment.manifest, index, fetch)
    return Task(
        job="0x" + assignment.deal.order.hex(),
        index=index,
        image=manifest.image,
        command=manifest.command,
        environment=manifest.environment,
        parameters=manifest.parameters,
        inputs={each.name: fetch(each.sha256) for each in manifest.inputs},
    )


def _of_task(manifest: JobManifest, index: int, fetch: Callable[[str], bytes]) -> JobManifest:
    if manifest.matrix is None:
        return manifest
    rows = matrix.from_lines(fetch(manifest.matrix.sha256), manifest.tasks)
    return matrix.for_task(manifest, rows[index])


def _ended(
    status: int, exit_code: int | None, began: float, outputs: OutputManifest, reason: Reason | None
) -> TaskReport:
    seconds = time.monotonic() - began
    return TaskReport(status=status, exit_code=exit_code, seconds=seconds, outputs=outputs, reason=reason)
