"""`scripts/bench scale memory`: how much memory the service takes while it works through many tasks.

One process with API and duties, on SQLite, with the retention that is the default, as `prixfixe serve` runs
it; orders, assignments and reports come over HTTP, lots are opened and settled by a real contract. Read are
the pages of that process in memory when so many tasks are settled and nothing waits.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.scaling.processes import Processes, at_work
from prixfixe.devnet.anvil import running_anvil
from tests.support.market import deploy_local_market
from tests.support.memory import resident_kib

GOAL_GROWTH: Final = 1.05
FIRST: Final = 10  # part of all tasks after which the growth is counted
AN_ORDER: Final = 1_000  # tasks
LOT: Final = 100
READINGS: Final = 5  # of the memory, one a second: what a moment holds comes and goes


def measure(count: int) -> dict[str, Any]:
    """Growth between a tenth of these tasks and all of them."""
    step = max(count // FIRST // AN_ORDER, 1)  # orders
    found: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name, running_anvil() as chain:
        processes = Processes(Path(name), deploy_local_market(chain), None)
        with processes.serving() as process, at_work(processes) as (customer, runners):
            done = 0
            while done < count:
                began = time.monotonic()
                customer.order(step, AN_ORDER, LOT)
                customer.wait(runners)
                done += step * AN_ORDER
                seconds = time.monotonic() - began
                found[done] = _mebibytes(process)
                print(
                    f"{done:>8,} tasks settled: {found[done]:7.1f} MiB;  {step * AN_ORDER / seconds:6.1f}"
                    f" tasks a second;  load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
            customer.require_whole()
    first, last = found[step * AN_ORDER], found[done]
    growth = last / first
    return {
        "name": "scale memory",
        "value": round(growth, 3),
        "goal": GOAL_GROWTH,
        "ok": growth < GOAL_GROWTH,
        "tasks": done,
        "first_mib": round(first, 1),
        "last_mib": round(last, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _mebibytes(process: int) -> float:
    readings = []
    for _ in range(READINGS):
        time.sleep(1)
        readings.append(resident_kib(process) / 1024)
    return statistics.median(readings)
