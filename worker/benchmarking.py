"""When the machine is measured, and what is made of it: a signed statement that the market is told.

Measured by `worker init`, and again at random while nothing runs here: who could tell when would make the
machine fast for just that moment. A task that comes ends the measurement.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from prixfixe.client.keeping import write_private
from prixfixe.errors import PrixfixeError
from prixfixe.keys import Signer
from prixfixe.protocol.benchmarks import Benchmark, Figures, SignedBenchmark
from prixfixe.protocol.canonical import canonical_digest_hex
from prixfixe.protocol.typed_data import Domain

log = logging.getLogger("prixfixe.worker")

BENCHMARK_FILE: Final = "benchmark.json"
SECONDS: Final = 0.5  # of each measurement: under five in all
_PATIENCE_SECONDS: Final = 60.0
_MEAN_SECONDS: Final = 6 * 3600.0
_LEAST_SECONDS: Final = 1800.0
_MOST_SECONDS: Final = 24 * 3600.0
_LOOK_SECONDS: Final = 0.05


def machine_facts() -> dict[str, str | int]:
    """What is hashed into a statement."""
    model = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    return {
        "processor": model,
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def run_measurement(
    data: Path, *, seconds: float = SECONDS, disturbed: Callable[[], bool] = lambda: False
) -> Figures | None:
    """Measure in a process of its own, without our environment; None when it was disturbed or failed."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-I", "-m", "worker.measuring", "--folder", str(data.absolute())]
    process = subprocess.Popen(
        [*command, "--seconds", str(seconds)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": os.environ.get("PATH", "")},
    )
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            told, _ = process.communicate(timeout=_LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if disturbed() or time.monotonic() > until:
                _end(process)
                return None
    try:
        return Figures.model_validate_json(told) if process.returncode == 0 else None
    except ValidationError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)  # with the processes that it made
    process.communicate()


def sign_benchmark(figures: Figures, signer: Signer, domain: Domain, at: int) -> SignedBenchmark:
    made = Benchmark(
        key=signer.address,
        contract=domain.verifying_contract,
        chain_id=domain.chain_id,
        at=at,
        machine=canonical_digest_hex(machine_facts()),
        figures=figures,
    )
    return SignedBenchmark(benchmark=made, signature="0x" + signer.sign_digest(made.digest()).hex())


def keep_benchmark(data: Path, signed: SignedBenchmark) -> None:
    write_private(data / BENCHMARK_FILE, json.dumps(signed.model_dump(mode="json"), indent=1) + "\n")


def kept_benchmark(data: Path, key: str) -> SignedBenchmark | None:
    """The last one of this folder; None when there is none, or it is of another machine or key."""
    try:
        found = SignedBenchmark.model_validate_json((data / BENCHMARK_FILE).read_bytes())
    except (OSError, ValidationError, PrixfixeError):
        return None
    said = found.benchmark
    same = said.key == key and said.machine == canonical_digest_hex(machine_facts())
    return found if same else None


def next_pause(chance: random.Random) -> float:
    """Seconds until the next one: without memory, so that having seen one says nothing about the next."""
    return min(max(chance.expovariate(1 / _MEAN_SECONDS), _LEAST_SECONDS), _MOST_SECONDS)


class Benchmarker:
    """Repeats the measurement in a thread of its own until `wait` says that it is over.

    wait: sleeps so many seconds; True when the worker ends. busy: whether a task is here. report: tells the
    market; it may fail, and is then told with the next one. measure: figures, None when it was disturbed.
    """

    def __init__(
        self,
        *,
        wait: Callable[[float | None], bool],
        busy: Callable[[], bool],
        measure: Callable[[], Figures | None],
        report: Callable[[Figures | None], None],
        chance: random.Random | None = None,
    ) -> None:
        self._wait = wait
        self._busy = busy
        self._measure = measure
        self._report = report
        self._chance = chance or random.SystemRandom()

    def run(self) -> None:
        self._tell(None)
        while not self._wait(next_pause(self._chance)):
            while self._busy():
                if self._wait(_LEAST_SECONDS / 30):
                    return
            figures = self._measure()
            if figures is not None:
                self._tell(figures)

    def _tell(self, figures: Figures | None) -> None:
        try:
            self._report(figures)
        except PrixfixeError as error:
            log.warning("the market was not told of the benchmark: %s", error)
