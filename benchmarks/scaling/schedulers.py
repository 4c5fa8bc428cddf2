"""`scripts/bench scale schedulers`: two scheduler processes beside one, on PostgreSQL.

One process has the API, one or two others have the duties, as `prixfixe serve --no-duties` and `--no-api` run
them; orders, assignments and reports come over HTTP, and a real contract opens and settles. In turns, now
the one first and now the two, on the same tables; measured is the time of the clock from the first order
until all are settled on the chain and read back. In the end the contract's numbers, a ledger made anew from
its events and the tables are held against each other, and each task must have been paid once.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.scaling.processes import Customer, Processes, Runner, at_work
from prixfixe.devnet.anvil import running_anvil
from tests.support.market import deploy_local_market
from tests.support.postgres import find_programs, running_postgres

GOAL: Final = 1.1  # no slower, but for a tenth that turns differ by
AN_ORDER: Final = 20  # tasks
LOT: Final = 5


def measure(turns: int, orders: int) -> dict[str, Any]:
    """How much longer two take than one for the same orders: the median of the turns."""
    programs = find_programs()
    if programs is None:
        raise SystemExit("PostgreSQL's programs are not installed: scripts/setup installs them")
    taken: dict[int, list[float]] = {1: [], 2: []}
    with (
        running_postgres(programs) as server,
        tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name,
        running_anvil() as chain,
    ):
        processes = Processes(Path(name), deploy_local_market(chain), server.database("scale"))
        with processes.serving("--no-duties"), at_work(processes) as (customer, runners):
            for turn in range(turns):
                for schedulers in (1, 2) if turn % 2 == 0 else (2, 1):
                    with ExitStack() as hired:
                        for _ in range(schedulers):
                            hired.enter_context(processes.serving("--no-api"))
                        _seconds(customer, runners, 2)  # each duty has its leader
                        taken[schedulers].append(_seconds(customer, runners, orders))
                one, two = taken[1][-1], taken[2][-1]
                print(
                    f"turn {turn + 1}: {orders} orders of {AN_ORDER} tasks in lots of {LOT}: one scheduler"
                    f" {one:6.1f} s, two {two:6.1f} s ({two / one:.2f});  load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
            with processes.serving("--no-api"):  # it reads what the last turn left
                customer.wait(runners)
                customer.require_whole()
    ratios = [two / one for one, two in zip(taken[1], taken[2], strict=True)]
    return {
        "name": "scale schedulers",
        "value": round(statistics.median(ratios), 3),
        "goal": GOAL,
        "ok": statistics.median(ratios) <= GOAL,
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "one_seconds": round(statistics.median(taken[1]), 2),
        "two_seconds": round(statistics.median(taken[2]), 2),
        "lost": 0,  # or it would have ended with an error
        "load": round(os.getloadavg()[0], 1),
    }


def _seconds(customer: Customer, runners: list[Runner], orders: int) -> float:
    began = time.perf_counter()
    customer.order(orders, AN_ORDER, LOT)
    customer.wait(runners)
    return time.perf_counter() - began
