"""docker-compose.yml brings up a whole market on PostgreSQL from images built here, and the main job runs
through it after the scheduler that led has been killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.devnet import ROOT, wait_for
from tests.support.looking import Visitor
from tests.support.ports import lasting_ports

# Twelve containers begin at once: on a busy machine that takes minutes.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def _compose_command() -> list[str]:
    """The engine's plugin where there is one, else the program of that name."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    program = shutil.which("docker-compose")
    assert program, "neither `docker compose` nor `docker-compose` is installed: scripts/setup --with compose"
    return [program]


class Composed:
    """A composed market: its ports, and a customer's and a pricing desk's commands."""

    def __init__(self, folder: Path) -> None:
        self.service, self.second, self.chain = lasting_ports(3)
        self.environment = {
            **os.environ,
            "SERVICE_PORT": str(self.service),
            "SECOND_PORT": str(self.second),
            "CHAIN_PORT": str(self.chain),
            "WORKER_DATA": str(folder / "workers"),
            "PRIXFIXE_HOME": str(folder / "home"),
            "COMPOSE_PROJECT_NAME": f"prixfixe-test-{os.getpid()}",
            "DOCKER_BUILDKIT": "0",
        }

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_compose_command(), *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=420,
        )

    def types(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prixfixe", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    market = Composed(tmp_path_factory.mktemp("compose"))
    subprocess.run([ROOT / "scripts" / "images"], check=True, env=market.environment)
    try:
        up = market.compose("up", "--detach", "--no-build")
        assert up.returncode == 0, up.stdout + up.stderr
        yield market
    finally:
        market.compose("down", "--volumes", "--timeout", "5")


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/ready", trust_env=False, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _is_healthy(composed: Composed, name: str) -> bool:
    """As the engine finds by the container's own check."""
    container = composed.compose("ps", "--quiet", name).stdout.strip()
    asked = ["docker", "inspect", "--format", "{{.State.Health.Status}}", container]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "healthy"


def _leads_the_relayer(composed: Composed, name: str) -> bool:
    return "this process leads the relayer" in composed.compose("logs", "--no-color", name).stdout


def test_the_main_job_runs_through_a_composed_market_of_which_a_leader_was_killed(
    composed: Composed, tmp_path: Path
) -> None:
    service, rpc = f"http://127.0.0.1:{composed.service}", f"http://127.0.0.1:{composed.chain}"
    ports = (composed.service, composed.second)
    wait_for(lambda: all(map(_ready, ports)), 180, "both API processes, and a leader of each duty")
    schedulers = ["scheduler-1", "scheduler-2"]
    leader = wait_for(  # the engine's log may be a moment late
        lambda: next((name for name in schedulers if _leads_the_relayer(composed, name)), ""),
        60,
        "the leader's line in the log",
    )
    other = schedulers[1 - schedulers.index(leader)]
    wait_for(lambda: _is_healthy(composed, other), 60, "the health of a scheduler that stands by")
    composed.compose("kill", "-s", "KILL", leader)
    wait_for(lambda: _leads_the_relayer(composed, other), 60, "the other scheduler to take over")

    contract = httpx.get(f"{service}/v1/market").json()["contract"]
    known = ["--service", service, "--rpc", rpc, "--chain-id", "31337", "--contract", contract]
    composed.types("context", "add", "composed", *known, "--key", "dev:3")
    composed.types("pricing", "publish", "bundles/pivot", "--key", "dev:1", "--yes", "--json")

    table = tmp_path / "sales.csv"
    table.write_text("region,month,amount\n" + "".join(f"r{n % 7},{n % 12},{n}.25\n" for n in range(5000)))
    out, receipt = tmp_path / "sales.xlsx", tmp_path / "receipt.json"
    arguments = ("--rows", "region", "--columns", "month", "--values", "amount:sum")
    types = ("--types", "amount:decimal(18,2)")
    files = ("--out", str(out), "--receipt", str(receipt))
    ran = composed.types("run", "pivot", str(table), *arguments, *types, *files, "--yes", "--json")
    ended = json.loads(ran.splitlines()[-1])
    assert ended["state"] == "settled"
    # One id finds the job in the log of the scheduler that took over.
    log = composed.compose("logs", "--no-color", other).stdout
    assert [line for line in log.splitlines() if ended["job"] in line and "job ended settled" in line]
    assert json.loads(composed.types("verify", str(receipt), str(out), "--json"))["valid"] is True

    # The inspector looks at a file that somebody sends from a page, before anything is ordered.
    with httpx.Client(base_url=service, timeout=90, trust_env=False) as http:
        found = Visitor(http).inspected("sales.csv", table.read_bytes())
    assert found.state == "done", found
    assert found.seen is not None
    assert [column.name for column in found.seen.columns] == ["region", "month", "amount"]

    # The arbiter runs it again in a container of its own, and finds the very same workbook.
    judged = composed.types("challenge", ended["job"], "--receipt", str(receipt), "--yes", "--json")
    assert json.loads(judged)["outcome"] == "acquitted"
