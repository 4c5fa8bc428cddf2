"""A service and one worker in the process of a test, on a chain in memory: what `prixfixe.testing.Market` is
made of.

Store, API and duties are those of `serve`, the API behind a loopback port. The worker calls the service's use
cases directly, and a function of the test's in the place of a container.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvicorn

from marketplace.chain import MarketReader
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from prixfixe.errors import PrixfixeError
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.testing.chain import MemoryChain
from prixfixe.testing.market import OPERATOR, PROVIDER, WORKER
from prixfixe.testing.work import Hand, Run
from scheduler.duty import stop_all
from scheduler.serve import ServeOptions, application, build_duties, describe

_DRAIN_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.02
_BEAT_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 30 * 86_400
_SLOTS: Final = 64
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
        name = put_file(self._services, archive, publisher)
        publication = wire.BundlePublication(definition=definition.to_json(), image_archive=name)
        self._services.bundles.publish(publisher, publication)

    def close(self) -> None:
        self._closing.close()


class _Worker:
    """Asks for every product that is wanted, and runs what it is assigned, one after the other."""

    def __init__(self, services: Services, chain: MemoryChain, run: Run, price: Money) -> None:
        self._services, self._chain, self._run, self._price = services, chain, run, price
        self._hand = Hand(WORKER, PROVIDER.address, chain.client().domain)
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
            until = self._chain.time + _ASK_SECONDS
            asks = tuple(self._hand.ask(product, self._price, _SLOTS, until) for product in new)
            refused = self._services.workers.beat(WORKER.address, _heartbeat(self._running, asks)).refused
            if not refused:
                self._asked |= set(new)

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
            worked = self._hand.work(assignment, self._run, self._blob)
            for content in worked.files.values():
                put_file(self._services, content, WORKER.address)
            self._services.assignments.report(assignment.attempt, WORKER.address, worked.report)
        finally:
            self._running = ()

    def _blob(self, sha256: str) -> bytes:
        return self._services.blobs.open(sha256, WORKER.address).read()


def _heartbeat(running: tuple[str, ...], asks: tuple[wire.SignedAsk, ...] = ()) -> wire.Heartbeat:
    return wire.Heartbeat(asks=asks, running=running)


def put_file(services: Services, content: bytes, owner: str) -> str:
    """A blob of somebody's; its name."""
    name = sha256_hex(content)
    with services.blobs.upload(name, owner, len(content)) as upload:
        upload.write(content)
        upload.finish()
    return name
