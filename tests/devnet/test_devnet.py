"""One command brings up a market, others look at it and hurt it, and it goes on where it was left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from prixfixe.devnet.processes import alive
from prixfixe.devnet.state import load
from tests.support.devnet import PROBE, Devnet, running_devnet

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with running_devnet(tmp_path_factory.mktemp("devnet"), workers=1, bundles=()) as devnet:
        yield devnet


def test_it_makes_itself_the_current_context(devnet: Devnet) -> None:
    shown = json.loads(devnet.types("context", "show", "--json").stdout)
    assert devnet.state.service in json.dumps(shown)
    assert devnet.state.contract in json.dumps(shown)


def test_a_second_one_in_the_same_folder_is_refused(devnet: Devnet) -> None:
    refused = devnet.types("dev", "--folder", str(devnet.folder.root), "--detach", expect=None)
    assert refused.returncode != 0
    assert "prixfixe dev stop" in refused.stderr


def test_status_tells_what_runs(devnet: Devnet) -> None:
    told = json.loads(devnet.dev("status", "--json").stdout)
    assert {p["name"]: p["alive"] for p in told["processes"]} == {
        "chain": True,
        "service": True,
        "arbiter": True,
        "inspector": True,
        "worker-1": True,
    }


def test_the_chains_clock_moves(devnet: Devnet) -> None:
    before = devnet.chain.time
    told = json.loads(devnet.dev("advance", "2h", "--json").stdout)
    assert told["time"] - before >= 7200


def test_a_killed_worker_is_brought_back_as_it_was(devnet: Devnet) -> None:
    before = devnet.state.process("worker-1")
    assert before is not None
    devnet.dev("kill", "worker", "1")
    assert not alive(before)
    refused = devnet.types("dev", "--folder", str(devnet.folder.root), "kill", "worker", "1", expect=None)
    assert refused.returncode != 0
    devnet.dev("start", "worker", "1")
    again = devnet.state.process("worker-1")
    assert again is not None
    assert again.argv == before.argv
    assert alive(again)


def test_a_bundle_that_changed_under_its_version_does_not_keep_the_market_down(
    devnet: Devnet, tmp_path: Path
) -> None:
    bundle = tmp_path / "probe"
    shutil.copytree(PROBE, bundle)
    options = ("--workers", "1", "--bundle", str(bundle), "--port", "0", "--chain-port", "0", "--detach")
    devnet.dev("stop")
    devnet.dev(*options)
    (bundle / "probe.py").write_text("raise SystemExit('changed')\n")
    devnet.dev("stop")
    again = devnet.dev(*options)
    assert "prixfixe dev reset" in again.stderr
    with devnet.client() as client:
        assert client.bundle("probe").version == "1.0.0"


def test_reset_forgets_and_a_stopped_one_goes_on_where_it_was(devnet: Devnet) -> None:
    state, money = devnet.state, devnet.account().free
    processes = state.processes
    devnet.dev("stop")
    assert not any(alive(p) for p in processes)
    options = ("--workers", "1", "--no-bundles", "--port", "0", "--chain-port", "0", "--detach", "--json")
    devnet.dev(*options)
    assert devnet.state.contract == state.contract
    assert devnet.account().free == money
    devnet.kill("worker-1")  # its ready-made disk is still mounted
    devnet.dev("reset", "--yes")
    assert load(devnet.folder) is None
    assert str(devnet.folder.root) not in Path("/proc/mounts").read_text()
    devnet.dev(*options)
    assert devnet.account().free.units == 1_000_000_000
