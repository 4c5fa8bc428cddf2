"""When keys and sessions were used last."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, update

from marketplace.store.database import Store

_SECONDS: Final = 60


def used(store: Store, table: Table, id: str, known: int | None, now: int) -> None:
    """Write down, to the minute, that a row of `table` was used. known: when it was the last time."""
    if known is not None and known > now - _SECONDS:
        return
    statement = update(table).where(table.c.id == id).values(used_at=now)
    # After a power cut the minute before may be missing.
    store.together(lambda connection: connection.execute(statement), flush=False)
