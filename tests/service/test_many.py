"""One statement for many rows writes what the library's own way of executing it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from marketplace.store.database import Store
from marketplace.store.many import execute_each
from marketplace.store.tables import metadata, transactions
from tests.support.stores import migrated_store

pytestmark = pytest.mark.both_databases

PUT = insert(transactions)
NAME = (
    update(transactions)
    .where(transactions.c.purpose == bindparam("of"), transactions.c.state == "pending")
    .values(arguments=bindparam("given"), error=bindparam("why"))
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = migrated_store(tmp_path / "store.db")
    yield store
    store.close()


def rows(count: int, **given: Any) -> list[dict[str, Any]]:
    """Wishes of the outbox; hashes and sends are left to the table."""
    return [
        {
            "purpose": f"settle:{number}:1:1",
            "call": "settle",
            "arguments": {"deal": f"0x{number:x}", "name": "Zoë ☃ 100%", "of": [1, None, 2.5]},
            "state": "pending",
            "created_at": number + 0.25,
            "updated_at": 0.0,
            **given,
        }
        for number in range(count)
    ]


def stored(connection: Connection) -> list[dict[str, Any]]:
    found = connection.execute(select(transactions).order_by(transactions.c.purpose)).mappings()
    return [{name: value for name, value in row.items() if name != "id"} for row in found]


@pytest.mark.parametrize("count", [1, 3, 700])
def test_what_is_stored_is_what_the_library_stores(store: Store, count: int) -> None:
    kept: list[Any] = []
    for way in (execute_each, lambda connection, *what: connection.execute(*what).rowcount):
        with store.write() as connection:
            assert way(connection, PUT, rows(count)) in (count, -1)  # the library does not count single rows
            news = [
                {"of": row["purpose"], "given": {"at": at}, "why": None if at % 2 else {"message": "no"}}
                for at, row in enumerate(rows(count))
            ]
            assert way(connection, NAME, news) == count
            kept.append(stored(connection))
            connection.execute(delete(transactions))
    assert kept[0] == kept[1]
    assert (kept[0][0]["hashes"], kept[0][0]["sends"], kept[0][0]["arguments"]) == ([], 0, {"at": 0})


def test_only_rows_that_are_there_count(store: Store) -> None:
    with store.write() as connection:
        assert execute_each(connection, PUT, rows(3)) == 3
        wanted = [{"of": row["purpose"], "given": {}, "why": None} for row in rows(5)]
        assert execute_each(connection, NAME, wanted) == 3
        assert execute_each(connection, NAME, []) == 0


def test_one_bad_row_of_many_is_the_end_of_all(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        execute_each(connection, PUT, [*rows(2), *rows(1)])
    with store.read() as connection:
        assert stored(connection) == []


def test_a_row_without_a_name_is_refused(store: Store) -> None:
    short = {"of": "settle:0:1:1", "given": {}}
    with pytest.raises(TypeError, match="no value for why"), store.write() as connection:
        execute_each(connection, NAME, [short])
    with pytest.raises(KeyError, match="why"), store.write() as connection:
        execute_each(connection, NAME, [{**short, "why": None}, short])


def test_a_parameter_that_stands_for_several_values_is_refused(store: Store) -> None:
    several = update(transactions).where(transactions.c.purpose.in_(bindparam("of", expanding=True)))
    with pytest.raises(TypeError, match="not a single value"), store.write() as connection:
        execute_each(connection, several.values(state="failed"), [{"of": ["a", "b"]}])


def test_no_columns_default_needs_the_statement(store: Store) -> None:
    """A default that asks the database, or the other values, would have to be looked at of each row."""
    for table in metadata.tables.values():
        for column in table.columns:
            default = column.default
            assert default is None or default.is_scalar or default.is_callable, column
            assert column.onupdate is None, column
