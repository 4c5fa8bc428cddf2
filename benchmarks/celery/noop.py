"""Celery's side of `scripts/bench throughput`: the same tasks, which do nothing, on a Redis of its own.

Run by the environment that `scripts/setup --with celery` makes. Prints the seconds of each way as JSON, from
the first call until the last result is back with the caller.
"""

from __future__ import annotations

import json
import os
import sys
import time

from celery import Celery

URL = os.environ["PRIXFIXE_BENCH_REDIS"]
app = Celery("noop", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop")
def noop(number: int) -> None:
    return None


def main(bag: int, lot: int, orders: int) -> None:
    noop.delay(0).get(timeout=60)  # the workers are up
    began = time.perf_counter()
    noop.chunks(((number,) for number in range(bag)), lot).group().apply_async().get(timeout=600)
    chunks = time.perf_counter() - began
    began = time.perf_counter()
    for sent in [noop.delay(number) for number in range(orders)]:
        sent.get(timeout=600)
    print(json.dumps({"chunks": chunks, "delay": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
