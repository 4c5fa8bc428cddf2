"""Long steps say how far they are, short ones say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.tables import Engine, open_table, progress
from prixfixe.tables.progress import Steps, watched
from prixfixe.tables.source import Source

ENGINE = Engine(threads=1, memory_mib=512)


def test_a_running_query_tells_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.005)
    told: list[float] = []
    with ENGINE.connect() as connection:
        connection.execute("CREATE TABLE numbers AS SELECT range AS n FROM range(2_000_000)")
        while len(told) < 2:  # a machine with nothing else to do may be done before it is asked
            with watched(connection, told.append):
                connection.execute("SELECT sum(hash(n) % 1000) FROM numbers").fetchone()
    assert all(0 < share <= 1 for share in told)


def test_a_file_in_another_encoding_has_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "é,1\n" * 500_000, encoding="cp1252")
    told: list[float] = []
    steps = Steps(told.append)
    with open_table(path, Source(encoding="cp1252"), report=steps.opening) as table:
        steps.reading(table)(0.5)
    assert told == [*sorted(told[:-1]), 0.75]
    assert told[-2] == 0.5


def test_what_is_done_at_once_is_not_talked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 60.0)  # so that a busy machine does it at once, too
    path = tmp_path / "t.csv"
    path.write_text("a,b\nx,1\n")
    told: list[float] = []
    steps = Steps(told.append)
    with open_table(path, report=steps.opening) as table:
        steps.reading(table)(1.0)
    assert told == []
