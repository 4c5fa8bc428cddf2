"""A quote for a bundle, and a look at the book, while many asks rest for its product.

Measured in one process, from request to answer without a socket: what the chain would say is answered in the
process, so that no node is measured. Compared with the goal, and with the same quote while ten asks rest. The
seconds of processor are told too: on a machine that does much else, the wait for it is most of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import insert, update

from marketplace.chain import AccountView
from marketplace.store.tables import asks, workers
from prixfixe.protocol.orders import KIND_BOTH
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.service import DOLLAR, HOST, World

GOAL_MILLISECONDS: Final = 20.0
FEW: Final = 10
RESOURCES: Final = {"milli_vcpu": 2000, "memory_mib": 4096, "disk_mib": 8192, "slots": 2}


def _key(number: int) -> str:
    # As decimals: an address without letters is written in one way only.
    return f"0x{number + 1000:040d}"


def rest(world: World, count: int) -> None:
    """So many live asks, four workers a provider. Their signatures are not looked at again after the door."""
    ask = world.ask(kinds=KIND_BOTH).ask
    product = format_bytes32(ask.product)
    listed, offered = [], []
    for number in range(count):
        key, provider = _key(number), f"0x{number // 4 + 5_000_000:040d}"
        world.chain.accounts[provider] = AccountView(5 * DOLLAR, 0, 1)
        listed.append(
            {
                "key": key,
                "provider": provider,
                "name": "w",
                "resources": RESOURCES,
                "version": "1",
                "registered_at": 0,
                "heartbeat_at": time.time() + 86_400,
                "draining": False,
                "cool_until": 0.0,
            }
        )
        price = DOLLAR + number
        offered.append(
            {
                "worker": key,
                "product": product,
                "provider": provider,
                "price": price,
                "slots": 1,
                "expiry": ask.expiry,
                "ask": {**ask.to_json(), "provider": provider, "price": str(price)},
                "signature": f"0x{number:0130x}",
                "placed_at": 0,
            }
        )
    with world.store.write() as connection:
        connection.execute(insert(workers), listed)
        connection.execute(insert(asks), offered)


async def ask(world: World, times: int) -> tuple[list[float], list[float], list[float]]:
    """Quotes one after the other, in one event loop as in a service, whose threads stay from one to the next:
    milliseconds of each, and of processor; and of processor for as many looks at the book, each after another
    worker was heard."""
    taken, used, looks = [], [], []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app), base_url=f"http://{HOST}"
    ) as client:
        for _ in range(times):
            began, worked = time.perf_counter(), time.process_time()
            answer = await client.post("/v1/quotes", json=world.quote_request())
            assert answer.status_code == 200, answer.text
            taken.append((time.perf_counter() - began) * 1000)
            used.append((time.process_time() - worked) * 1000)
        path = f"/v1/book/{format_bytes32(world.ask().ask.product)}?levels=10"
        for at in range(times):
            with world.store.write() as connection:
                connection.execute(
                    update(workers)
                    .where(workers.c.key == _key(at % FEW))
                    .values(heartbeat_at=time.time() + 86_400 + at)
                )
            worked = time.process_time()
            answer = await client.get(path)
            assert len(answer.json()["asks"]) == FEW, answer.text
            looks.append((time.process_time() - worked) * 1000)
    return taken, used, looks


def milliseconds(count: int, repeats: int) -> tuple[float, float, float, float]:
    """Median and 99th percentile of a quote while `count` asks rest, the 99th of its processor time, and the
    median processor time of a look at the book."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), quotes_per_minute=0)
        world.publish()
        rest(world, count)
        taken, used, looks = asyncio.run(ask(world, repeats + 1))
        world.http.close()
        world.store.close()
    taken, used = sorted(taken[1:]), sorted(used[1:])  # the first fills caches
    slow = -(repeats // 100) - 1
    return taken[len(taken) // 2], taken[slow], used[slow], sorted(looks[1:])[repeats // 2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench quotes", description=__doc__.splitlines()[0])
    parser.add_argument("--asks", type=int, default=10_000, help="that rest (default 10,000)")
    parser.add_argument("--repeats", type=int, default=100, help="quotes (default 100)")
    options = parser.parse_args()
    few = milliseconds(FEW, options.repeats)
    many = milliseconds(options.asks, options.repeats)
    for count, (median, slow, used, look) in ((FEW, few), (options.asks, many)):
        print(
            f"{count:>7,} asks  median {median:8.1f} ms  p99 {slow:8.1f} ms  of processor {used:8.1f} ms"
            f"  a look at the book {look:8.1f} ms of processor"
        )
    result = {
        "name": "quotes",
        "value": round(many[1], 1),
        "goal": GOAL_MILLISECONDS,
        "ok": many[1] < GOAL_MILLISECONDS,
        "p99_processor_milliseconds": round(many[2], 1),
        "few_p99_milliseconds": round(few[1], 1),
        "look_processor_milliseconds": round(many[3], 1),
        "ratio_of_medians": round(many[0] / few[0], 1),
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
