"""A step runs when its result is missing, is skipped when it is there, and half a result is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toolchain import venv
from toolchain.project import ROOT, ScriptError, run_logged, write_last
from toolchain.steps import Step, run_all


def step(path: Path, ran: list[str]) -> Step:
    def make() -> None:
        ran.append(path.name)
        write_last(path, "made")

    return Step(path.name, "making it", lambda: None if path.exists() else "not there", make)


def test_only_what_is_missing_runs(tmp_path: Path) -> None:
    ran: list[str] = []
    steps = [step(tmp_path / "first", ran), step(tmp_path / "second", ran)]
    (tmp_path / "first").write_text("made")
    assert run_all(steps) == 1
    assert ran == ["second"]
    assert run_all(steps) == 0


def test_a_failing_step_stops_the_rest_and_runs_again(tmp_path: Path) -> None:
    ran: list[str] = []
    fails = [True]

    def make() -> None:
        if fails.pop():
            raise ScriptError("the network is away")
        write_last(tmp_path / "first", "made")

    first = Step("first", "making", lambda: None if (tmp_path / "first").exists() else "not there", make)
    steps = [first, step(tmp_path / "second", ran)]
    with pytest.raises(ScriptError, match="network"):
        run_all(steps)
    assert ran == []
    fails.append(False)
    assert run_all(steps) == 2


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_last(tmp_path / "deep" / "stamp", "all of it")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["stamp"]


def test_a_failing_command_shows_the_end_of_its_log() -> None:
    with pytest.raises(ScriptError, match=r"(?s)ended with status 3.*test-probe\.log.*no such luck"):
        run_logged("test-probe", [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"])


def test_an_environment_killed_half_way_is_finished_by_the_next_run(tmp_path: Path) -> None:
    """The real step on a real, small lock: killed without warning once the folder is there."""
    folder, lock = tmp_path / "venv", ROOT / "requirements" / "uv.txt"
    code = (
        "from pathlib import Path\nfrom toolchain import venv\n"
        f"venv.make(Path({str(folder)!r}), Path({str(lock)!r}), project=False)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    first = subprocess.Popen([sys.executable, "-c", code], env=env, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (folder / "bin" / "python").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()

    assert venv.missing(folder, lock) is not None
    venv.make(folder, lock, project=False)
    assert venv.missing(folder, lock) is None
    assert (folder / "bin" / "uv").exists()


def test_another_lock_makes_the_environment_stale(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    lock = tmp_path / "lock.txt"
    lock.write_text("one")
    write_last(folder / "bin" / "python", "")
    assert venv.missing(folder, lock) == "not finished"
    write_last(folder / venv.STAMP, venv._wanted(lock))
    assert venv.missing(folder, lock) is None
    lock.write_text("two")
    assert venv.missing(folder, lock) == "locks, Python or place changed"
