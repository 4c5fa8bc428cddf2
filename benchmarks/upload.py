"""`scripts/bench upload`: 1.5 GB into the service beside `cp` and a hash of the same file.

The service is the real one: its HTTP server, its store and its blobs, in a process of its own, and the client
sends as `prixfixe run` does: in parts, hashed before and checked after. Beside it, in the same run and in
turns: `cp` to the same disk, flushed, then SHA-256 of the copy in Python, as the service computes it. Speed
is the file's size by the time until the blob is there; memory is the service's resident set without file
mappings, before and at its highest while it receives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prixfixe.client import Client, Context
from prixfixe.client.files import describe_input
from prixfixe.protocol.manifest import InputFile

ROOT = Path(__file__).resolve().parents[1]
GOAL_RATIO = 1 / 3
GOAL_GROWTH_MIB = 50.0
_SERVICE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.support.serving import served
with served(Path(sys.argv[2]), max_blob_bytes=8 * 2**30) as (world, url):
    print(url, flush=True)
    sys.stdin.read()
"""


def table(path: Path, size: int) -> None:
    """A file whose bytes do not repeat, so that nothing on the way can save any."""
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 1 << 24)))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int]]:
    """A service in a process of its own; its address and process id."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVICE, str(ROOT), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.stdin.close()
        process.wait(30)


class Memory:
    """Watches a process's own memory."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.before = self._now()
        self.most = self.before
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def growth_mib(self) -> float:
        self._over.set()
        self._thread.join()
        return (self.most - self.before) / 1024

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._now())

    def _now(self) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise SystemExit("the kernel does not say how much memory a process has")


def copied(source: Path, folder: Path) -> float:
    """Seconds of `cp`, flush and hash."""
    target = folder / "copy"
    began = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    with target.open("rb") as stream:
        hashlib.file_digest(stream, "sha256")
    spent = time.perf_counter() - began
    target.unlink()
    return spent


def uploaded(client: Client, source: Path, file: InputFile) -> float:
    """Seconds until the service has the file, checked and flushed."""
    began = time.perf_counter()
    client.upload(source, file)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench upload", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=1_500_000_000)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.support.service import CHAIN_ID, CONTRACT

    with tempfile.TemporaryDirectory(prefix="prixfixe-bench-", dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        source = folder / "table.bin"
        alone, whole, growth = [], [], []
        with service(folder / "service") as (url, pid):
            context = Context("bench", url, CHAIN_ID, CONTRACT, key="dev:3")
            with Client(context) as client:
                small = folder / "small.bin"
                table(small, 40 * 2**20)
                client.upload(small)  # what is loaded once is not growth
                for number in range(options.runs):
                    table(source, options.bytes)
                    file = describe_input(source)
                    alone.append(copied(source, folder))
                    memory = Memory(pid)
                    whole.append(uploaded(client, source, file))
                    growth.append(memory.growth_mib())
                    print(
                        f"{number + 1:3}  cp and hash {alone[-1]:6.2f} s   upload {whole[-1]:6.2f} s"
                        f"   service grew by {growth[-1]:5.1f} MiB",
                        file=sys.stderr,
                    )
                    for blob in (folder / "service" / "blobs").glob("??/*"):
                        blob.unlink()
    ratio = statistics.median(alone) / statistics.median(whole)
    print(
        json.dumps(
            {
                "name": "upload",
                "value": round(ratio, 3),
                "unit": "of the speed of cp and hash, at the median",
                "goal": round(GOAL_RATIO, 3),
                "ok": ratio >= GOAL_RATIO and max(growth) < GOAL_GROWTH_MIB,
                "bytes": options.bytes,
                "copy_seconds": round(statistics.median(alone), 2),
                "upload_seconds": round(statistics.median(whole), 2),
                "service_growth_mib": round(max(growth), 1),
                "runs": options.runs,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
