"""Cursors of lists: where the page that follows begins. What is no cursor is InvalidInput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select
from sqlalchemy.engine import RowMapping

from prixfixe.errors import InvalidInput


def no_cursor(cursor: str) -> InvalidInput:
    """To be raised."""
    return InvalidInput(f"{cursor[:40]!r} is no cursor", hint="use `next` of the page before")


def position(cursor: str) -> int:
    """A number."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise no_cursor(cursor)
    return int(cursor)


def moment(cursor: str) -> tuple[int, str]:
    """A second, and the name of what was last of it: `SECOND-NAME`."""
    at, _, name = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) < 12 and name):
        raise no_cursor(cursor)
    return int(at), name


def numbered(
    connection: Connection, query: Select[Any], number: Column[Any], cursor: str | None, limit: int
) -> tuple[Sequence[RowMapping], str | None]:
    """A page of a query that has the greatest `number` first, and the cursor of the next page."""
    if cursor is not None:
        query = query.where(number < position(cursor))
    rows = connection.execute(query.limit(limit + 1)).mappings().all()
    return rows[:limit], str(rows[limit - 1][number]) if len(rows) > limit else None


def dated(
    connection: Connection,
    query: Select[Any],
    at: Column[Any],
    name: Column[Any],
    cursor: str | None,
    limit: int,
) -> tuple[Sequence[RowMapping], str | None]:
    """The same of a query by the second `at`, newest first, and of one second by `name`."""
    if cursor is not None:
        second, last = moment(cursor)
        query = query.where((at < second) | ((at == second) & (name > last)))
    rows = connection.execute(query.limit(limit + 1)).mappings().all()
    following = f"{rows[limit - 1][at]}-{rows[limit - 1][name]}" if len(rows) > limit else None
    return rows[:limit], following
