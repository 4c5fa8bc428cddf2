"""PostgreSQL under a service: a server that stops or fills up is survived."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from marketplace.store import faults, tables
from marketplace.store.database import Store
from prixfixe.errors import StorageFull, Unavailable
from tests.support.neighbours import add, is_heard
from tests.support.postgres import PostgresServer
from tests.support.scheduling import until


def test_a_server_that_crashed_and_came_back_is_used_and_heard_again(
    postgres_pair: tuple[Store, Store], postgres_server: PostgresServer
) -> None:
    first, second = postgres_pair
    until(lambda: is_heard(first, second), "the other process to listen")
    add(first, "before")
    mark = second.sequence()
    postgres_server.stop(signal.SIGQUIT)
    with pytest.raises(Unavailable) as refused, first.read() as connection:
        connection.execute(select(tables.nonces)).all()
    assert refused.value.code == "store-unavailable"
    with pytest.raises(Unavailable):
        add(first, "meanwhile")
    postgres_server.start()
    assert second.wait(["nonces"], 20, since=mark) == {"nonces"}, "who waits looks again"
    add(first, "after")
    until(lambda: is_heard(first, second), "the other process to be heard again")
    with second.read() as connection:
        assert set(connection.execute(select(tables.nonces.c.nonce)).scalars()) == {"before", "after"}


def test_who_does_not_get_its_turn_is_told_so_and_keeps_nothing(
    postgres_pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = postgres_pair
    with second.engine.connect() as connection:  # the pool gives it to the next who asks
        connection.exec_driver_sql("SET SESSION lock_timeout = '50ms'")
        connection.commit()
    with first.write(), pytest.raises(Unavailable) as refused:
        add(second, "late")
    assert refused.value.code == "store-unavailable"
    add(second, "in time")


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
    add(store, "a")
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
