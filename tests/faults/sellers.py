"""Workers without containers, as a process that can be killed at any moment: real keys, the real protocol,
and outputs that are made instead of computed.

What an attempt brings is worked out from its order and its task alone, so a process that was killed brings
the same again and keeps nothing on disk. Of eleven orders of a customer one has a mistake of its own and is
refused, and one makes every second worker hang: it never answers for it.

Takes one argument, a JSON file: service, contract, chain_id, rpc, and for each worker the numbers of its
provider's and its own development key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prixfixe.chain.rpc import Rpc
from prixfixe.errors import PrixfixeError
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import refusal_root
from prixfixe.protocol.orders import KIND_BOTH, Ask, Order, Result
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus, lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import Commitment, commitment
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.typed_data import Domain, format_bytes32
from worker.client import ServiceClient

PRODUCT: Final = Product(1000, 512, 256, max_seconds=10)
PRICE: Final = 1_000_000
SLOTS: Final = 4
_ASK_SECONDS: Final = 60
_BEAT_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0  # for a service that is away


def conduct_of(order: Order) -> str:
    """What becomes of an order's attempts: "refuses", "hangs" or "succeeds"."""
    return {0: "refuses", 5: "hangs"}.get(order.nonce % 11, "succeeds")


def output_of(order: bytes, task: int) -> bytes:
    """The only output of a task."""
    return hashlib.sha256(order + task.to_bytes(4, "big")).hexdigest().encode()


@dataclass
class Seller:
    """One worker of a provider."""

    key: LocalSigner
    provider: str
    name: str
    service: ServiceClient
    rpc: Rpc
    domain: Domain

    def __post_init__(self) -> None:
        self.running: set[str] = set()
        self._given_up: set[str] = set()

    def start(self) -> None:
        self._until_it_works(lambda: self.service.sign_in(self.key))
        self._until_it_works(self._register)
        threading.Thread(target=self._beat, daemon=True).start()
        threading.Thread(target=self._take, daemon=True).start()

    def _register(self) -> None:
        resources = {"milli_vcpu": 4000, "memory_mib": 4096, "disk_mib": 4096, "slots": SLOTS}
        self.service.register(
            wire.WorkerRegistration(
                provider=self.provider,
                name=self.name,
                resources=wire.Resources.model_validate(resources),
                version="test",
            )
        )

    def _until_it_works(self, step: Callable[[], Any]) -> None:
        while True:
            try:
                step()
                return
            except PrixfixeError as error:
                print(f"{self.name}: {error.code}: {error}", file=sys.stderr, flush=True)
                time.sleep(0.2)

    def _beat(self) -> None:
        signed_at = 0.0
        while True:
            with contextlib.suppress(PrixfixeError):
                new = time.monotonic() - signed_at > _ASK_SECONDS / 3 or not signed_at
                asks = (self._ask(),) if new else ()
                beat = wire.Heartbeat(asks=asks, running=tuple(self.running))
                answer = self.service.heartbeat(beat)
                if new and not answer.refused:
                    signed_at = time.monotonic()
                self._given_up |= set(answer.stop)
            time.sleep(_BEAT_SECONDS)

    def _ask(self) -> wire.SignedAsk:
        now = int(self.rpc.call("eth_getBlockByNumber", "pending", False)["timestamp"], 16)
        ask = Ask(
            provider=self.provider,
            product=PRODUCT.to_bytes(),
            price=PRICE,
            slots=SLOTS,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self.domain.verifying_contract,
            expiry=now + _ASK_SECONDS,
            era=0,
        )
        return wire.SignedAsk(ask=ask, signature="0x" + sign_typed(self.key, ask, self.domain).hex())

    def _take(self) -> None:
        while True:
            try:
                assignment = self.service.assignment(2.0)
            except PrixfixeError:
                time.sleep(0.2)
                continue
            if assignment is None:
                continue
            if assignment.attempt in self.running:
                time.sleep(0.1)  # it was not started yet in the service's eyes, or is lost to it
                continue
            self.running.add(assignment.attempt)
            threading.Thread(target=self._run, args=(assignment,), daemon=True).start()

    def _run(self, assignment: wire.Assignment) -> None:
        try:
            self.service.start(assignment.attempt, wait=_PATIENCE_SECONDS)
            if conduct_of(assignment.order) == "hangs" and _is_bad_luck(assignment, self.key.address):
                while assignment.attempt not in self._given_up:
                    time.sleep(0.2)
                return
            report = self._report(assignment)
            if report.result.done and len(assignment.deal.legs) > 1 and not self._agrees(assignment, report):
                return
            self._deliver(assignment)
            self.service.report(assignment.attempt, report, wait=_PATIENCE_SECONDS)
        except PrixfixeError as error:
            print(f"{self.name}: {assignment.attempt}: {error.code}: {error}", file=sys.stderr, flush=True)
        finally:
            self.running.discard(assignment.attempt)

    def _report(self, assignment: wire.Assignment) -> LotReport:
        deal = assignment.deal
        if conduct_of(assignment.order) == "refuses":
            tasks = [
                TaskReport(
                    status=TaskStatus.INPUT_REFUSED,
                    exit_code=65,
                    seconds=0.1,
                    outputs=OutputManifest(()),
                    reason=wire.Reason(code="no-column", message="no column 'x'", fault="customer"),
                )
                for _ in assignment.tasks
            ]
            result = Result(deal.id, refusal_root(assignment.due), 0)
        else:
            tasks = [_done(deal.order, task) for task in assignment.tasks]
            result = Result(
                deal.id, lot_root((task.status, task.outputs.digest) for task in tasks), len(tasks)
            )
        signature = "0x" + sign_typed(self.key, result, self.domain).hex()
        return LotReport(tasks=tuple(tasks), result=result, signature=signature, cage={})

    def _agrees(self, assignment: wire.Assignment, report: LotReport) -> bool:
        """Commit, open, hear whether a quorum signed the same: what the daemon does (`worker.replica`)."""
        attempt, deal = assignment.attempt, assignment.deal.id
        salt = hashlib.sha256(f"{self.key.address} {attempt}".encode()).digest()
        hash_ = commitment(report.result.root, salt, self.provider, deal)
        signed = sign_typed(self.key, Commitment(deal, self.provider, hash_), self.domain)
        committed = wire.CommitRequest(hash=format_bytes32(hash_), signature="0x" + signed.hex())
        opened = wire.OpenRequest(result=report.result, salt=format_bytes32(salt), signature=report.signature)
        self.service.commit(attempt, committed, _PATIENCE_SECONDS)
        state = "committing"
        while state in ("committing", "opening") and attempt not in self._given_up:
            found = self.service.round(attempt, state, 2.0, _PATIENCE_SECONDS).state
            if found == "opening" != state:
                self.service.open(attempt, opened, _PATIENCE_SECONDS)
            state = found
        return state == "agreed"

    def _deliver(self, assignment: wire.Assignment) -> None:
        """What every task gives; of a refused order nothing."""
        if conduct_of(assignment.order) != "refuses":
            for task in assignment.tasks:
                content = output_of(assignment.deal.order, task)
                name = hashlib.sha256(content).hexdigest()
                self.service.upload(
                    name, len(content), lambda part, content=content: [content], _PATIENCE_SECONDS
                )


def _done(order: bytes, task: int) -> TaskReport:
    content = output_of(order, task)
    file = OutputFile("out.txt", hashlib.sha256(content).hexdigest(), len(content))
    return TaskReport(status=0, exit_code=0, seconds=0.1, outputs=OutputManifest((file,)), reason=None)


def _is_bad_luck(assignment: wire.Assignment, key: str) -> bool:
    """Half of the attempts, by their ids: a later one comes to its end. Of several replicas one."""
    legs = assignment.deal.legs
    if len(legs) > 1:
        return key == legs[0].key
    return hashlib.sha256(assignment.attempt.encode()).digest()[0] % 2 == 0


def main(settings: dict[str, Any]) -> None:
    """Sell until killed."""
    rpc = Rpc(settings["rpc"])
    domain = Domain(settings["chain_id"], settings["contract"])
    for provider, key in settings["workers"]:
        seller = Seller(
            key=development_signer(key),
            provider=development_signer(provider).address,
            name=f"w{key}",
            service=ServiceClient(settings["service"]),
            rpc=rpc,
            domain=domain,
        )
        threading.Thread(target=seller.start, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
