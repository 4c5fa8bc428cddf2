"""`INSERT ... ON CONFLICT`, which both databases know and SQLAlchemy spells by dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet; leave the others as they are."""
    if rows:
        connection.execute(_insert(connection, table).values(list(rows)).on_conflict_do_nothing())


def put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or give the one with its primary key these values."""
    key = [column.name for column in table.primary_key]
    rest = {name: value for name, value in row.items() if name not in key}
    connection.execute(
        _insert(connection, table).values(row).on_conflict_do_update(index_elements=key, set_=rest)
    )


def _insert(connection: Connection, table: Table) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
