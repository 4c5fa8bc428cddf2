"""A worker that is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prixfixe.protocol.wire import Assignment
from tests.worker.conftest import Stage
from worker.containers import container_name
from worker.engine import Engine


def killed_while_running(
    stage: Stage, engine: Engine, script: str, *, task: int = 0, slots: int = 1, **options: Any
) -> Assignment:
    """Run a worker in a process of its own and kill it (SIGKILL) while the container of `task` runs. slots:
    of the worker, and of the ask that is matched."""
    settings = stage.settings
    command = [
        *(
            str(Path(sys.executable).parent / "prixfixe"),
            "worker",
            "start",
            "--service",
            settings.service,
        ),
        *("--rpc", settings.rpc, "--provider", settings.provider, "--key", settings.key, "--vcpu", "0.5"),
        *("--memory", "256", "--disk", "64", "--data", str(settings.data), "--slots", str(slots), "--json"),
    ]
    given = stage.assign(script, max_seconds=60, slots=slots, **options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(150, process.kill)
    watchdog.start()
    try:
        until = time.monotonic() + 120
        while True:
            state = engine.state(container_name(given.attempt, task))
            if state is not None and state.status != "created":
                break
            assert time.monotonic() < until, (
                process.stdout.read() if process.poll() is not None else "no container"
            )
            time.sleep(0.02)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return given
