"""What a task costs the service while 1,000 to 100,000 are queued for 1,000 workers, and how long a worker
waits for its assignment.

Each size has a store of its own, on SQLite; workers, asks, orders and the chain's events are written as the
service writes them, without signatures, HTTP or node. Measured is processor time of one thread for a task
matched, opened, handed out and started; and each `assignments.next` alone, whose 99th percentile is to stay
under 20 ms. A task may cost no more in the longest queue than in the shortest, but for half more: the caches
of the database and of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select

from benchmarks.scaling import memory, schedulers
from marketplace.chain import AccountView
from marketplace.services import Services
from marketplace.store import openings, transitions
from marketplace.store.tables import asks, quotes, transactions, workers
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import NO_BUNDLE, Deal, Due, Leg
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.orders import KIND_BOTH, Ask, Bid
from prixfixe.protocol.product import Product
from scheduler.matcher import Matcher
from tests.support.service import CHAIN_TIME, CONTRACT, CUSTOMER, DOLLAR, DOMAIN, World, where

SIZES: Final = (1_000, 100_000)
WORKERS: Final = 1_000
ROUNDS: Final = 1  # of the matcher, which takes some hundred lots
AN_ORDER: Final = 1_000  # tasks, each a lot
GOAL_MILLISECONDS: Final = 20.0
GOAL_GROWTH: Final = 1.5
PRODUCT: Final = Product(1000, 1024, max_seconds=60)
PRICE: Final = 100


@dataclass(frozen=True, slots=True)
class Measured:
    """tasks: that were started. milliseconds: of the processor, for each. waits: of each worker for its
    assignment, milliseconds."""

    tasks: int
    milliseconds: float
    waits: list[float]

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.waits, n=100)[98]


class Queue:
    """A service with workers that are idle and orders that wait."""

    def __init__(self, folder: Path, queued: int) -> None:
        self.world = World(folder, heartbeat_seconds=3600.0)
        chain = self.world.chain
        chain.accounts[CUSTOMER.address] = AccountView(10**15, 0, 3)
        people = [(f"0x{number:040x}", f"0x{WORKERS + number:040x}") for number in range(1, WORKERS + 1)]
        for provider, _ in people:
            chain.accounts[provider] = AccountView(5 * DOLLAR, 0, 1)
        self.keys = [key for _, key in people]
        with self.world.store.write() as connection:
            connection.execute(insert(workers), [_worker(*each) for each in people])
            connection.execute(insert(asks), [_ask(*each) for each in people])
            quote = {"id": "q", "customer": CUSTOMER.address, "quote": {}, "expires_at": 0, "created_at": 0}
            connection.execute(insert(quotes).values(quote))
        self.orders: dict[str, Bid] = {}
        for nonce in range(queued // AN_ORDER):
            self._place(nonce)
        services = self.world.services
        self.matcher = Matcher(
            self.world.store, chain, services.terms, services.reputations, services.newcomers
        )

    def _place(self, nonce: int) -> None:
        bid = Bid(
            customer=CUSTOMER.address,
            product=PRODUCT.to_bytes(),
            price=2 * PRICE,
            tasks=AN_ORDER,
            lot=1,
            quorum=1,
            job=b"\x0b" * 32,
            matcher=CONTRACT,
            expiry=CHAIN_TIME + 3600,
            deliver_by=CHAIN_TIME + 7200,
            era=3,
            nonce=nonce,
        )
        job = "0x" + bid.digest(DOMAIN).hex()
        image = f"sha256:{'0' * 64}"
        manifest = JobManifest(image=image, command=("true",), inputs=(), determinism="none", tasks=bid.tasks)
        with self.world.store.write() as connection:
            transitions.job_placed(
                connection,
                job=job,
                quote="q",
                order=bid,
                signature="0x",
                manifest=manifest.model_dump(mode="json"),
                terms=transitions.OrderTerms("flat", bid.product),
            )
        self.orders[job] = bid

    def measure(self) -> Measured:
        """Some rounds of the matcher, and all that follows until each task is started."""
        services, store = self.world.services, self.world.store
        tasks, waits = 0, []
        began = time.thread_time()
        for _ in range(ROUNDS):
            self.matcher.run_once()
            for matched in self._matched():
                with store.write() as connection:
                    deal = self._deal(matched)
                    openings.deals_opened(
                        connection, [openings.Opened(deal, Due(CHAIN_TIME + 64).pack(), where(1 + tasks))]
                    )
                    connection.execute(transactions.delete())
                key = deal.legs[0].key
                before = time.perf_counter()
                attempt = _assigned(services, key)
                waits.append((time.perf_counter() - before) * 1000)
                services.assignments.start(attempt, key)
                tasks += 1
        return Measured(tasks, (time.thread_time() - began) / tasks * 1000, waits)

    def _matched(self) -> list[dict[str, Any]]:
        with self.world.store.read() as connection:
            query = select(transactions.c.arguments).where(transactions.c.call == "match")
            return list(connection.execute(query).scalars())

    def _deal(self, matched: dict[str, Any]) -> Deal:
        order, (leg,) = self.orders[matched["job"]], matched["asks"]
        return Deal(
            order=order.digest(DOMAIN),
            customer=order.customer,
            bundle=NO_BUNDLE,
            lot=matched["lot"],
            count=1,
            quorum=1,
            disputable=False,
            price=order.price,
            fee=0,
            legs=(Leg(leg["ask"]["provider"], leg["worker"], PRICE),),
        )

    def close(self) -> None:
        self.world.http.close()
        self.world.store.close()


def _assigned(services: Services, key: str) -> str:
    given = services.assignments.next(key)
    assert given is not None
    return given.attempt


def _worker(provider: str, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "provider": provider,
        "name": f"worker-{key[-6:]}",
        "resources": {"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 4096, "slots": 1},
        "version": "0",
        "registered_at": 0,
        "heartbeat_at": time.time(),
        "draining": False,
        "cool_until": 0.0,
    }


def _ask(provider: str, key: str) -> dict[str, Any]:
    ask = Ask(
        provider=provider,
        product=PRODUCT.to_bytes(),
        price=PRICE,
        slots=1,
        kinds=KIND_BOTH,
        customer=ZERO_ADDRESS,
        matcher=CONTRACT,
        expiry=CHAIN_TIME + 3600,
        era=1,
    )
    return {
        "worker": key,
        "product": "0x" + ask.product.hex(),
        "provider": provider,
        "price": ask.price,
        "slots": ask.slots,
        "expiry": ask.expiry,
        "ask": ask.to_json(),
        "signature": "0x",
        "placed_at": 0,
    }


def measure_queue() -> dict[str, Any]:
    """What this file's first lines tell."""
    found: dict[int, Measured] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name:
            queue = Queue(Path(name), size)
            try:
                found[size] = measured = queue.measure()
            finally:
                queue.close()
        print(
            f"{size:>8,} queued: {measured.milliseconds:7.2f} ms a task of {measured.tasks};  assignment"
            f" {statistics.median(measured.waits):6.2f} ms, p99 {measured.p99:6.2f} ms;"
            f"  load {os.getloadavg()[0]:.1f}"
        )
    least, most = found[SIZES[0]], found[SIZES[-1]]
    growth = most.milliseconds / least.milliseconds
    return {
        "name": "scale",
        "value": round(growth, 3),
        "goal": GOAL_GROWTH,
        "ok": growth <= GOAL_GROWTH and most.p99 < GOAL_MILLISECONDS,
        "assignment_p99_ms": round(most.p99, 2),
        "assignment_goal_ms": GOAL_MILLISECONDS,
        "task_ms": round(most.milliseconds, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "what",
        nargs="?",
        default="queue",
        choices=("queue", "schedulers", "memory"),
        help="queue (default): a task in a long queue; schedulers: two of them beside one, on PostgreSQL;"
        " memory: of the service, from a tenth of --tasks to all of them",
    )
    parser.add_argument("--turns", type=int, default=3, help="of schedulers (default 3)")
    parser.add_argument("--orders", type=int, default=20, help="of schedulers, in each turn (default 20)")
    parser.add_argument("--tasks", type=int, default=100_000, help="of memory (default 100,000)")
    options = parser.parse_args()
    if options.what == "schedulers":
        result = schedulers.measure(options.turns, options.orders)
    elif options.what == "memory":
        result = memory.measure(options.tasks)
    else:
        result = measure_queue()
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
