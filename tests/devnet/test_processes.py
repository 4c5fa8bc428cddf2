"""Processes are known by id and start time, so that nothing else is ever signalled."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.devnet.processes import alive, send, spawn, stop, tail, wait_gone, wait_ready
from prixfixe.errors import ConfigurationError

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)",
]


def test_a_process_runs_until_it_is_stopped(tmp_path: Path) -> None:
    record = spawn("sleeper", SLEEPER, tmp_path / "log")
    assert alive(record)
    stop(record)
    assert not alive(record)


def test_one_that_ignores_the_request_is_made_to_end(tmp_path: Path) -> None:
    record = spawn("stubborn", STUBBORN, tmp_path / "log")
    wait_ready(record, lambda: "up" in tail(tmp_path / "log"), 10)
    stop(record, 0.2)
    assert wait_gone(record, 5)


def test_an_id_that_was_given_to_another_process_is_not_signalled() -> None:
    from prixfixe.devnet.processes import ProcessRecord, _stat

    found = _stat(os.getpid())
    assert found is not None
    mine = ProcessRecord("test", os.getpid(), found[1], (), "")
    assert alive(mine)
    impostor = replace(mine, born=mine.born - 1)
    assert not alive(impostor)
    assert not send(impostor, signal.SIGKILL)


def test_an_early_death_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    record = spawn(
        "broken", [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], tmp_path / "log"
    )
    with pytest.raises(ConfigurationError, match="no such luck"):
        wait_ready(record, lambda: False, 10)
