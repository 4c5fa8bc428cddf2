"""The auction on a growing book: 1,000 to 100,000 resting orders with conditions, three replicas, distinct
providers.

Compared with itself at 1,000 orders: the time for one order may grow no faster than log n. Also says how long
the largest book takes on one core, and what an order more costs the depth that people see, which must be the
same in a large book. Nothing is started: auction and depth are values.

Why the ratio can be believed: what is compared stands side by side in time. A turn clears every size once, up
and down the sizes in turn, and each size clears as many orders in all as the largest holds; the ratio is
taken within the turn, so that a machine that changes its speed between turns changes both its sides, and the
median of the turns is what counts: no turn is left out and no best is chosen. Measured is the processor's
time of this process. Every book is built anew before it is cleared, one order after the other with values of
their own and nothing shared, as the service builds a batch from its rows: a small book is then in the caches
when its time begins and a large one is not, which is against us. The collector has looked at everything and
is off for every size. `--shuffled` hands the orders over in another order than they lie in memory, which no
service does, to say what that would cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import statistics
import sys
import time

from prixfixe.market.auction import clear
from prixfixe.market.book import Buy, Sell
from prixfixe.market.depth import Depth, Resting

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
DEPTH_GROWTH = 2.0  # flat but for the caches of the machine, which a book of 1,000 fits in
CHANGES = 2_000

Book = tuple[list[Buy], list[Sell]]


def book(orders: int, random_: random.Random) -> Book:
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


def fresh(drawn: Book, random_: random.Random | None) -> Book:
    """The same orders, built as the service builds them, each of values that no other order holds; in the
    order in which they were built, or in any."""
    bids = [
        Buy(
            id=bytes(bytearray(buy.id)),
            customer=_anew(buy.customer),
            limit=int(str(buy.limit)),
            lots=buy.lots,
            replicas=buy.replicas,
            providers=None if buy.providers is None else frozenset(map(_anew, buy.providers)),
        )
        for buy in drawn[0]
    ]
    asks = [
        Sell(
            id=bytes(bytearray(sell.id)),
            provider=_anew(sell.provider),
            price=int(str(sell.price)),
            slots=sell.slots,
            customer=None if sell.customer is None else _anew(sell.customer),
        )
        for sell in drawn[1]
    ]
    if random_ is not None:
        random_.shuffle(bids)
        random_.shuffle(asks)
    return bids, asks


def _anew(text: str) -> str:
    return text.encode().decode()


def seconds(drawn: list[Book], random_: random.Random | None) -> float:
    """CPU seconds of clearing each of these books once."""
    taken = 0.0
    for each in drawn:
        bids, asks = fresh(each, random_)
        began = time.process_time()
        clear(bids, asks, b"seed")
        taken += time.process_time() - began
    return taken


def turns(count: int, shuffled: bool) -> dict[int, list[float]]:
    """For each size the CPU seconds of clearing as many orders as the largest book holds, once a turn."""
    drawn = {
        orders: [book(orders, random.Random(seed)) for seed in range(SIZES[-1] // orders)] for orders in SIZES
    }
    random_ = random.Random(0) if shuffled else None
    taken: dict[int, list[float]] = {orders: [] for orders in SIZES}
    gc.collect()
    gc.disable()
    try:
        for turn in range(count):
            for orders in SIZES if turn % 2 == 0 else reversed(SIZES):
                taken[orders].append(seconds(drawn[orders], random_))
    finally:
        gc.enable()
    return taken


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
    parser.add_argument("--turns", type=int, default=9, help="clearings of each size (default 9)")
    parser.add_argument("--shuffled", action="store_true", help="in another order than they lie in memory")
    options = parser.parse_args()
    taken = turns(options.turns, options.shuffled)
    changed = {orders: depth_seconds(orders, 5) for orders in SIZES}
    for orders in SIZES:
        each = [one / SIZES[-1] * 1e6 for one in taken[orders]]
        print(
            f"{orders:>9,} orders  {statistics.median(each):6.1f} us an order ({min(each):.1f} to"
            f" {max(each):.1f})  {changed[orders] * 1e6:6.1f} us a change of the depth"
        )
    least, most = SIZES[0], SIZES[-1]
    ratios = [large / small for large, small in zip(taken[most], taken[least], strict=True)]
    growth = statistics.median(ratios)
    largest = statistics.median(taken[most])
    allowed = math.log(most) / math.log(least)
    depth_growth = changed[most] / changed[least]
    result = {
        "name": "book",
        "value": round(growth, 3),
        "goal": round(allowed, 3),
        "ok": growth <= allowed and largest < 1.0 and depth_growth <= DEPTH_GROWTH,
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "largest_seconds": round(largest, 3),
        "largest_goal_seconds": 1.0,
        "depth_growth": round(depth_growth, 3),
        "depth_goal": DEPTH_GROWTH,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
