"""The auction on a growing book: 1,000 to 100,000 resting orders with conditions, three replicas, distinct
providers.

Compared with itself at 1,000 orders: the time for one order may grow no faster than log n. Also says how long
the largest book takes on one core, and what an order more costs the depth that people see, which must be the
same in a large book. Nothing is started: auction and depth are values.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import sys
import time

from prixfixe.market.auction import clear
from prixfixe.market.book import Buy, Sell
from prixfixe.market.depth import Depth, Resting

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
DEPTH_GROWTH = 2.0  # flat but for the caches of the machine, which a book of 1,000 fits in
CHANGES = 2_000


def book(orders: int, random_: random.Random) -> tuple[list[Buy], list[Sell]]:
    """Half bids, half asks around each other; a third of the bids want three replicas, a fifth name their
    providers, a tenth of the asks name their customer."""
    providers = [f"provider {number}" for number in range(max(50, orders // 20))]
    customers = [f"customer {number}" for number in range(max(50, orders // 10))]
    lists = [frozenset(random_.sample(providers, 50)) for _ in range(10)]
    bids = [
        Buy(
            id=random_.randbytes(32),
            customer=random_.choice(customers),
            limit=int(random_.gauss(1_000_000, 200_000)),
            lots=random_.choice((1, 1, 2, 5)),
            replicas=random_.choice((1, 1, 3)),
            providers=random_.choice(lists) if random_.random() < 0.2 else None,
        )
        for _ in range(orders // 2)
    ]
    asks = [
        Sell(
            id=random_.randbytes(32),
            provider=random_.choice(providers),
            price=int(random_.gauss(900_000, 200_000)),
            slots=random_.choice((1, 2, 4, 8)),
            customer=random_.choice(customers) if random_.random() < 0.1 else None,
        )
        for _ in range(orders - orders // 2)
    ]
    return bids, asks


def seconds(orders: int, repeats: int) -> float:
    """CPU seconds of one clearing: the mean over as many different books as hold the largest one's orders, so
    that every size works through the same memory and the same time of the machine; the best of some."""
    books = [book(orders, random.Random(seed)) for seed in range(SIZES[-1] // orders)]
    taken = []
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        for bids, asks in books:
            clear(bids, asks, b"seed")
        taken.append(time.process_time() - began)
    return min(taken) / len(books)


def depth_seconds(orders: int, repeats: int) -> float:
    """CPU seconds of one order more, the best ten levels read, and the order gone again; the best of some."""
    bids, asks = book(orders, random.Random(orders))
    resting = {buy.id: Resting("bid", buy.limit, buy.lots * buy.replicas) for buy in bids}
    resting |= {sell.id: Resting("ask", sell.price, sell.slots) for sell in asks}
    depth = Depth(resting)
    random_ = random.Random(0)
    changes = [(random_.randbytes(32), int(random_.gauss(900_000, 200_000))) for _ in range(CHANGES)]
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        for order, price in changes:
            depth.put(order, Resting("ask", price, 1))
            depth.levels("ask", 10)
            depth.drop(order)
        taken.append(time.process_time() - began)
    return min(taken) / CHANGES


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench book", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="clearings of each size (default 5)")
    repeats = parser.parse_args().repeats
    measured = {}
    changed = {}
    for orders in SIZES:
        measured[orders] = taken = seconds(orders, repeats)
        changed[orders] = change = depth_seconds(orders, repeats)
        print(
            f"{orders:>9,} orders  {taken:8.3f} s  {taken / orders * 1e6:6.1f} us an order"
            f"  {change * 1e6:6.1f} us a change of the depth"
        )
    least, most = SIZES[0], SIZES[-1]
    growth = (measured[most] / most) / (measured[least] / least)
    allowed = math.log(most) / math.log(least)
    depth_growth = changed[most] / changed[least]
    result = {
        "name": "book",
        "value": round(growth, 3),
        "goal": round(allowed, 3),
        "ok": growth <= allowed and measured[most] < 1.0 and depth_growth <= DEPTH_GROWTH,
        "largest_seconds": round(measured[most], 3),
        "largest_goal_seconds": 1.0,
        "depth_growth": round(depth_growth, 3),
        "depth_goal": DEPTH_GROWTH,
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
