"""A run notes when each of its steps begins, for whoever measures it, and only when it is asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.cli.times import VARIABLE
from tests.cli.conftest import Terminal
from tests.support.service import World

RUN = ("run", "echo", "table.csv", "--word", "hello", "--yes", "--detach")


def test_the_steps_of_a_run_are_noted_in_order(
    types: Terminal, world: World, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = tmp_path / "times"
    monkeypatch.setenv(VARIABLE, str(times))
    assert types(*RUN).code == 0
    lines = [line.split(" ", 1) for line in times.read_text().splitlines()]
    assert [step for _, step in lines] == [
        "start",
        "asking for the bundle",
        "guessing",
        "converting",
        "asking for the price",
        "uploading",
        "ordering",
    ]
    seconds = [float(at) for at, _ in lines]
    assert seconds == sorted(seconds)


def test_nobody_asked_and_nothing_is_written(
    types: Terminal, world: World, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = {path.name for path in tmp_path.iterdir()}
    assert types(*RUN).code == 0
    assert {path.name for path in tmp_path.iterdir()} == before
