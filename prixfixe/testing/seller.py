"""A worker that does what its caller says and no more: it beats, takes what it is assigned, and goes on with
one thing by one step at a time; what it does is what `prixfixe worker` does at that step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

from prixfixe.errors import Conflict, PrixfixeError
from prixfixe.keys import LocalSigner, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import Commitment, commitment
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.testing.company import Process
from prixfixe.testing.work import CouldNotStart, Hand, Run, Task, TaskFailed, Worked

Conduct: TypeAlias = Literal["well", "otherwise", "refuses", "breaks", "silent"]
"""How a worker goes on. well: it runs tasks as the test's function does. otherwise: what it brings is not
what its replicas bring. refuses: the inputs are wrong, it says. breaks: its machine cannot run them. silent:
it does nothing, and is not heard of."""
CONDUCTS: Final[tuple[Conduct, ...]] = get_args(Conduct)

_ASK_SECONDS: Final = 300
_ROOM: Final = {"milli_vcpu": 1 << 20, "memory_mib": 1 << 24, "disk_mib": 1 << 24}


@dataclass(slots=True)
class _Begun:
    """What it has in hand. worked: once its tasks have run."""

    assignment: wire.Assignment
    worked: Worked | None = None
    committed: bool = False
    opened: bool = False


class Seller:
    """One worker of a provider of its own. running: the attempts that it has in hand, oldest first."""

    def __init__(self, name: str, signer: LocalSigner, provider: str, domain: Domain, slots: int) -> None:
        self.name, self.key, self.provider, self._slots = name, signer.address, provider, slots
        self._hand = Hand(signer, provider, domain)
        self.running: dict[str, _Begun] = {}
        # What is on its disk, and outlives it: an attempt never has two results.
        self._journal: dict[str, Worked] = {}

    def register(self, at: Process) -> None:
        resources = wire.Resources.model_validate({**_ROOM, "slots": self._slots})
        registration = wire.WorkerRegistration(
            provider=self.provider, name=self.name, resources=resources, version="test"
        )
        at.register(self.key, registration)

    def beat(self, at: Process, price: Money, products: tuple[Product, ...], now: int) -> None:
        """A heartbeat with what it asks for a task of each product. now: the chain's time."""
        expiry = (
            now // _ASK_SECONDS + 2
        ) * _ASK_SECONDS  # the same ask again, until it is time for a new one
        asks = tuple(self._hand.ask(product, price, self._slots, expiry) for product in products)
        answer = at.beat(self.key, wire.Heartbeat(asks=asks, running=tuple(self.running)))
        for attempt in answer.stop:
            self.running.pop(attempt, None)

    def take(self, at: Process) -> None:
        """Starts what it is assigned, while it has slots; what its customer took back is refused."""
        for assignment in at.assigned(self.key):
            attempt = assignment.attempt
            if attempt in self.running or len(self.running) >= self._slots:
                continue
            begun = self.running[attempt] = _Begun(assignment, self._journal.get(attempt))
            try:
                at.start(attempt, self.key)
            except Conflict as error:
                if error.code == "job-cancelled" and begun.worked is None:
                    begun.worked = self._work(at, begun, _refuses)
                elif begun.worked is None:
                    del self.running[attempt]

    def go_on(self, at: Process, run: Run, conduct: Conduct = "well") -> bool:
        """One step with each thing in hand, the oldest first, until one of them gets further; whether one
        did. Unavailable when the service is away: it is tried again with the next step."""
        if conduct == "silent":
            return False
        does = _RUNS[conduct](run, self.name)
        return any(self._step(at, begun, does) for begun in [*self.running.values()])

    def die(self) -> None:
        """What it had in hand is lost to it, but for its journal."""
        self.running.clear()

    def _step(self, at: Process, begun: _Begun, run: Run) -> bool:
        attempt = begun.assignment.attempt
        try:
            if begun.worked is None:
                begun.worked = self._work(at, begun, run)
            if begun.worked.report.result.done and len(begun.assignment.deal.legs) > 1:
                return self._agree(at, begun, begun.worked)
            return self._deliver(at, begun, begun.worked)
        except PrixfixeError as error:
            if error.retryable:
                raise
            self.running.pop(attempt, None)  # the deal is over, or went on without it
            return True

    def _work(self, at: Process, begun: _Begun, run: Run) -> Worked:
        worked = self._hand.work(begun.assignment, run, lambda name: at.get(name, self.key))
        if worked.report.result.done:  # a refusal is signed anew when it is asked for
            self._journal[begun.assignment.attempt] = worked
        return worked

    def _agree(self, at: Process, begun: _Begun, worked: Worked) -> bool:
        """Commits, then opens, then delivers with a quorum; False while it has to wait for the others."""
        assignment, report = begun.assignment, worked.report
        attempt, deal = assignment.attempt, assignment.deal.id
        salt = hashlib.sha256(f"{self.key} {attempt}".encode()).digest()
        if not begun.committed:
            hash_ = commitment(report.result.root, salt, self.provider, deal)
            signed = sign_typed(self._hand.signer, Commitment(deal, self.provider, hash_), self._hand.domain)
            request = wire.CommitRequest(hash=format_bytes32(hash_), signature="0x" + signed.hex())
            at.commit(attempt, self.key, request)
            begun.committed = True
            return True
        state = at.round(attempt, self.key).state
        if state == "opening" and not begun.opened:
            opened = wire.OpenRequest(
                result=report.result, salt=format_bytes32(salt), signature=report.signature
            )
            at.open(attempt, self.key, opened)
            begun.opened = True
            return True
        if state == "agreed":
            return self._deliver(at, begun, worked)
        if state not in ("committing", "opening"):
            del self.running[attempt]
            return True
        return False

    def _deliver(self, at: Process, begun: _Begun, worked: Worked) -> bool:
        attempt = begun.assignment.attempt
        for content in worked.files.values():
            at.put(content, self.key)
        try:
            at.report(attempt, self.key, worked.report)
        except Conflict as error:
            if error.code != "due-changed":
                raise
            # A refusal names the deal's due, which was brought forward.
            begun.assignment = begun.assignment.model_copy(update={"due": error.values["due"]})
            again = self._hand.report(begun.assignment, list(worked.report.tasks))
            begun.worked = replace(worked, report=again)
            return True
        del self.running[attempt]
        return True


def _otherwise(run: Run, name: str) -> Run:
    def other(task: Task) -> Mapping[str, bytes]:
        return {**run(task), "more.txt": name.encode()}

    return other


def _refuses(task: Task) -> Mapping[str, bytes]:
    raise TaskFailed("it cannot work with that", exit_code=65, code="refused")


def _breaks(task: Task) -> Mapping[str, bytes]:
    raise CouldNotStart("the machine has too little memory")


_RUNS: Final[Mapping[str, Callable[[Run, str], Run]]] = {
    "well": lambda run, name: run,
    "otherwise": _otherwise,
    "refuses": lambda run, name: _refuses,
    "breaks": lambda run, name: _breaks,
}
