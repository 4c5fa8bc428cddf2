"""PostgreSQL under a service: processes hear each other, and a server that stops or fills up is survived."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError

from marketplace.store import faults, tables
from marketplace.store.database import Store
from prixfixe.errors import StorageFull, Unavailable
from tests.support.postgres import PostgresServer
from tests.support.scheduling import until


def _add(store: Store, nonce: str, *topics: str) -> None:
    with store.write() as connection:
        connection.execute(insert(tables.nonces).values(nonce=nonce, expires_at=1))
        for topic in topics or ("nonces",):
            store.notify(connection, topic)


def _is_heard(teller: Store, hearer: Store) -> bool:
    """Whether a wake-up comes over; that of a new start of the listening, which is for all topics, counts."""
    mark = hearer.sequence()
    teller_topic = f"topic {time.monotonic_ns()}"
    with teller.write() as connection:
        teller.notify(connection, teller_topic)
    return hearer.wait([teller_topic], 0.5, since=mark) == {teller_topic}


def test_a_commit_of_one_process_wakes_the_other(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: _is_heard(first, second), "the other process to listen")
    mark = second.sequence()
    woken: list[set[str]] = []
    thread = threading.Thread(target=lambda: woken.append(second.wait(["nonces", "asks"], 20, since=mark)))
    thread.start()
    _add(first, "a")
    thread.join(timeout=20)
    assert woken == [{"nonces"}]


def test_a_write_that_fails_wakes_nobody(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: _is_heard(first, second), "the other process to listen")
    mark = second.sequence()

    def fail() -> None:
        with first.write() as connection:
            first.notify(connection, "nonces")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _is_heard(first, second)
    assert second.wait(["nonces"], 0, since=mark) == set()


def test_thousands_of_topics_of_one_commit_come_over(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: _is_heard(first, second), "the other process to listen")
    mark, topics = second.sequence(), [f"job:0x{number:064x}" for number in range(3000)]
    _add(first, "a", *topics)
    until(lambda: second.wait(topics, 5, since=mark) == set(topics), "all of them")


def test_a_server_that_crashed_and_came_back_is_used_and_heard_again(
    pair: tuple[Store, Store], postgres_server: PostgresServer
) -> None:
    first, second = pair
    until(lambda: _is_heard(first, second), "the other process to listen")
    _add(first, "before")
    mark = second.sequence()
    postgres_server.stop(signal.SIGQUIT)
    with pytest.raises(Unavailable) as refused, first.read() as connection:
        connection.execute(select(tables.nonces)).all()
    assert refused.value.code == "store-unavailable"
    with pytest.raises(Unavailable):
        _add(first, "meanwhile")
    postgres_server.start()
    assert second.wait(["nonces"], 20, since=mark) == {"nonces"}, "who waits looks again"
    _add(first, "after")
    until(lambda: _is_heard(first, second), "the other process to be heard again")
    with second.read() as connection:
        assert set(connection.execute(select(tables.nonces.c.nonce)).scalars()) == {"before", "after"}


def test_who_does_not_get_its_turn_is_told_so_and_keeps_nothing(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    with second.engine.connect() as connection:  # the pool gives it to the next who asks
        connection.exec_driver_sql("SET SESSION lock_timeout = '50ms'")
        connection.commit()
    with first.write(), pytest.raises(Unavailable) as refused:
        _add(second, "late")
    assert refused.value.code == "store-unavailable"
    _add(second, "in time")


def test_a_full_disk_is_told_as_such() -> None:
    class DiskFull(Exception):
        sqlstate = "53100"

    error = faults.told(OperationalError("INSERT secret", {}, DiskFull("could not extend file")))
    assert isinstance(error, StorageFull)
    assert "secret" not in str(error)


def test_the_plain_address_of_a_database_takes_the_driver_that_comes_with_the_extra(
    postgres_server: PostgresServer,
) -> None:
    store = Store(postgres_server.database("plain").replace("+psycopg", ""))
    _add(store, "a")
    store.close()
    postgres_server.clean()


def test_an_unknown_database_is_out_of_reach_and_its_password_is_not_told(
    postgres_server: PostgresServer,
) -> None:
    store = Store(postgres_server.url("nowhere").replace("prixfixe@", "prixfixe:hunter2@"))
    with pytest.raises(Unavailable) as refused:
        store.migrate()
    assert refused.value.code == "store-unavailable"
    assert "hunter2" not in f"{refused.value!r} {refused.value}"
    store.close()
