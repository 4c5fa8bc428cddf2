"""A market of real processes for the measurements of `scripts/bench scale`: the service as `prixfixe serve`
runs it, customer and workers over HTTP, the chain in a process of its own; no containers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from marketplace.store.database import Store
from marketplace.store.tables import jobs, tasks
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.orders import KIND_BOTH, Ask, Result
from prixfixe.protocol.outputs import OutputManifest, lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.reports import LotReport, TaskReport
from scheduler.accounting import check_money, unfinished
from tests.faults.company import ROOT
from tests.faults.customers import Front
from tests.support.market import LocalMarket
from tests.support.ports import lasting_port
from worker.client import ServiceClient

PRODUCT: Final = Product(1000, 1024, max_seconds=3600)  # no deadline ends on a slow machine
PRICE: Final = 100  # token units a task
SLOTS: Final = 256  # lots that a worker may hold at once
WORKERS: Final = 2
ARCHIVE: Final = b"an image that nobody runs"
PATIENCE: Final = 900.0


class Processes:
    """The service's processes of one market. database: None for a file in the folder."""

    def __init__(self, folder: Path, market: LocalMarket, database: str | None) -> None:
        self.folder = folder
        self.market = market
        manifest = folder / "deployment.json"
        market.deployment.save(manifest)
        port = lasting_port()
        self.url = f"http://127.0.0.1:{port}"
        self._serve = ["-m", "prixfixe", "serve", "--data", str(folder / "data"), "--rpc", market.chain.url]
        self._serve += ["--deployment", str(manifest), "--key", "dev:2", "--heartbeat", str(PATIENCE)]
        self._serve += ["--domain", f"127.0.0.1:{port}", "--port", str(port)]
        if database is not None:
            self._serve += ["--database", database]
        self.database = database or f"sqlite:///{folder / 'data' / 'prixfixe.db'}"
        self._hired = 0

    @contextmanager
    def serving(self, *options: str) -> Iterator[int]:
        """One process more, from when it says that it is ready; its id."""
        self._hired += 1
        path = self.folder / f"service-{self._hired}.log"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *self._serve, "--json", *options]
        with path.open("wb") as log:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        try:
            if not process.stdout.readline():  # it tells where it is, once it is there
                raise RuntimeError(f"the service did not start:\n{path.read_text()[-2000:]}")
            yield process.pid
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


class Runner(threading.Thread):
    """A worker without containers: takes each assignment over HTTP, says that it runs, and reports that every
    task did nothing, signed."""

    def __init__(self, url: str, market: LocalMarket, signer: LocalSigner) -> None:
        super().__init__(daemon=True)
        self._market = market
        self._signer = signer
        self._client = ServiceClient(url)
        self._over = threading.Event()
        self.failure: BaseException | None = None
        self._client.sign_in(signer)
        self._offer()

    def _offer(self) -> None:
        market, provider = self._market, self._market.provider
        market.client.authorise(provider, self._signer.address, market.chain.time + 86_400)
        resources = wire.Resources(milli_vcpu=64_000, memory_mib=2**20, disk_mib=2**20, slots=SLOTS, gpus={})
        self._client.register(
            wire.WorkerRegistration(
                provider=provider.address, name="runner", resources=resources, version="0"
            )
        )
        ask = Ask(
            provider=provider.address,
            product=PRODUCT.to_bytes(),
            price=PRICE,
            slots=1,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=market.client.contract,
            expiry=market.chain.time + 86_000,
            era=0,
        )
        signature = "0x" + sign_typed(self._signer, ask, market.client.domain).hex()
        beat = wire.Heartbeat(asks=(wire.SignedAsk(ask=ask, signature=signature),), running=())
        answer = self._client.heartbeat(beat)
        if answer.refused:
            raise RuntimeError(f"the ask was refused: {answer}")

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._client.close()

    def run(self) -> None:
        try:
            while not self._over.is_set():
                given = self._client.assignment(1.0)
                if given is not None:
                    self._client.start(given.attempt, wait=PATIENCE)
                    self._client.report(given.attempt, self._report(given), wait=PATIENCE)
        except BaseException as error:
            self.failure = error

    def _report(self, given: wire.Assignment) -> LotReport:
        told = tuple(
            TaskReport(status=0, exit_code=0, seconds=0.0, outputs=OutputManifest(())) for _ in given.tasks
        )
        root = lot_root((task.status, task.outputs.digest) for task in told)
        result = Result(given.deal.id, root, len(told))
        signature = sign_typed(self._signer, result, self._market.client.domain)
        return LotReport(tasks=told, result=result, signature="0x" + signature.hex(), cage={})


class Customer:
    """Orders over HTTP and looks at the tables until all are paid."""

    def __init__(self, processes: Processes) -> None:
        self.market = processes.market
        self._front = Front([processes.url])
        self._store = Store(processes.database)
        self._nonce = 0
        self._placed = 0  # tasks
        session = self._front.sign_in(self.market.customer)
        name = sha256_hex(ARCHIVE)
        self._front.call("PUT", f"/v1/blobs/{name}", content=ARCHIVE, headers=session)

    def close(self) -> None:
        self._front.close()
        self._store.close()

    def order(self, orders: int, tasks_each: int, lot: int) -> None:
        """So many orders, each signed and sent alone."""
        wish = {
            "customer": self.market.customer.address,
            "kind": "flat",
            "product": "0x" + PRODUCT.to_bytes().hex(),
            "image": f"sha256:{'1' * 64}",
            "image_archive": sha256_hex(ARCHIVE),
            "command": ["true"],
            "tasks": tasks_each,
            "lot": lot,
            "wait_seconds": 3600,
        }
        answer = self._front.call("POST", "/v1/quotes", json=wish)
        quote = wire.BidQuote.model_validate(answer.raise_for_status().json())
        for _ in range(orders):
            self._nonce += 1
            order = order_of(quote, self.market.client.contract, expiry=quote.order_expiry, nonce=self._nonce)
            signature = "0x" + sign_typed(self.market.customer, order, self.market.client.domain).hex()
            body = {"quote": quote.id, "order": order.to_json(), "signature": signature}
            self._front.call("POST", "/v1/jobs", json=body).raise_for_status()
            self._placed += tasks_each

    def wait(self, runners: list[Runner]) -> None:
        """Until every order is settled on the chain and read back."""
        deadline = time.monotonic() + PATIENCE
        query = select(func.count()).where(jobs.c.state.in_(("queued", "running")))
        while True:
            with self._store.read() as connection:
                left = connection.execute(query).scalar_one()
            if not left:
                return
            if failed := next((each.failure for each in runners if each.failure), None):
                raise failed
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} orders are not settled after {PATIENCE:.0f} s")
            time.sleep(0.1)

    def require_whole(self) -> None:
        """RuntimeError unless each task that was ordered succeeded and was paid, once, and chain, ledger and
        tables agree."""
        with self._store.read() as connection:
            counted = connection.execute(select(tasks.c.state, func.count()).group_by(tasks.c.state))
            found = {row[0]: row[1] for row in counted}
        if found != {"succeeded": self._placed} or (left := unfinished(self._store)):
            raise RuntimeError(f"of {self._placed} tasks there are {found}; not at an end: {left}")
        check_money(self.market.client, self.market.deployment, self._store)


@contextmanager
def at_work(processes: Processes) -> Iterator[tuple[Customer, list[Runner]]]:
    """A customer and the workers of a service that runs."""
    customer = Customer(processes)
    runners = [
        Runner(processes.url, processes.market, development_signer(10 + number)) for number in range(WORKERS)
    ]
    for each in runners:
        each.start()
    try:
        yield customer, runners
    finally:
        for each in runners:
            each.stop()
        customer.close()
