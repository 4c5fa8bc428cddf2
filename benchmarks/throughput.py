"""No-op tasks from order to paid on the chain, with an in-process runner: the service's real code on a real
chain and no container. The service is two processes on one SQLite file: the API's, which is this one, and
`prixfixe serve --no-api`.

One order of 10,000 tasks in lots of 100 beside Celery's `chunks(100)` on Redis, and 1,000 orders of one task
beside Celery's `delay`, in turns; Celery moves neither money nor proofs. Here every order is signed by its
customer and checked, every lot is matched with a signed ask, opened by the contract, given to a worker,
reported with a signed result over the digest of each task, settled by the contract and read back. Orders,
assignments and reports are calls of the service's use cases, not HTTP requests (`bench orders` measures
those); orders are signed before the time begins, results while it runs. Beside both what Docker does alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from marketplace.chain import MarketReader
from marketplace.placing import Placing
from marketplace.services import Services
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from marketplace.store.tables import jobs
from marketplace.store.tables import tasks as tasks_table
from prixfixe.devnet.anvil import running_anvil
from prixfixe.errors import PrixfixeError
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.orders import KIND_BOTH, Ask, Result
from prixfixe.protocol.outputs import OutputManifest, lot_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.reports import LotReport, TaskReport
from prixfixe.protocol.typed_data import Domain
from scheduler import heap, serve
from tests.support.market import LocalMarket, deploy_local_market

GOAL: Final = 0.5
LOT: Final = 100
SLOTS: Final = 256  # lots that a worker may hold at once
AT_ONCE: Final = 100  # orders of a request, and assignments, starts and reports of a call
PRODUCT: Final = Product(1000, 1024, max_seconds=3600)  # no deadline ends on a slow machine
PRICE: Final = 100  # token units a task
ARCHIVE: Final = b"an image that nobody runs"
PATIENCE: Final = 900.0
_LOOK_SECONDS: Final = 0.02
DOCKER_RUNS: Final = 20
ROOT: Final = Path(__file__).resolve().parents[1]
CELERY: Final = ROOT / ".venv-celery" / "bin" / "python"


class Runner(threading.Thread):
    """A worker without containers: takes each assignment, says that it runs, and reports that every task did
    nothing, signed."""

    def __init__(self, services: Services, signer: LocalSigner, domain: Domain) -> None:
        super().__init__(daemon=True)
        self._domain = domain
        self._services = services
        self._signer = signer
        self._over = threading.Event()
        self.failure: BaseException | None = None

    def stop(self) -> None:
        self._over.set()
        self._services.store.wake(f"worker:{self._signer.address}")
        self.join()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error

    def _work(self) -> None:
        key, store, assignments = self._signer.address, self._services.store, self._services.assignments
        topic = f"worker:{key}"
        while not self._over.is_set():
            mark = store.sequence({topic})
            given = assignments.next_each(key, AT_ONCE)
            if not given:
                store.wait({topic}, 1.0, mark)
                continue
            refused = assignments.start_each([each.attempt for each in given], key)
            assert not refused, refused
            answers = assignments.report_each({each.attempt: self._report(each) for each in given}, key)
            for answer in answers.values():
                assert isinstance(answer, wire.ReportAnswer), answer
                assert answer.accepted, answer

    def _report(self, given: wire.Assignment) -> LotReport:
        told = tuple(
            TaskReport(status=0, exit_code=0, seconds=0.0, outputs=OutputManifest(())) for _ in given.tasks
        )
        root = lot_root((task.status, task.outputs.digest) for task in told)
        result = Result(given.deal.id, root, len(told))
        signature = sign_typed(self._signer, result, self._domain)
        return LotReport(tasks=told, result=result, signature="0x" + signature.hex(), cage={})


class Alone:
    """A service on a market of its own. Its workers, and what a process with the API does, are in this
    process; its duties in another, as `prixfixe serve --no-api` runs them."""

    def __init__(self, folder: Path, market: LocalMarket, workers: int) -> None:
        self.market = market
        client = market.client
        settings = ServiceSettings(
            data=folder, domain="127.0.0.1:8600", heartbeat_seconds=PATIENCE, max_open_bids=10**6
        )
        self.store = Store(settings.database_url, shared=True)
        self.store.migrate()
        reader = MarketReader(client.rpc, client.contract)
        policy = market.deployment.policy
        described = serve.describe(settings, client, policy, market.scheduler)
        self.services = Services.build(settings, described, self.store, reader, market.scheduler)
        self.runners = [self._worker(development_signer(10 + number)) for number in range(workers)]
        self.nonce = 0

    def _worker(self, signer: LocalSigner) -> Runner:
        market, provider = self.market, self.market.provider
        market.client.authorise(provider, signer.address, market.chain.time + 86_400)
        resources = wire.Resources(milli_vcpu=64_000, memory_mib=2**20, disk_mib=2**20, slots=SLOTS, gpus={})
        registration = wire.WorkerRegistration(
            provider=provider.address, name="runner", resources=resources, version="0"
        )
        self.services.workers.register(signer.address, registration)
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
        signed = wire.SignedAsk(ask=ask, signature="0x" + sign_typed(signer, ask, market.client.domain).hex())
        answer = self.services.workers.beat(signer.address, wire.Heartbeat(asks=(signed,), running=()))
        assert not answer.refused, answer
        return Runner(self.services, signer, market.client.domain)

    @contextmanager
    def running(self) -> Iterator[None]:
        with heap.settled(), self._duties():  # as `serve` does
            for runner in self.runners:
                runner.start()
            try:
                yield
            finally:
                for runner in self.runners:
                    runner.stop()
                self.store.close()

    @contextmanager
    def _duties(self) -> Iterator[None]:
        data = self.services.settings.data
        manifest = data / "deployment.json"
        self.market.deployment.save(manifest)
        command = [
            sys.executable,
            "-m",
            "prixfixe",
            "serve",
            "--no-api",
            "--data",
            str(data),
            "--key",
            "dev:2",
        ]
        command += [
            "--rpc",
            self.market.chain.url,
            "--deployment",
            str(manifest),
            "--heartbeat",
            str(PATIENCE),
        ]
        with subprocess.Popen(
            [*command, "--log-level", "warning", "--json"], stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():  # it tells where it is, once it is there
                    raise RuntimeError("the duties did not start")
                yield
            finally:
                process.terminate()

    def orders(self, count: int, tasks: int, lot: int) -> list[Placing]:
        """Signed orders of the customer, as its client would send them."""
        customer = self.market.customer
        request = wire.BidQuoteRequest(
            customer=customer.address,
            kind="flat",
            product=PRODUCT,
            image=f"sha256:{'1' * 64}",
            image_archive=sha256_hex(ARCHIVE),
            command=("true",),
            tasks=tasks,
            lot=lot,
            wait_seconds=3600,
        )
        quote = self.services.bid_quotes.quote(request)
        placings = []
        for _ in range(count):
            self.nonce += 1
            order = order_of(quote, self.market.client.contract, expiry=quote.order_expiry, nonce=self.nonce)
            signature = "0x" + sign_typed(customer, order, self.market.client.domain).hex()
            placings.append(Placing(wire.JobRequest(quote=quote.id, order=order, signature=signature)))
        return placings

    def upload(self) -> None:
        """The image that the orders name."""
        with self.services.blobs.upload(sha256_hex(ARCHIVE), self.market.customer.address) as upload:
            upload.write(ARCHIVE)
            upload.finish()

    def seconds(self, orders: list[Placing], tasks: int) -> float:
        """From the first order until the last is settled on the chain and read back, every task paid."""
        before = self.market.client.account(self.market.provider.address).free.units
        began = time.perf_counter()
        for at in range(0, len(orders), AT_ONCE):
            for answer in self.services.orders.place_each(orders[at : at + AT_ONCE]):
                if isinstance(answer, PrixfixeError):
                    raise answer
        mark = self.store.sequence()
        while (left := self._unsettled()) and time.perf_counter() - began < PATIENCE:
            if failed := next((each.failure for each in self.runners if each.failure), None):
                raise failed
            self.store.wait(["chain"], 1.0, mark)
            time.sleep(_LOOK_SECONDS)  # looking takes of the same processor
            mark = self.store.sequence()
        taken = time.perf_counter() - began
        if left:
            raise RuntimeError(f"{left} orders are not settled after {taken:.0f} s")
        paid = self.market.client.account(self.market.provider.address).free.units - before
        if paid != len(orders) * tasks * PRICE:
            raise RuntimeError(f"{paid} units were paid for {len(orders)} orders of {tasks} tasks")
        return taken

    def _unsettled(self) -> int:
        with self.store.read() as connection:
            query = select(func.count()).where(jobs.c.state.in_(("queued", "running")))
            left = int(connection.execute(query).scalar_one())
            if left == 0:
                wrong = select(func.count()).where(tasks_table.c.state != "succeeded")
                if unpaid := connection.execute(wrong).scalar_one():
                    raise RuntimeError(f"{unpaid} tasks did not succeed")
        return left


@contextmanager
def celery() -> Iterator[dict[str, str]]:
    """A Redis of our own, and two processes of Celery's worker on it; the environment of its callers."""
    redis = shutil.which("redis-server")
    if redis is None or not CELERY.exists():
        raise SystemExit("Celery and Redis are missing: scripts/setup --with celery")
    with ExitStack() as closing, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        env = {**os.environ, "PRIXFIXE_BENCH_REDIS": f"redis://127.0.0.1:{port}/0"}
        program = ROOT / "benchmarks" / "celery"
        bare = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
        worker = ("-m", "celery", "-A", "noop", "worker", "--concurrency", "2", "--loglevel", "error")
        for command in ([redis, "--port", str(port), *bare], [str(CELERY), *worker]):
            process = subprocess.Popen(
                command, cwd=program, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            closing.callback(process.wait)
            closing.callback(process.terminate)
        yield env


def celery_seconds(env: dict[str, str], bag: int, orders: int) -> dict[str, float]:
    """Of `chunks` and of `delay`."""
    command = [str(CELERY), str(ROOT / "benchmarks" / "celery" / "noop.py"), str(bag), str(LOT), str(orders)]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def docker_rate() -> float | None:
    """Containers that do nothing, a second, two at a time; None without an engine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        busybox = shutil.which("busybox")
        if busybox is None or shutil.which("docker") is None:
            return None
        shutil.copy(busybox, folder / "busybox")
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY busybox /busybox\n")
        image = f"prixfixe-bench-noop-{os.getpid()}"
        made = subprocess.run(["docker", "build", "-q", "-t", image, str(folder)], capture_output=True)
        if made.returncode != 0:
            return None
        try:
            run = ["docker", "run", "--rm", "--network", "none", image, "/busybox", "true"]
            began = time.perf_counter()
            with ThreadPoolExecutor(2) as pool:
                for each in [pool.submit(subprocess.run, run, check=True) for _ in range(DOCKER_RUNS)]:
                    each.result()
            return DOCKER_RUNS / (time.perf_counter() - began)
        finally:
            subprocess.run(["docker", "image", "rm", image], capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--bag", type=int, default=10_000, help="tasks of the one order (default 10,000)")
    parser.add_argument("--orders", type=int, default=1000, help="orders of one task (default 1,000)")
    parser.add_argument("--turns", type=int, default=3, help="of both sides (default 3)")
    parser.add_argument("--workers", type=int, default=2, help="of the market (default 2)")
    options = parser.parse_args()
    ours: dict[str, list[float]] = {"bag": [], "orders": []}
    theirs: dict[str, list[float]] = {"bag": [], "orders": []}
    with (
        tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name,
        celery() as env,
        running_anvil() as chain,
    ):
        alone = Alone(Path(name), deploy_local_market(chain), options.workers)
        alone.upload()
        with alone.running():
            alone.seconds(alone.orders(10, 1, 1), 1)  # everything was used once
            for _ in range(options.turns):
                beside = celery_seconds(env, options.bag, options.orders)
                theirs["bag"].append(options.bag / beside["chunks"])
                theirs["orders"].append(options.orders / beside["delay"])
                bag = alone.seconds(alone.orders(1, options.bag, LOT), options.bag)
                ours["bag"].append(options.bag / bag)
                single = alone.seconds(alone.orders(options.orders, 1, 1), 1)
                ours["orders"].append(options.orders / single)
                print(
                    f"{options.bag} in lots of {LOT}: {ours['bag'][-1]:7.0f} a second, "
                    f"Celery's chunks {theirs['bag'][-1]:7.0f};  "
                    f"{options.orders} orders of one: {ours['orders'][-1]:6.1f}, "
                    f"Celery's delay {theirs['orders'][-1]:6.1f};  "
                    f"load {os.getloadavg()[0]:.1f}",
                    file=sys.stderr,
                )
    ratios = {
        way: statistics.median(mine / other for mine, other in zip(ours[way], theirs[way], strict=True))
        for way in ours
    }
    docker = docker_rate()
    if docker is not None:
        print(f"Docker alone, two containers at a time: {docker:.1f} a second")
    result = {
        "name": "throughput",
        "value": round(min(ratios.values()), 3),
        "goal": GOAL,
        "ok": min(ratios.values()) >= GOAL,
        "bag_ratio": round(ratios["bag"], 3),
        "orders_ratio": round(ratios["orders"], 3),
        "bag_a_second": round(statistics.median(ours["bag"]), 1),
        "orders_a_second": round(statistics.median(ours["orders"]), 1),
        "celery_chunks_a_second": round(statistics.median(theirs["bag"]), 1),
        "celery_delay_a_second": round(statistics.median(theirs["orders"]), 1),
        "docker_a_second": None if docker is None else round(docker, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
