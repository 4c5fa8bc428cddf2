"""`scripts/bench lots`: what a worker's calls for short lots cost over HTTP, one lot a call and several.

A real service on a port of this process, its deals opened as the indexer would, and the calls of a worker
with so many slots: take, start and report, without running anything. In turns; processor is of service and
worker together, without the signing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from prixfixe.protocol.wire import Assignment  # noqa: E402
from tests.service.test_lots import OUT, ordered  # noqa: E402
from tests.support.service import WORKER, lot_report  # noqa: E402
from tests.support.serving import served  # noqa: E402
from worker.client import ServiceClient  # noqa: E402
from worker.lots import Lots  # noqa: E402

GOAL_RATIO = 0.5


class Counting(ServiceClient):
    """Knows how many requests it made."""

    requests = 0

    def _call(self, *given: Any, **options: Any) -> Any:
        self.requests += 1
        return super()._call(*given, **options)


@dataclass(frozen=True)
class Cost:
    """Of one lot."""

    requests: float
    processor_ms: float


def turn(slots: int, count: int, *, together: bool) -> Cost:
    with contextlib.ExitStack() as open_:
        folder = open_.enter_context(tempfile.TemporaryDirectory(prefix="prixfixe-bench-"))
        world, url = open_.enter_context(served(Path(folder) / "service", max_wait_seconds=1))
        client = open_.enter_context(contextlib.closing(Counting(url)))
        pool = open_.enter_context(ThreadPoolExecutor(slots))
        client.sign_in(WORKER)
        job = ordered(world, count, 1)
        reports = [lot_report(world.open_deal(job, lot=lot), [(0, OUT)]) for lot in range(count)]
        lots = Lots(client)
        if not together:
            lots._alone_until = math.inf
        client.requests, left = 0, count
        began = time.process_time()
        while left:
            given: list[Assignment] = []
            while len(given) < min(slots, left):
                found = lots.next(slots - len(given), 1.0)
                lots.start([each.attempt for each in found])
                given += found
            sent = [pool.submit(lots.report, each.attempt, reports[each.deal.lot], 10.0) for each in given]
            assert all(each.result().accepted for each in sent)
            left -= len(given)
        return Cost(client.requests / count, 1000 * (time.process_time() - began) / count)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench lots", description=__doc__)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--lots", type=int, default=160)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    one, several = [], []
    for number in range(options.turns):
        one.append(turn(options.slots, options.lots, together=False))
        several.append(turn(options.slots, options.lots, together=True))
        print(f"{number + 1}: one {one[-1]}, several {several[-1]}", file=sys.stderr)
    ratio = statistics.median(b.processor_ms / a.processor_ms for a, b in zip(one, several, strict=True))
    print(
        json.dumps(
            {
                "name": "lots",
                "value": round(ratio, 2),
                "unit": "processor of a lot's calls, of that with one lot a call",
                "goal": GOAL_RATIO,
                "ok": ratio <= GOAL_RATIO,
                "slots": options.slots,
                "requests": [
                    round(statistics.median(each.requests for each in way), 2) for way in (one, several)
                ],
                "processor_ms": [
                    round(statistics.median(each.processor_ms for each in way), 1) for way in (one, several)
                ],
                "load": round(os.getloadavg()[0], 1),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
