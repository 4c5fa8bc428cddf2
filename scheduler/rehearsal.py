"""A service and one worker in the process of a test, on a chain in memory: what `prixfixe.testing.Market` is
made of.

Store, API and duties are those of `serve`, the API behind a loopback port. The worker calls the service's use
cases directly, and a function of the test's in the place of a container.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvicorn

from marketplace.chain import MarketReader
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from prixfixe.errors import PrixfixeError
from prixfixe.keys import sign_typed
from prixfixe.protocol import matrix, wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.deals import refusal_root
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BOTH, Ask, Result
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus, lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.wire import Reason
from prixfixe.testing.chain import MemoryChain
from prixfixe.testing.market import OPERATOR, PROVIDER, WORKER, Run, Task, TaskFailed
from scheduler.duty import stop_all
from scheduler.serve import ServeOptions, application, build_duties, describe

_DRAIN_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.02
_BEAT_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 30 * 86_400
_SLOTS: Final = 64
_WRONG: Final = (64, 65)  # exit codes of a program that cannot work with its parameters or data
_ROOM: Final = {"milli_vcpu": 1 << 20, "memory_mib": 1 << 24, "disk_mib": 1 << 24, "slots": _SLOTS}


class Rehearsal:
    """Everything of a market but its customer, running until `close`."""

    def __init__(self, chain: MemoryChain, data: Path, run: Run, ask: Money) -> None:
        self._closing = ExitStack()
        listening = self._closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        self.url = f"http://{host}"
        settings = ServiceSettings(data=data, domain=host)
        data.mkdir(parents=True)
        client, policy = chain.client(), chain.client().policy()
        store = Store.at(data / "prixfixe.db")
        self._closing.callback(store.close)
        store.migrate()
        reader = MarketReader(chain, client.contract)
        described = describe(settings, client, policy, OPERATOR)
        self._services = Services.build(settings, described, store, reader, OPERATOR)
        options = ServeOptions(data=data, rpc=chain.url, key="")
        duties = build_duties(options, self._services, client, reader, OPERATOR, policy, chain.deployment)
        for duty in duties:
            duty.start()
        self._closing.callback(stop_all, duties, _DRAIN_SECONDS)
        config = uvicorn.Config(
            application(self._services, duties), log_config=None, access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="market", daemon=True)
        thread.start()
        worker = _Worker(self._services, chain, run, ask)
        worker.start()

        def stop() -> None:
            worker.stop()
            self._services.close_streams()
            server.should_exit = True
            thread.join(_DRAIN_SECONDS)

        self._closing.callback(stop)

    def publish(self, definition: BundleDefinition, publisher: str, archive: bytes) -> None:
        """Lists a bundle whose offers live on the chain."""
        name = _put(self._services, archive, publisher)
        publication = wire.BundlePublication(definition=definition.to_json(), image_archive=name)
        self._services.bundles.publish(publisher, publication)

    def close(self) -> None:
        self._closing.close()


class _Worker:
    """Asks for every product that is wanted, and runs what it is assigned, one after the other."""

    def __init__(self, services: Services, chain: MemoryChain, run: Run, price: Money) -> None:
        self._services, self._chain, self._run, self._price = services, chain, run, price
        self._domain = chain.client().domain
        self._stopping = threading.Event()
        self._running: tuple[str, ...] = ()
        self._asked: set[Product] = set()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._beat, self._work)]

    def start(self) -> None:
        registration = wire.WorkerRegistration(
            provider=PROVIDER.address,
            name="w1",
            resources=wire.Resources.model_validate(_ROOM),
            version="test",
        )
        self._services.workers.register(WORKER.address, registration)
        self._ask_for_more(self._services.workers.beat(WORKER.address, _heartbeat(())))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_DRAIN_SECONDS)

    def _beat(self) -> None:
        while not self._stopping.wait(_BEAT_SECONDS):
            try:
                self._ask_for_more(self._services.workers.beat(WORKER.address, _heartbeat(self._running)))
            except PrixfixeError:
                continue  # the test made the chain go away

    def _ask_for_more(self, told: wire.HeartbeatAnswer) -> None:
        new = [product for product in told.products if product not in self._asked]
        if new:
            asks = tuple(self._ask(product) for product in new)
            refused = self._services.workers.beat(WORKER.address, _heartbeat(self._running, asks)).refused
            if not refused:
                self._asked |= set(new)

    def _ask(self, product: Product) -> wire.SignedAsk:
        ask = Ask(
            provider=PROVIDER.address,
            product=product.to_bytes(),
            price=self._price.units,
            slots=_SLOTS,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self._domain.verifying_contract,
            expiry=self._chain.time + _ASK_SECONDS,
            era=0,
        )
        return wire.SignedAsk(ask=ask, signature="0x" + sign_typed(WORKER, ask, self._domain).hex())

    def _work(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            try:
                assignment = self._services.assignments.next(WORKER.address)
                if assignment is not None:
                    self._take(assignment)
            except PrixfixeError:
                continue  # the deal is over, or the chain is away

    def _take(self, assignment: wire.Assignment) -> None:
        self._running = (assignment.attempt,)
        try:
            self._services.assignments.start(assignment.attempt, WORKER.address)
            report = self._report(assignment, [self._end(assignment, index) for index in assignment.tasks])
            self._services.assignments.report(assignment.attempt, WORKER.address, report)
        finally:
            self._running = ()

    def _end(self, assignment: wire.Assignment, index: int) -> TaskReport:
        """How one task ends."""
        began = time.monotonic()
        try:
            files = self._run(self._task(assignment, index))
        except TaskFailed as failure:
            refused = failure.exit_code in _WRONG
            status = TaskStatus.INPUT_REFUSED if refused else TaskStatus.EXITED_NON_ZERO
            reason = Reason(code=failure.code, message=str(failure), fault="customer")
            return _ended(status, failure.exit_code, began, OutputManifest(()), reason)
        except Exception as error:
            reason = Reason(code="raised", message=f"{type(error).__name__}: {error}"[:500], fault="customer")
            return _ended(TaskStatus.EXITED_NON_ZERO, 1, began, OutputManifest(()), reason)
        outputs = OutputManifest.of(
            OutputFile(name, _put(self._services, content, WORKER.address), len(content))
            for name, content in files.items()
        )
        return _ended(TaskStatus.SUCCEEDED, 0, began, outputs, None)

    def _task(self, assignment: wire.Assignment, index: int) -> Task:
        manifest = self._of_task(assignment.manifest, index)
        return Task(
            job="0x" + assignment.deal.order.hex(),
            index=index,
            image=manifest.image,
            command=manifest.command,
            environment=manifest.environment,
            parameters=manifest.parameters,
            inputs={each.name: self._blob(each.sha256) for each in manifest.inputs},
        )

    def _of_task(self, manifest: JobManifest, index: int) -> JobManifest:
        if manifest.matrix is None:
            return manifest
        rows = matrix.from_lines(self._blob(manifest.matrix.sha256), manifest.tasks)
        return matrix.for_task(manifest, rows[index])

    def _blob(self, sha256: str) -> bytes:
        return self._services.blobs.open(sha256, WORKER.address).read()

    def _report(self, assignment: wire.Assignment, tasks: list[TaskReport]) -> LotReport:
        deal = assignment.deal
        done = sum(deal.pays_for(task.status) for task in tasks)
        root = lot_root((task.status, task.outputs.digest) for task in tasks)
        result = Result(deal.id, root if done else refusal_root(assignment.due), done)
        signature = "0x" + sign_typed(WORKER, result, self._domain).hex()
        return LotReport(tasks=tuple(tasks), result=result, signature=signature, cage={})


def _ended(
    status: int, exit_code: int, began: float, outputs: OutputManifest, reason: Reason | None
) -> TaskReport:
    seconds = time.monotonic() - began
    return TaskReport(status=status, exit_code=exit_code, seconds=seconds, outputs=outputs, reason=reason)


def _heartbeat(running: tuple[str, ...], asks: tuple[wire.SignedAsk, ...] = ()) -> wire.Heartbeat:
    return wire.Heartbeat(asks=asks, running=running)


def _put(services: Services, content: bytes, owner: str) -> str:
    """A blob of somebody's; its name."""
    name = sha256_hex(content)
    with services.blobs.upload(name, owner, len(content)) as upload:
        upload.write(content)
        upload.finish()
    return name
