"""A provider's first day, as typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.devnet import Devnet, wait_for

pytestmark = pytest.mark.engine


def test_from_nothing_to_first_earnings_in_three_commands(shared_devnet: Devnet, tmp_path: Path) -> None:
    """1. `worker init`, 2. `worker start`, 3. `worker earnings`; between them somebody buys."""
    password = tmp_path / "password"
    password.write_text("of the provider's own key\n")
    made = shared_devnet.types(
        *("worker", "init", "--yes"), cwd=tmp_path, PRIXFIXE_PASSWORD_FILE=str(password)
    )
    assert "next: prixfixe worker start" in made.stdout
    running = subprocess.Popen(
        # The rate is so that of all workers of this devnet it is this one that gets the job.
        [sys.executable, "-m", "prixfixe", "worker", "start", "--rate", "0.0001", "--minimum", "0.0001"],
        cwd=tmp_path,
        env=shared_devnet.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert running.stdout is not None
        assert "ready" in running.stdout.readline()
        wait_for(lambda: (tmp_path / "prixfixe-worker" / "quoted.json").exists(), 60, "an ask")
        shared_devnet.run("ok", 3)
        told = shared_devnet.types("worker", "earnings", "--json", cwd=tmp_path)
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
    total = json.loads(told.stdout)["total"]
    assert (total["lots"], total["tasks"], int(total["earned"]) > 0) == (1, 1, True)
    assert running.returncode == 0
