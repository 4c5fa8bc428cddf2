"""Processes of one machine on one SQLite file: what they share ends with each of them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select as selecting
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from marketplace.store import beside, engines, tables
from marketplace.store.database import Raised, Store
from prixfixe.errors import ConfigurationError, Unavailable
from tests.support.neighbours import add, is_heard
from tests.support.scheduling import until

Neighbour = Callable[..., "subprocess.Popen[str]"]

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
    """Another process on the pair's database, once it said that it did as told; killed at the end. meanwhile:
    what is done again and again until then."""
    running: list[subprocess.Popen[str]] = []

    def start(does: str, meanwhile: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        script = f"{_NEIGHBOUR}{does}\n"
        command = [sys.executable, "-c", script, pair[0].url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        running.append(process)
        assert process.stdout is not None
        while meanwhile is not None and not selecting.select([process.stdout], [], [], 0.1)[0]:
            meanwhile()
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
    first.sequence(), second.sequence()
    dead = neighbour(_there("store.sequence()"))
    until(lambda: len(_pipes(first)) == 3, "all three to listen")
    marks = first.sequence(), second.sequence()
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
        "store.wait(['nonces'], 60)\nmark = store.sequence()\nprint('there', flush=True)\n"
        "print(store.wait(['untold'], 60, since=mark), flush=True)\ntime.sleep(600)",
        lambda: add(first, os.urandom(8).hex()),
    )
    (pipe,) = _pipes(first)
    busy.send_signal(signal.SIGSTOP)
    for number in range(10):
        add(first, f"{number}", *(f"job:{number}:{each:060d}" for each in range(200)))
    assert _pipes(first) == [], "more than a pipe holds was told"
    busy.send_signal(signal.SIGCONT)
    assert busy.stdout is not None
    assert busy.stdout.readline() == "{'untold'}\n"
    until(lambda: _pipes(first), "it to listen again")
    assert _pipes(first) != [pipe], "who takes a pipe away late may mean the one before"


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


def test_what_nobody_could_be_told_is_written_and_made_up_for(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other to listen")
    mark = second.sequence()

    def out_of_files(*_: object) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(beside.os, "listdir", out_of_files)
        add(first, "a", "missed")
    assert "not told" in caplog.text
    with second.read() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["a"]
    add(first, "b", "nonces")
    assert second.wait(["missed"], 20, since=mark) == {"missed"}


def test_who_cannot_listen_now_does_later_and_its_duties_live(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = pair
    make, refused = os.mkfifo, []

    def full(path: Path, mode: int) -> None:
        if len(refused) < 2:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        make(path, mode)

    monkeypatch.setattr(beside.os, "mkfifo", full)
    with caplog.at_level(logging.WARNING):
        until(lambda: is_heard(first, second), "the other to listen")
    assert caplog.text.count("No space left") == 1
    assert len(refused) == 2


def test_what_is_no_pipe_of_ours_and_many_of_the_dead_keep_nobody_from_hearing(
    pair: tuple[Store, Store],
) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other to listen")
    folder = _folder(first)
    (folder / "0-folder.wake").mkdir()
    for number in range(1200):
        os.mkfifo(folder / f"{number}-dead.wake")
    add(first, "a")
    assert len(_pipes(first)) == 2
    until(lambda: is_heard(first, second), "the other to be heard")


def test_a_database_where_processes_cannot_meet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db.processes").touch()
    with pytest.raises(ConfigurationError) as refused:
        Store(f"sqlite:///{tmp_path / 'a.db'}", shared=True)
    assert refused.value.code == "no-meeting"


def test_one_database_by_two_names_has_one_leader(pair: tuple[Store, Store], tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(_folder(pair[0]).with_suffix(""))
    other = Store(f"sqlite:///{link}", shared=True)
    assert pair[0].leading.leads("counting")
    assert not other.leading.leads("counting")
    other.close()


def test_when_the_folder_is_deleted_who_led_leads_no_more(pair: tuple[Store, Store]) -> None:
    first, second = pair
    assert first.leading.leads("counting")
    shutil.rmtree(_folder(first))
    assert second.leading.leads("counting")
    with pytest.raises(Unavailable) as refused, first.led("counting"), first.write():
        pass
    assert refused.value.code == "not-leading"
    assert not first.leading.leads("counting")
    with second.led("counting"), second.write():
        pass
    until(lambda: is_heard(first, second), "each other to be heard again")


def test_who_ends_in_order_leaves_no_pipe_and_is_not_taken_for_dead(
    pair: tuple[Store, Store], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = pair
    until(lambda: is_heard(first, second) and is_heard(second, first), "both to listen")
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
    monkeypatch.setattr(engines, "PATIENCE_SECONDS", 0.05)
    with first.write():
        with pytest.raises(Unavailable) as refused:
            add(second, "late")
        several = second.each_together([lambda connection: None] * 3)
    told = {each.error for each in several if isinstance(each, Raised)}
    assert len(told) == 1, "each waited by itself"
    assert {each.code for each in (refused.value, *told)} == {"store-unavailable"}  # type: ignore[union-attr]
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


def test_who_just_wrote_stands_behind_who_waits(pair: tuple[Store, Store]) -> None:
    first, second = pair
    thread = threading.Thread(target=add, args=(second, "waits"))
    with first.write():
        thread.start()
        with (_folder(first) / "next").open() as file:

            def waits() -> bool:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                fcntl.flock(file, fcntl.LOCK_UN)
                return False

            until(waits, "the other to wait")
    with first.write() as connection:
        assert connection.execute(select(tables.nonces.c.nonce)).scalars().all() == ["waits"]
    thread.join(20)


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
