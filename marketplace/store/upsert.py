"""`INSERT ... ON CONFLICT`, which both databases know and SQLAlchemy spells by dialect; and how much one
statement takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, case
from sqlalchemy.dialects import postgresql, sqlite

_Item = TypeVar("_Item")


def parts(items: Sequence[_Item], most: int = 500) -> Iterator[Sequence[_Item]]:
    """The items in their order, so many at once: databases bound the number of a statement's parameters."""
    return (items[start : start + most] for start in range(0, len(items), most))


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet; leave the others as they are."""
    if rows:
        # One row at a time: a statement has only so many parameters, and a store so many blobs.
        statement = _insert(connection.dialect.name, table).on_conflict_do_nothing()
        connection.execute(statement, list(rows))


def put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or give the one with its primary key these values."""
    connection.execute(_putting(connection.dialect.name, table, tuple(row)), row)


def put_largest(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], column: str) -> None:
    """Insert the rows; one whose primary key is there only moves `column` up."""
    statement = _insert(connection.dialect.name, table).values(list(rows))
    there, given = table.c[column], statement.excluded[column]
    largest = {column: case((there > given, there), else_=given)}
    key = [each.name for each in table.primary_key]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=largest))


@lru_cache(maxsize=64)
def _putting(dialect: str, table: Table, columns: tuple[str, ...]) -> Any:
    """The statement, made once: making it takes longer than running it."""
    key = [column.name for column in table.primary_key]
    statement = _insert(dialect, table)
    rest = {name: statement.excluded[name] for name in columns if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=rest)


def _insert(dialect: str, table: Table) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)
