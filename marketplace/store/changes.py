"""Which workers changed since one last looked: their rows, or what they ask, by any process.

SQLite numbers the changes itself, by the triggers of `marketplace.store.tables` within the transaction that
makes them, so that no writer can forget it; and as its writers take turns, whoever sees a number sees every
change before it. Another database numbers nothing: there everything counts as changed.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from marketplace.store.tables import worker_changes

_NEWEST: Final = select(func.coalesce(func.max(worker_changes.c.number), 0))


def newest(connection: Connection) -> int | None:
    """The number of the last change; None where changes are not numbered."""
    if connection.dialect.name != "sqlite":
        return None
    return int(connection.execute(_NEWEST).scalar_one())
