"""`prixfixe run`, killed or interrupted while it uploads, goes on where it was when it is typed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from marketplace.uploads import Append
from prixfixe.client.contexts import Context, save_context
from prixfixe.protocol.bundle import load
from prixfixe.protocol.hashing import sha256_file
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, DEFINITION, World
from tests.support.serving import served

BUNDLES = Path(__file__).parents[2] / "bundles"
MIB = 2**20
SIZE = 20 * MIB
# A run in a shell's background hands an ignored SIGINT down; this test is about one that is heard.
HEARD = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " runpy.run_module('prixfixe', run_name='__main__', alter_sys=True)"
)
COMMAND = ("run", "echo", "large.bin", "--word", "hello", "--yes", "--detach")
PIVOT = ("run", "pivot", "large.csv", "--rows", "name", "--values", "amount:sum", "--yes", "--detach")


def typed(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEARD, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@dataclass
class Gate:
    """Lets so many bytes into the service, counts them all, and then holds the sender until it opens."""

    closes_after: int
    arrived: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(closes_after=9 * MIB)
    write = Append.write

    def counted(self: Append, chunk: bytes) -> None:
        if made.arrived >= made.closes_after:
            made.reached.set()
            made.open.wait(60)
        write(self, chunk)
        made.arrived += len(chunk)

    monkeypatch.setattr(Append, "write", counted)
    yield made
    made.open.set()


@pytest.fixture
def market(tmp_path: Path, home: Path) -> Iterator[World]:
    with served(tmp_path / "service", max_blob_bytes=64 * MIB) as (world, url):
        world.publish(inputs={**DEFINITION["inputs"], "max_bytes": 64 * MIB})
        save_context(Context("test", url, CHAIN_ID, CONTRACT, key="dev:3"))
        yield world


@pytest.mark.network_ports
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_was_ended_goes_on_where_it_was(
    market: World, gate: Gate, tmp_path: Path, number: signal.Signals
) -> None:
    source = tmp_path / "large.bin"
    source.write_bytes(os.urandom(MIB) * (SIZE // MIB))
    sha256, _ = sha256_file(source)
    with typed(*COMMAND) as first:
        try:
            assert gate.reached.wait(60), "the upload began"
            first.send_signal(number)
            told = first.communicate(timeout=60)[1]
        finally:
            first.kill()
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert "nothing was ordered and nothing was charged" in told
        assert "goes on where it stopped" in told
    gate.open.set()
    with typed(*COMMAND) as second:
        job, told = second.communicate(timeout=60)
    assert second.returncode == 0, told
    assert market.services.jobs.get(job.strip(), CUSTOMER.address).state == "queued"
    blob = market.services.blobs.open(sha256, CUSTOMER.address)
    assert sha256_file(blob.path) == (sha256, SIZE)
    # What was on the line when the first one ended may be sent twice, and nothing else.
    assert SIZE <= gate.arrived <= SIZE + MIB


@pytest.mark.network_ports
def test_a_killed_run_of_a_large_table_goes_on_with_the_bytes_that_it_had_made(
    market: World, gate: Gate, tmp_path: Path, home: Path
) -> None:
    market.publish(**load(BUNDLES / "pivot").with_image("sha256:" + "ab" * 32).to_json())
    names = os.urandom(16 * 620_000).hex()
    with (tmp_path / "large.csv").open("w") as file:
        file.write("name,amount,other\n")
        file.writelines(f"{names[at : at + 32]},1,xxxxxxxx\n" for at in range(0, len(names), 32))
    gate.closes_after = MIB

    with typed(*PIVOT) as first:
        try:
            assert gate.reached.wait(60), "the upload began"
        finally:
            first.kill()
    (made,) = home.glob("conversions/*/large.parquet")
    sha256, size = sha256_file(made)
    assert size > 8 * MIB, "large enough to go in parts"
    gate.open.set()
    with typed(*PIVOT) as second:
        job, told = second.communicate(timeout=60)
    assert second.returncode == 0, told
    assert "large.csv was checked before" in told
    assert market.services.jobs.get(job.strip(), CUSTOMER.address).state == "queued"
    blob = market.services.blobs.open(sha256, CUSTOMER.address)
    assert sha256_file(blob.path) == (sha256, size)
    assert gate.arrived <= size + MIB, "it was not sent anew"
    assert list(home.glob("conversions/*")) == [], "what is paid for is not kept"
