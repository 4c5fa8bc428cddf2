"""Processes of one machine on one SQLite file: what they share ends with each of them, however it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace.store import beside, tables
from marketplace.store.database import Raised, Store
from prixfixe.errors import Unavailable
from tests.support.neighbours import add, is_heard
from tests.support.scheduling import until

Neighbour = Callable[[str], "subprocess.Popen[str]"]

_NEIGHBOUR = """
import sys, time
from pathlib import Path
from sqlalchemy import insert
from marketplace.store import tables
from marketplace.store.database import Store
from tests.support.neighbours import add

store = Store(sys.argv[1], shared=True)
"""


@pytest.fixture
def neighbour(pair: tuple[Store, Store]) -> Iterator[Neighbour]:
    """Another process on the pair's database, once it said that it did as told; killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(does: str) -> subprocess.Popen[str]:
        script = f"{_NEIGHBOUR}{does}\n"
        command = [sys.executable, "-c", script, pair[0].url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate(timeout=20)


def _there(does: str) -> str:
    return f"{does}\nprint('there', flush=True)\ntime.sleep(600)"


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(20)


def _folder(store: Store) -> Path:
    assert store.engine.url.database is not None
    return beside.meeting(Path(store.engine.url.database))


def _pipes(store: Store) -> list[str]:
    return sorted(path.name for path in _folder(store).glob("*.wake"))


def test_a_process_hears_what_another_one_writes(pair: tuple[Store, Store], neighbour: Neighbour) -> None:
    first = pair[0]
    mark = first.sequence()
    neighbour(_there("add(store, 'a', 'nonces')"))
    assert first.wait(["nonces"], 20, since=mark) == {"nonces"}
    with first.read() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["a"]


def test_after_a_process_was_killed_the_others_look_at_everything(
    pair: tuple[Store, Store], neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have written something and not told it."""
    first, second = pair
    marks = first.sequence(), second.sequence()
    dead = neighbour(_there("store.sequence()"))
    assert len(_pipes(first)) == 3
    _kill(dead)
    with caplog.at_level(logging.WARNING):
        add(first, "a", "nonces")
    assert first.wait(["untold"], 20, since=marks[0]) == {"untold"}
    until(lambda: second.wait(["untold"], 1, since=marks[1]) == {"untold"}, "the second to look")
    assert len(_pipes(first)) == 2
    assert caplog.text.count("was killed") == 1
    add(first, "b", "nonces")
    assert caplog.text.count("was killed") == 1


def test_who_does_not_read_holds_nobody_up_and_looks_at_everything_later(
    pair: tuple[Store, Store], neighbour: Neighbour
) -> None:
    first = pair[0]
    busy = neighbour(
        "mark = store.sequence(['nonces'])\nprint('there', flush=True)\n"
        "print(store.wait(['untold'], 60, since=mark), flush=True)\ntime.sleep(600)"
    )
    (pipe,) = _pipes(first)
    busy.send_signal(signal.SIGSTOP)
    for number in range(10):
        add(first, f"{number}", *(f"job:{number}:{each:060d}" for each in range(200)))
    assert _pipes(first) == [], "more than a pipe holds was told"
    busy.send_signal(signal.SIGCONT)
    assert busy.stdout is not None
    assert busy.stdout.readline() == "{'untold'}\n"
    assert _pipes(first) == [pipe]


def test_who_reads_everything_while_it_is_given_up_notices(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other to listen")
    mark = second.sequence()
    write = os.write

    def full_once(file: int, message: bytes) -> int:
        monkeypatch.setattr(beside.os, "write", write)
        raise BlockingIOError

    monkeypatch.setattr(beside.os, "write", full_once)
    add(first, "a", "nonces")
    assert second.wait(["untold"], 20, since=mark) == {"untold"}
    until(lambda: is_heard(first, second), "the other to listen again")


def test_what_was_written_is_written_though_nobody_can_be_told(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = pair
    second.sequence()

    def out_of_files(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(beside.os, "listdir", out_of_files)
        add(first, "a")
    assert "not told" in caplog.text
    with second.read() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["a"]
    assert is_heard(first, second)


def test_who_ends_in_order_leaves_no_pipe_and_is_not_taken_for_dead(
    pair: tuple[Store, Store], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = pair
    first.sequence()
    second.sequence()
    with caplog.at_level(logging.WARNING):
        second.close()
        second.close()
        assert len(_pipes(first)) == 1
        add(first, "a")
    assert caplog.text == ""
    first.close()
    assert _pipes(first) == []


def test_who_does_not_get_its_turn_is_told_so_and_keeps_nothing(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    monkeypatch.setattr(beside, "PATIENCE_SECONDS", 0.05)
    with first.write():
        with pytest.raises(Unavailable) as refused:
            add(second, "late")
        (shared,) = second.each_together([lambda connection: None])
    assert isinstance(shared, Raised)
    assert {shared.error.code, refused.value.code} == {"store-unavailable"}  # type: ignore[attr-defined]
    add(second, "in time")
    with first.read() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["in time"]


def test_a_process_that_is_killed_while_it_writes_takes_its_turn_and_its_duties_with_it(
    pair: tuple[Store, Store], neighbour: Neighbour
) -> None:
    first = pair[0]
    writing = neighbour(
        "assert store.leading.leads('counting')\nwith store.write() as connection:\n"
        "    connection.execute(insert(tables.nonces).values(nonce='half', expires_at=1))\n"
        "    print('there', flush=True)\n    time.sleep(600)"
    )
    assert not first.leading.leads("counting")
    with first.read() as connection:
        assert first.leading.led(connection, ["counting", "resting"]) == {"counting"}
    _kill(writing)
    assert first.leading.leads("counting")
    add(first, "whole")
    with first.read() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["whole"]


def test_writers_of_several_processes_take_turns(pair: tuple[Store, Store], neighbour: Neighbour) -> None:
    """Each reads the number that it writes on, and none is lost."""
    count = (
        "def once(connection):\n"
        "    last = connection.exec_driver_sql('SELECT max(expires_at) FROM nonces').scalar_one() or 0\n"
        "    connection.execute(insert(tables.nonces).values(nonce=str(last + 1), expires_at=last + 1))\n"
    )
    scope: dict[str, Callable[..., None]] = {}
    exec(f"from sqlalchemy import insert\nfrom marketplace.store import tables\n{count}", scope)
    many = f"{count}for _ in range(50): store.together(once)\nprint('done', flush=True)"
    others = [neighbour("print('there', flush=True)\n" + many) for _ in range(2)]
    for _ in range(50):
        pair[0].together(scope["once"])
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "done\n"
    with pair[0].read() as connection:
        told = connection.execute(select(tables.nonces.c.expires_at)).scalars().all()
    assert sorted(told) == list(range(1, 151))
