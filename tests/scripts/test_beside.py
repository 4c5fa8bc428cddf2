"""Runners beside pytest: quiet until they are joined, counted as ever, and ended with the script."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from toolchain.beside import Command, Runs
from toolchain.counting import Counts, read_closing


def command(code: str, tmp_path: Path) -> Command:
    return Command((sys.executable, "-c", code), os.environ, tmp_path, read_closing)


def test_what_they_say_comes_when_they_are_joined_in_their_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = command("print('2 passed, 0 failed, 0 skipped')", tmp_path)
    second = command("print('1 passed, 1 failed, 0 skipped'); raise SystemExit(1)", tmp_path)
    with Runs([("first", first), ("second", second)], quiet=True) as runs:
        assert capfd.readouterr().out == ""
        assert runs.join() == {"first": Counts(2, 0, 0), "second": Counts(1, 1, 0)}
    assert capfd.readouterr().out.splitlines() == [
        "2 passed, 0 failed, 0 skipped",
        "1 passed, 1 failed, 0 skipped",
    ]


@pytest.mark.parametrize("quiet", [True, False])
def test_one_that_dies_or_cannot_start_has_failed_and_the_next_still_runs(
    tmp_path: Path, quiet: bool
) -> None:
    gone = Command(("/nothing/here",), os.environ, tmp_path, read_closing)
    died = command("raise SystemExit(3)", tmp_path)
    fine = command("print('1 passed, 0 failed, 0 skipped')", tmp_path)
    with Runs([("gone", gone), ("died", died), ("fine", fine)], quiet=quiet) as runs:
        found = runs.join()
    assert found == {"gone": Counts(failed=1), "died": Counts(failed=1), "fine": Counts(1)}


def test_left_early_it_ends_what_still_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"
    slow = command(
        f"import os,time; open({str(started)!r},'w').write(str(os.getpid())); time.sleep(600)", tmp_path
    )

    def interrupted() -> None:
        with Runs([("slow", slow)], quiet=True):
            deadline = time.monotonic() + 30
            while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not Path(f"/proc/{started.read_text()}").exists()
