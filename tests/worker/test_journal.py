"""What a worker must not forget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prixfixe.errors import Conflict
from prixfixe.protocol.deals import refusal_root
from prixfixe.protocol.orders import Result
from worker.journal import Journal, TaskRow

DEAL = b"\x01" * 32
SUCCESS = Result(DEAL, b"\x02" * 32, 1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_an_attempt_is_taken_once(journal: Journal) -> None:
    assert journal.take("a", "{}")
    assert not journal.take("a", "{}")


def test_everything_unfinished_is_there_after_a_restart(journal: Journal, tmp_path: Path) -> None:
    for name in ("taken", "running", "finished", "reported", "dropped"):
        journal.take(name, f'"{name}"')
    for name in ("running", "finished", "reported"):
        journal.running(name, 0, "c-" + name, tmp_path / name)
    for name in ("finished", "reported"):
        journal.finished(name, "report")
    journal.reported("reported")
    journal.dropped("dropped")
    journal.close()
    again = Journal(tmp_path / "journal.db")
    rows = {row.id: row for row in again.unfinished()}
    assert set(rows) == {"taken", "running", "finished"}
    assert again.tasks("running") == {0: TaskRow(0, "c-running", tmp_path / "running", None, None)}
    assert again.disks() == {tmp_path / "running", tmp_path / "finished"}
    assert rows["finished"].report == "report"
    assert again.counts() == dict.fromkeys(("taken", "running", "finished", "reported", "dropped"), 1)
    again.close()


def test_no_step_is_taken_from_where_it_cannot_be(journal: Journal, tmp_path: Path) -> None:
    journal.take("a", "{}")
    with pytest.raises(Conflict):
        journal.reported("a")
    journal.finished("a", "r")
    journal.reported("a")
    for step in (lambda: journal.running("a", 0, "c", tmp_path), lambda: journal.finished("a", "r"),
                 lambda: journal.dropped("a"), lambda: journal.reported("b")):  # fmt: skip
        with pytest.raises(Conflict):
            step()


class TestPromises:
    def test_the_same_result_may_be_promised_again(self, journal: Journal) -> None:
        journal.promise(SUCCESS, 5)
        journal.promise(SUCCESS, 9)

    def test_another_success_for_the_same_deal_is_never_signed(self, journal: Journal) -> None:
        journal.promise(SUCCESS, 5)
        with pytest.raises(Conflict, match="was promised"):
            journal.promise(Result(DEAL, b"\x03" * 32, 1), 5)

    def test_each_opening_of_a_deal_may_be_refused_and_a_later_one_succeed(self, journal: Journal) -> None:
        for due in (5, 9):
            journal.promise(Result(DEAL, refusal_root(due), 0), due)
        journal.promise(SUCCESS, 12)

    def test_promises_outlive_the_attempts(self, journal: Journal) -> None:
        journal.take("a", "{}")
        journal.promise(SUCCESS, 5)
        journal.finished("a", "r")
        journal.reported("a")
        journal.forget_before(2**40)
        assert journal.attempt("a") is None
        with pytest.raises(Conflict):
            journal.promise(Result(DEAL, b"\x03" * 32, 1), 5)
