"""What a database that fails is to those who asked: full, or out of reach for a while."""

from __future__ import annotations

import logging
import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, InternalError, OperationalError, TimeoutError

from prixfixe.errors import InvalidInput, PrixfixeError, StorageFull, Unavailable

log = logging.getLogger(__name__)

# Of a database that is locked for too long, full, restarting or away; a statement at fault is not among
# them. `InternalError` is PostgreSQL's for a transaction that it ended, or that only reads; `DataError` for a
# value that a column cannot hold.
FAULTS = (OperationalError, InternalError, TimeoutError, DataError)
_DISK_FULL = "53100"  # SQLSTATE


def told(error: Exception) -> PrixfixeError:
    """One of `FAULTS` as the error that leaves the store; it names no statement and no value."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    full = isinstance(cause, sqlite3.OperationalError) and "full" in str(cause)
    if full or getattr(cause, "sqlstate", None) == _DISK_FULL:
        return StorageFull("the service's disk is full")
    if isinstance(error, DataError):
        return InvalidInput("a text is too long for the store, or has a NUL in it", code="not-storable")
    log.warning("the store failed: %s", cause or error)
    return Unavailable("the store does not answer", code="store-unavailable")
