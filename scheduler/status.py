"""What `prixfixe admin status` shows: read from the store alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.engine import RowMapping

from marketplace.blob_stores import open_blob_store
from marketplace.blobs import Blobs
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from marketplace.store.tables import asks, cursor, deals, jobs, lots, transactions, workers
from prixfixe.errors import NotFound

_STATE_TABLES: Final = (jobs, lots, deals, transactions)
_ALIVE_SECONDS: Final = 15.0  # the store does not know how often workers beat
_SHOWN: Final = 10


def read_status(data: Path, database: str | None = None) -> dict[str, Any]:
    """Counts by state, waiting lots with their reasons, transactions that are not through, the cursor."""
    with opened(data, database) as connection:
        return _status(connection, time.time())


def open_store(data: Path, database: str | None = None) -> Store:
    """The store of a service: in its folder, or at an address. NotFound when the folder has none."""
    file = data / "prixfixe.db"
    if database is None and not file.exists():
        raise NotFound(f"there is no service's store in {data}", hint="name the service's folder with --data")
    return Store(database) if database is not None else Store.at(file)


def open_blobs(data: Path, store: Store, address: str | None = None) -> Blobs:
    """The blobs of a service in its folder, or at an address."""
    settings = ServiceSettings(data=data, domain="localhost", blobs=address)
    kept = open_blob_store(address, settings.blob_folder)
    return Blobs(store, settings.blob_folder, settings.max_blob_bytes, kept=kept)


@contextmanager
def opened(data: Path, database: str | None = None) -> Iterator[Connection]:
    """The service's store, to read; NotFound when there is none."""
    with closing(open_store(data, database)) as store, store.read() as connection:
        yield connection


def _status(connection: Connection, now: float) -> dict[str, Any]:
    position = connection.execute(select(cursor.c.block, cursor.c.hash)).mappings().first()
    seen = select(func.count()).select_from(workers)
    failed = select(transactions).where(transactions.c.state == "failed")
    unfinished = select(transactions).where(transactions.c.state.in_(("pending", "sent")))
    return {
        "states": {table.name: _counts(connection, table) for table in _STATE_TABLES},
        "workers": {
            "registered": connection.execute(seen).scalar_one(),
            "alive": connection.execute(
                seen.where(workers.c.heartbeat_at > now - _ALIVE_SECONDS)
            ).scalar_one(),
        },
        "asks": connection.execute(select(func.count()).select_from(asks)).scalar_one(),
        "cursor": None if position is None else dict(position),
        "waiting": [
            {"job": row.job, "lot": row.lot, "why": row.waiting_reason}
            for row in connection.execute(select(lots).where(lots.c.state == "free").limit(_SHOWN))
        ],
        "stuck": [
            _transaction(row, now)
            for row in connection.execute(unfinished.order_by(transactions.c.id).limit(_SHOWN)).mappings()
        ],
        "failed": [
            _transaction(row, now)
            for row in connection.execute(failed.order_by(transactions.c.id.desc()).limit(_SHOWN)).mappings()
        ],
    }


def _counts(connection: Connection, table: Table) -> dict[str, int]:
    found = connection.execute(select(table.c.state, func.count().label("number")).group_by(table.c.state))
    return {row.state: row.number for row in sorted(found.all(), key=lambda row: str(row.state))}


def _transaction(row: RowMapping, now: float) -> dict[str, Any]:
    return {
        "id": row["id"],
        "purpose": row["purpose"],
        "state": row["state"],
        "seconds": now - row["updated_at"],
        "hash": row["hash"],
        "error": (row["error"] or {}).get("message"),
    }
