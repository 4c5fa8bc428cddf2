"""`scripts/bench cage`: what the worker's whole path adds to a bare `docker run`, on runc and on gVisor.

One job at a time, in turns with `docker run --rm` of the same image, runtime and limits: a job is fetched,
checked against the chain, laid out, run in the cage, hashed, signed, uploaded and reported. The service is
the benchmark's own, so that nothing of the market's is in it; chain and engine are real. The figure is the
difference of the medians, of the runtime where it is larger.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.worker import Loop, staged, started
from prixfixe.devnet.anvil import running_anvil
from prixfixe.protocol.money import Money
from tests.support.market import deploy_local_market
from worker.cage import GVISOR
from worker.engine import Engine

GOAL_MILLISECONDS = 100.0


def measure(loop: Loop, runtime: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds: through the worker, bare, and what the worker adds."""
    loop.through_worker(2)  # caches and pools are full, as they are after a worker's first job
    loop.one_bare(runtime)
    through, bare = [], []
    for _ in range(rounds):
        through.append(1000 * loop.through_worker(1))
        bare.append(1000 * loop.one_bare(runtime))
    worker, plain = statistics.median(through), statistics.median(bare)
    return {"worker": round(worker), "docker_run": round(plain), "added": round(worker - plain)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench cage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="prixfixe-bench-")))
        market = deploy_local_market(open_.enter_context(running_anvil()))
        money = Money.parse("5000")
        market.client.mint(market.admin, market.customer.address, money)
        market.client.deposit(market.customer, money)
        engine = open_.enter_context(contextlib.closing(Engine()))
        stage = open_.enter_context(staged(market, engine, folder))
        loop = Loop(stage, folder)
        for runtime in ("runc", GVISOR):
            if runtime not in engine.runtimes:
                print(f"{runtime}: the engine does not have it", file=sys.stderr)
                continue
            with started(stage, runtime):
                found[runtime] = measure(loop, runtime, options.rounds)
            print(f"{runtime}: {found[runtime]}", file=sys.stderr)
    worst = max(each["added"] for each in found.values())
    print(
        json.dumps(
            {
                "name": "cage",
                "value": worst,
                "unit": "ms more than docker run, median",
                "goal": GOAL_MILLISECONDS,
                "ok": worst < GOAL_MILLISECONDS,
                "rounds": options.rounds,
                "runtimes": found,
                "load": round(os.getloadavg()[0], 1),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
