"""The auction on a growing book: 1,000 to 100,000 resting orders with conditions, three replicas, distinct
providers.

Compared with itself at 1,000 orders: the time for one order may grow no faster than log n. Also says how long
the largest book takes on one core. Nothing is started: the auction is a function of values.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import statistics
import sys
import time

from prixfixe.market.auction import clear
from prixfixe.market.book import Buy, Sell

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


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
    """CPU seconds of one clearing, the median of some."""
    bids, asks = book(orders, random.Random(orders))
    taken = []
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        clear(bids, asks, b"seed")
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench book", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="clearings of each size (default 5)")
    repeats = parser.parse_args().repeats
    measured = {}
    for orders in SIZES:
        measured[orders] = taken = seconds(orders, repeats)
        print(f"{orders:>9,} orders  {taken:8.3f} s  {taken / orders * 1e6:6.1f} us an order")
    least, most = SIZES[0], SIZES[-1]
    growth = (measured[most] / most) / (measured[least] / least)
    allowed = math.log(most) / math.log(least)
    result = {
        "name": "book",
        "value": round(growth, 3),
        "goal": round(allowed, 3),
        "ok": growth <= allowed and measured[most] < 1.0,
        "largest_seconds": round(measured[most], 3),
        "largest_goal_seconds": 1.0,
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
