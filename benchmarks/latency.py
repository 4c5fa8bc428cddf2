"""`scripts/bench latency`: what the market adds to a bare `docker run`.

One worker, a bundle that writes one small file, a chain that makes a block for each transaction (automine).
Measured in turns, in one run: the API call that buys until the result is downloaded and its receipt has been
verified offline; and `docker run` of the same image with the same limits. The difference of the medians is
what the market adds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prixfixe.client import Client
from prixfixe.client.verification import verify
from prixfixe.protocol.manifest import InputFile

GOAL_MILLISECONDS = 300.0
ROOT = Path(__file__).resolve().parents[1]


def noop_bundle(folder: Path) -> Path:
    """The bundle with its only program beside it, so that its image builds from nothing."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("busybox (static) is not installed: apt-get install busybox-static")
    bundle = folder / "noop"
    shutil.copytree(ROOT / "benchmarks" / "noop", bundle)
    shutil.copy(busybox, bundle / "busybox")
    return bundle


class Customer:
    """Buys the same small job again and again."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        table = folder / "table.csv"
        table.write_text("a\n1\n")
        data = table.read_bytes()
        self.described = InputFile(name="table.csv", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        client.upload(table)
        self.count = 0

    def buys(self) -> float:
        """Milliseconds from the call that buys to a checked result on disk."""
        quote = self.client.quote("noop", parameters={}, inputs=[self.described], units=1)
        self.count += 1
        target = self.folder / f"result-{self.count}.txt"
        began = time.perf_counter()
        job = self.client.wait(self.client.buy(quote).id)
        if job.state != "settled":
            raise SystemExit(f"a run ended {job.state}: {job.reason}")
        self.client.download_file(job.id, "result.txt", target)
        receipt = self.client.receipt(job.id)
        context = self.client.context
        report = verify(receipt, [target], chain_id=context.chain_id, contract=context.contract)
        spent = time.perf_counter() - began
        if not report.valid:
            raise SystemExit("a receipt is not valid")
        return spent * 1000


def bare(image: str, folder: Path) -> Callable[[], float]:
    """Milliseconds of `docker run` of the same image with the cage's flags."""
    outputs = folder / "outputs"
    outputs.mkdir()
    outputs.chmod(0o777)
    command = [
        *(
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--read-only",
            "--user",
            "65532:65532",
            "--cap-drop",
            "ALL",
        ),
        *(
            "--security-opt",
            "no-new-privileges",
            "--pids-limit",
            "256",
            "--memory",
            "64m",
            "--memory-swap",
            "64m",
        ),
        *("--cpus", "1", "--tmpfs", "/tmp:size=16m", "--volume", f"{outputs}:/job/outputs", image),
        *("/bin/busybox", "sh", "-c", "echo done > /job/outputs/result.txt"),
    ]

    def run() -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - began) * 1000

    return run


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.support.devnet import running_devnet

    with tempfile.TemporaryDirectory(prefix="prixfixe-bench-") as name:
        folder = Path(name)
        bundle = noop_bundle(folder)
        with (
            running_devnet(folder / "market", workers=1, bundles=(bundle,)) as devnet,
            devnet.client() as client,
        ):
            image = client.bundle("noop").image
            customer, docker = Customer(client, folder), bare(image, folder)
            for _ in range(3):
                customer.buys(), docker()
            whole, alone = [], []
            for number in range(options.runs):
                whole.append(customer.buys())
                alone.append(docker())
                print(
                    f"{number + 1:3}  market {whole[-1]:7.1f} ms   docker run {alone[-1]:7.1f} ms",
                    file=sys.stderr,
                )
    added = statistics.median(whole) - statistics.median(alone)
    print(f"medians: market {statistics.median(whole):.1f} ms, docker run {statistics.median(alone):.1f} ms")
    print(
        json.dumps(
            {
                "name": "latency",
                "value": round(added, 1),
                "unit": "ms added at the median, automine chain",
                "goal": GOAL_MILLISECONDS,
                "ok": added < GOAL_MILLISECONDS,
                "ratio": round(statistics.median(whole) / statistics.median(alone), 3),
                "market_ms": round(statistics.median(whole), 1),
                "docker_run_ms": round(statistics.median(alone), 1),
                "runs": options.runs,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
