"""When keys and sessions were used last."""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy import Table, update

from marketplace.store.database import Store
from prixfixe.errors import Unavailable

log = logging.getLogger(__name__)

_SECONDS: Final = 60


def used(store: Store, table: Table, id: str, known: int | None, now: int) -> None:
    """Write down, to the minute, that a row of `table` was used. known: when it was the last time."""
    if known is not None and known > now - _SECONDS:
        return
    statement = update(table).where(table.c.id == id).values(used_at=now)
    try:
        # After a power cut the minute before may be missing.
        store.together(lambda connection: connection.execute(statement), flush=False)
    except Unavailable as error:  # who only reads need not wait for a disk that has room again
        log.warning("a last use is not written down: %s", error)
