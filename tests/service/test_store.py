"""The store: transactions that commit whole, readers that never wait, wake-ups that are never lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, insert, select
from sqlalchemy.exc import IntegrityError

from marketplace.store import tables
from marketplace.store.database import Store
from marketplace.store.engines import read_json, write_json
from marketplace.store.topics import Topics
from prixfixe.errors import ConfigurationError, Conflict, InvalidInput
from tests.support.stores import migrated_store

pytestmark = pytest.mark.both_databases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = migrated_store(tmp_path / "store.db")
    if store.engine.dialect.name == "postgresql":
        store.wait(["anything"], 20, since=0)  # it listens: nothing wakes for caution any more
    yield store
    store.close()


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """Another process's view of the same store."""
    other = Store(store.url)
    yield other
    other.close()


def _insert(connection: Connection, nonce: str) -> None:
    connection.execute(insert(tables.nonces).values(nonce=nonce, expires_at=1))


def _add(store: Store, nonce: str) -> None:
    with store.write() as connection:
        _insert(connection, nonce)
        store.notify(connection, "nonces")


def _nonces(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.execute(select(tables.nonces.c.nonce)).scalars())


def _come_at_once(store: Store, calls: Sequence[Callable[[], None]]) -> None:
    """All of them ask for the writer while another one has it."""
    threads = [threading.Thread(target=call) for call in calls]
    with store.write():
        for thread in threads:
            thread.start()
        until = time.monotonic() + 10
        while len(store._wishes) < len(calls) and time.monotonic() < until:
            time.sleep(0.005)
    for thread in threads:
        thread.join(10)


def test_a_write_is_seen_by_the_next_read(store: Store) -> None:
    _add(store, "a")
    assert _nonces(store) == {"a"}


def test_an_exception_rolls_back_and_sends_no_wake_up(store: Store) -> None:
    mark = store.sequence()

    def fail() -> None:
        with store.write() as connection:
            connection.execute(insert(tables.nonces).values(nonce="a", expires_at=1))
            store.notify(connection, "nonces")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _nonces(store) == set()
    assert store.wait(["nonces"], timeout=0, since=mark) == set()


def test_a_read_keeps_its_state_while_others_write(store: Store) -> None:
    with store.read() as connection:
        assert connection.execute(select(tables.nonces)).all() == []
        _add(store, "a")
        assert connection.execute(select(tables.nonces)).all() == []
    assert _nonces(store) == {"a"}


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(tables.nonces).values(nonce="a", expires_at=1))
        assert _nonces(store) == set()


def test_writers_of_many_threads_and_two_stores_take_turns(store: Store, other: Store) -> None:
    threads = [
        threading.Thread(target=_add, args=(chosen, f"{index}"))
        for index, chosen in enumerate([store, other] * 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_nonces(store)) == 40


def test_writers_who_wait_together_share_a_flush_and_each_has_its_own_answer(
    store: Store,
) -> None:
    """Twenty come while a writer is busy; a third of them fail, and undo only what they did themselves."""
    commits = 0

    def count(_: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(store.engine, "commit", count)
    mark = store.sequence()
    answers: dict[int, object] = {}

    def come(number: int) -> None:
        def work(connection: Connection) -> int:
            _insert(connection, str(number))
            store.notify(connection, f"topic:{number}")
            if number % 3 == 0:
                raise Conflict(f"number {number}")
            return number

        try:
            answers[number] = store.together(work)
        except Conflict as error:
            answers[number] = error.message

    _come_at_once(store, [lambda number=number: come(number) for number in range(20)])
    assert commits == 2  # the busy writer's, and that of all twenty
    good = {number for number in range(20) if number % 3}
    assert _nonces(store) == {str(number) for number in good}
    assert answers == {number: number if number in good else f"number {number}" for number in range(20)}
    topics = {f"topic:{number}" for number in range(20)}
    assert store.wait(topics, 0.0, mark) == {f"topic:{number}" for number in good}


def _waits_for_the_disk(connection: Connection) -> bool:
    """Whether the commit of this transaction will."""
    if connection.dialect.name == "sqlite":
        return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2)
    return bool(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on")


def test_only_work_that_asks_for_it_is_not_flushed(store: Store) -> None:
    seen: list[tuple[str, bool]] = []

    def work(name: str, flush: bool) -> None:
        store.together(lambda connection: seen.append((name, _waits_for_the_disk(connection))), flush=flush)

    for name, flush in (("order", True), ("quote", False), ("order", True)):
        work(name, flush)
    assert seen == [("order", True), ("quote", False), ("order", True)]
    _come_at_once(store, [lambda: work("quote", False), lambda: work("order", True)])
    assert {flushed for _, flushed in seen[3:]} == {True}
    work("quote", False)
    with store.write() as connection:
        assert _waits_for_the_disk(connection)


def test_what_ends_a_shared_transaction_costs_the_others_nothing(store: Store) -> None:
    """As a full disk does: the transaction is gone, and with it what others had done in it."""
    answers: list[object] = []

    def come(work: Callable[[Connection], object]) -> None:
        try:
            answers.append(store.together(work))
        except Conflict as error:
            answers.append(error.message)

    def ends_all(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise Conflict("the disk is full")

    works: list[Callable[[Connection], object]] = [
        lambda c: _insert(c, "a"),
        ends_all,
        lambda c: _insert(c, "b"),
    ]
    _come_at_once(store, [lambda work=work: come(work) for work in works])
    assert _nonces(store) == {"a", "b"}
    assert sorted(map(str, answers)) == ["None", "None", "the disk is full"]


def test_what_a_writer_has_read_stays_true_until_it_commits(store: Store, other: Store) -> None:
    """Each of many counts what is there and adds one more, in two processes: no count is taken twice."""

    def count_up(chosen: Store) -> None:
        with chosen.write() as connection:
            number = connection.execute(select(func.count()).select_from(tables.nonces)).scalar_one()
            connection.execute(insert(tables.nonces).values(nonce=f"{number}", expires_at=1))

    threads = [threading.Thread(target=count_up, args=(chosen,)) for chosen in [store, other] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _nonces(store) == {f"{number}" for number in range(16)}


def test_a_statement_that_failed_and_was_not_taken_back_is_no_silent_loss(store: Store) -> None:
    def careless() -> None:
        with store.write() as connection:
            _insert(connection, "a")
            with contextlib.suppress(IntegrityError):
                _insert(connection, "a")

    if store.engine.dialect.name == "sqlite":
        careless()  # each statement stands for itself there
        assert _nonces(store) == {"a"}
    else:
        with pytest.raises(RuntimeError, match="savepoint"):
            careless()
        assert _nonces(store) == set()


def test_a_write_inside_a_write_is_refused_and_not_a_deadlock(store: Store) -> None:
    with store.write(), pytest.raises(RuntimeError, match="wait for itself"), store.write():
        pass
    _add(store, "after")


def test_notify_outside_of_a_write_is_a_mistake(store: Store) -> None:
    with store.read() as connection, pytest.raises(RuntimeError):
        store.notify(connection, "x")


def test_a_change_between_the_look_and_the_wait_is_not_missed(store: Store) -> None:
    mark = store.sequence(["nonces"])
    _add(store, "a")
    assert store.wait(["nonces", "other"], timeout=0, since=mark) == {"nonces"}


def test_a_waiting_thread_is_woken_by_a_commit(store: Store) -> None:
    mark = store.sequence()
    woken: list[set[str]] = []
    thread = threading.Thread(target=lambda: woken.append(store.wait(["nonces"], 20, since=mark)))
    thread.start()
    _add(store, "a")
    thread.join(timeout=20)
    assert woken == [{"nonces"}]


def test_a_waiting_coroutine_is_woken_by_a_commit_in_another_thread(store: Store) -> None:
    async def scenario() -> set[str]:
        waiting = asyncio.create_task(store.wait_async(["nonces"], 20))
        await asyncio.sleep(0)
        await asyncio.to_thread(_add, store, "a")
        return await waiting

    started = time.monotonic()
    assert asyncio.run(scenario()) == {"nonces"}
    assert time.monotonic() - started < 10


def test_a_wait_ends_with_nothing_after_its_time(store: Store) -> None:
    assert store.wait(["nothing"], timeout=0.01) == set()
    assert asyncio.run(store.wait_async(["nothing"], timeout=0.01)) == set()


def test_a_forgotten_topic_wakes_for_nothing_rather_than_never() -> None:
    topics = Topics(remembered=2)
    mark = topics.sequence()
    topics.deliver(["a"])
    topics.deliver(["b", "c", "d"])
    assert topics.wait(["a"], timeout=0, since=mark) == {"a"}


@pytest.mark.parametrize(
    ("url", "why"),
    [("sqlite://", "not a database in memory"), ("mysql://host/name", "SQLite and PostgreSQL, not mysql")],
)
def test_a_database_that_no_service_can_use_is_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Store(url)


def test_a_value_that_no_column_holds_names_no_value(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        _add(store, "n" * 65)  # SQLite takes any length
        return
    with pytest.raises(InvalidInput) as refused:
        _add(store, "n" * 65)
    assert (refused.value.code, "nnn" in str(refused.value)) == ("not-storable", False)


@pytest.mark.parametrize(
    "value",
    [None, 2**200, -0.5, "\ud800", "\u0000 and \U0001f600", {"deep": json.loads("[" * 500 + "]" * 500)}],
)
def test_json_comes_out_of_the_tables_as_it_went_in(value: object) -> None:
    assert read_json(write_json(value)) == read_json(json.dumps(value)) == value
