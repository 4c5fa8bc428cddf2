"""`scripts/bench worker`: what a worker takes while it waits, what it leaves behind, and how fast it is.

A worker of two slots as it is started by a provider, beside a service of the benchmark's own and a real chain
and engine. First it is left alone and its two processes are measured; then short jobs, one after the other,
in turns with `docker run` of the same image with the same limits, two at a time. At the end nothing more may
be there than after the first turn: no container, network, mount, file, descriptor or memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from prixfixe.devnet.anvil import running_anvil  # noqa: E402
from prixfixe.protocol.money import Money  # noqa: E402
from tests.cage.conftest import root_file_system  # noqa: E402
from tests.support.market import LocalMarket, deploy_local_market  # noqa: E402
from tests.worker.conftest import Stage, market_of  # noqa: E402
from tests.worker.fake_service import FakeService, serving  # noqa: E402
from tests.worker.orders import assignment, open_deal  # noqa: E402
from tests.worker.test_daemon import settle  # noqa: E402
from worker.daemon import installation  # noqa: E402
from worker.engine import Engine  # noqa: E402

SLOTS = 2
GOAL_RATIO, GOAL_CPU_PERCENT, GOAL_MIB = 0.9, 1.0, 120.0
SCRIPT = "echo done > /job/outputs/result.txt"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Left:
    """What is there: of the machine, of the worker's folder, and in its processes."""

    containers: int
    networks: int
    mounts: int
    files: int
    descriptors: int
    memory_mib: float


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int, kind: str = "Pss") -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the kernel does not tell the memory of {pid}")


@contextlib.contextmanager
def staged(market: LocalMarket, engine: Engine, folder: Path) -> Iterator[Stage]:
    """A service of the benchmark's own, with beats as often as the real one wants them."""
    engine._api.import_image_from_data(root_file_system(), repository="prixfixe-bench-shell", tag="1")
    image = str(engine._api.inspect_image("prixfixe-bench-shell:1")["Id"])
    service = FakeService(market_of(market).model_copy(update={"heartbeat_seconds": 1.0}))
    try:
        with serving(service) as url:
            stage = Stage(market, service, url, image, folder)
            service.products = (stage.buy(SCRIPT).definition.limits.product,)
            yield stage
    finally:
        engine._api.remove_image("prixfixe-bench-shell:1")


@contextlib.contextmanager
def started(stage: Stage, runtime: str = "runc") -> Iterator[tuple[int, int]]:
    """A worker as a process of its own: its daemon's and its runner's process ids."""
    settings = stage.settings
    command = [
        *(str(Path(sys.executable).parent / "prixfixe"), "worker", "start", "--service", settings.service),
        *("--rpc", settings.rpc, "--provider", settings.provider, "--key", settings.key, "--json"),
        *("--vcpu", "2", "--memory", "512", "--disk", "128", "--data", str(settings.data)),
        *("--slots", str(SLOTS), "--runtime", runtime),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        yield ready["pid"], ready["runner_pid"]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


class Loop:
    """Rounds of short jobs, through the worker and without it."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.outputs = [folder / f"outputs-{number}" for number in range(SLOTS)]
        for place in self.outputs:
            place.mkdir()
            place.chmod(0o777)

    def through_worker(self, count: int) -> float:
        """Seconds."""
        opened = []
        for _ in range(count):
            bought = self.stage.buy(SCRIPT, max_seconds=600)
            opened.append(assignment(bought, *open_deal(self.stage.market, bought)))
        began = time.perf_counter()
        for each in opened:
            self.stage.service.assign(each)
        reports = [self.stage.report_of(each, 300) for each in opened]
        spent = time.perf_counter() - began
        for each, report in zip(opened, reports, strict=True):  # as an operator would
            settle(self.stage, each, report)
        return spent

    def bare(self, count: int) -> float:
        """Seconds."""

        def one_after_another(place: Path) -> None:
            for _ in range(count // SLOTS):
                self._run(place)

        began = time.perf_counter()
        with ThreadPoolExecutor(SLOTS) as pool:
            list(pool.map(one_after_another, self.outputs))
        return time.perf_counter() - began

    def one_bare(self, runtime: str) -> float:
        """Seconds of one `docker run` with nothing beside it."""
        began = time.perf_counter()
        self._run(self.outputs[0], runtime)
        return time.perf_counter() - began

    def _run(self, outputs: Path, runtime: str = "runc") -> None:
        command = [
            *(
                "docker",
                "run",
                "--rm",
                "--runtime",
                runtime,
                "--network",
                "none",
                "--read-only",
                "--user",
                "65532:65532",
            ),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256", "--init"),
            *("--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--tmpfs", "/tmp:size=16m"),
            *("--volume", f"{outputs}:/job/outputs", self.stage.image, "/bin/sh", "-c", SCRIPT),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def look(stage: Stage, engine: Engine, pids: tuple[int, int]) -> Left:
    """Once what was begun is over: a job is cleaned away after its report."""
    name = installation(stage.settings.data)
    until = time.monotonic() + 20
    while engine.labelled("prixfixe.worker", name) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    data = str(stage.settings.data)
    networks = subprocess.run(["docker", "network", "ls", "-q"], check=True, capture_output=True).stdout
    return Left(
        containers=len(engine.labelled("prixfixe.worker", name)),
        networks=len(networks.split()),
        mounts=Path("/proc/self/mounts").read_text().count(data),
        files=sum(len(files) for _, _, files in os.walk(stage.settings.data)),
        descriptors=sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        memory_mib=sum(memory_mib(pid) for pid in pids),
    )


def idle(pids: tuple[int, int], seconds: float) -> tuple[float, float, float]:
    """Percent of a core, and MiB of both processes: proportional, and with all they share counted twice."""
    before, began = sum(map(processor_seconds, pids)), time.monotonic()
    time.sleep(seconds)
    spent = sum(map(processor_seconds, pids)) - before
    percent = 100 * spent / (time.monotonic() - began)
    return percent, sum(map(memory_mib, pids)), sum(memory_mib(pid, "Rss") for pid in pids)


def more_than(first: Left, last: Left) -> dict[str, float]:
    """What there is more of; a few connections of pools and a little of the allocator's are not leaks."""
    allowed = {"descriptors": 8.0, "memory_mib": 10.0}
    before, after = asdict(first), asdict(last)
    return {
        name: round(after[name] - before[name], 1)
        for name in before
        if after[name] - before[name] > allowed.get(name, 0)
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench worker", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    options = parser.parse_args()
    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="prixfixe-bench-")))
        market = deploy_local_market(open_.enter_context(running_anvil()))
        money = Money.parse("5000")
        market.client.mint(market.admin, market.customer.address, money)
        market.client.deposit(market.customer, money)
        engine = open_.enter_context(contextlib.closing(Engine()))
        stage = open_.enter_context(staged(market, engine, folder))
        pids = open_.enter_context(started(stage))
        time.sleep(5)
        percent, pss, rss = idle(pids, options.idle_seconds)
        print(f"idle: {percent:.2f} % of a core, {pss:.0f} MiB (counted twice {rss:.0f})", file=sys.stderr)
        loop = Loop(stage, folder)
        loop.through_worker(options.jobs // 10 * 2)  # until pools and caches are full
        first = look(stage, engine, pids)
        ratios, rates = [], []
        count = options.jobs // options.turns
        for number in range(options.turns):
            worker, bare = loop.through_worker(count), loop.bare(count)
            ratios.append(bare / worker)
            rates.append(60 * count / worker)
            print(f"{number + 1}: worker {worker:.1f} s, docker run {bare:.1f} s", file=sys.stderr)
        more = more_than(first, last := look(stage, engine, pids))
        print(f"before {first}\nafter  {last}", file=sys.stderr)
    ratio = statistics.median(ratios)
    ok = ratio >= GOAL_RATIO and percent < GOAL_CPU_PERCENT and pss < GOAL_MIB and not more
    print(
        json.dumps(
            {
                "name": "worker",
                "value": round(ratio, 2),
                "unit": "jobs a minute, of those of docker run at the same concurrency",
                "goal": GOAL_RATIO,
                "ok": ok,
                "jobs": options.jobs,
                "jobs_a_minute": round(statistics.median(rates)),
                "idle_cpu_percent": round(percent, 2),
                "idle_mib": round(pss),
                "left_over": more,
                "load": round(os.getloadavg()[0], 1),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
