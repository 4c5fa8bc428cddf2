"""Which workers changed since one last looked: their rows, or what they ask, by any process.

The database numbers the changes itself, by the triggers of `marketplace.store.tables` within the transaction
that makes them, so that no writer can forget it; and as writers take turns, whoever sees a number sees every
change before it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from marketplace.store.tables import worker_changes

_NEWEST: Final = select(func.coalesce(func.max(worker_changes.c.number), 0))


def newest(connection: Connection) -> int:
    """The number of the last change."""
    return int(connection.execute(_NEWEST).scalar_one())
