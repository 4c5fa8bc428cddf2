"""Connections to SQLite and to PostgreSQL, which begin a transaction so that writers take turns.

What is said about the two in `docs/decisions/0003-store.md` is here and nowhere else.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from prixfixe.errors import ConfigurationError

PATIENCE_SECONDS: Final = 15  # for a turn, and for a row that another transaction holds
# Execution options of a transaction: whether it may write, and whether its commit waits for the disk.
WRITE: Final = "prixfixe_write"
FLUSH: Final = "prixfixe_flush"
_TURN: Final = 0x7072697866697865  # "prixfixe": of the database's advisory locks, the one that writers hold
# A process that vanished with its machine, or hangs within a transaction, must not keep the turn, nor a
# duty: the server finds out after eight seconds of silence, and after a minute.
_POSTGRES_SESSION: Final = f"""
SET lock_timeout = '{PATIENCE_SECONDS}s';
SET idle_in_transaction_session_timeout = '60s';
SET tcp_keepalives_idle = 4;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 2;
SET tcp_user_timeout = '8s';
SET timezone = 'UTC';
"""
# The same from our side, in libpq's own words.
_POSTGRES_LINK: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "4",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "8000",
    "application_name": "prixfixe",
}


def read_json(text: str | bytes) -> Any:
    """As `json.loads`, in a third of its time: reading the tables' JSON takes longer than finding it."""
    try:
        return from_json(text)
    except ValueError:  # half of a surrogate pair, or what is nested deeper than it reads
        return json.loads(text)


def write_json(value: Any) -> str:
    """As `json.dumps` with no spaces, in half of its time."""
    return json_bytes(value).decode("utf-8")


def json_bytes(value: Any) -> bytes:
    """As `write_json`, in UTF-8."""
    try:
        return to_json(value)
    except ValueError:  # half of a surrogate pair, or what is nested deeper than it writes
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def parse(address: str) -> URL:
    """The address of a database, checked. ConfigurationError for one that no service can use."""
    url = make_url(address)
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ConfigurationError(
                "the store needs a file, not a database in memory", hint="use sqlite:////path/to/prixfixe.db"
            )
        if "uri" in url.query:  # whose file has other names, under which it is locked
            raise ConfigurationError(
                "the store needs the path of its file, not a URI", hint="use sqlite:////path/to/prixfixe.db"
            )
        return url
    if backend != "postgresql":
        raise ConfigurationError(
            f"the store knows SQLite and PostgreSQL, not {backend}",
            hint="use sqlite:////path/to/prixfixe.db or postgresql+psycopg://USER@HOST/DATABASE",
        )
    return url.set(drivername="postgresql+psycopg")


def connect(url: URL) -> Engine:
    """Connections to a database whose address was parsed."""
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=20,
        max_overflow=60,
        # Each connection keeps pages of its own: those that were used last are used again.
        pool_use_lifo=True,
        json_serializer=write_json,
        json_deserializer=read_json,
        connect_args={"timeout": float(PATIENCE_SECONDS), "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own idea of when to begin is turned off; `_begin` below says it.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-2048",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not _may_write(connection):
            # Not by SQLAlchemy, which takes ten times as long and has nothing to translate: it cannot fail.
            driver: Any = connection.connection.dbapi_connection
            driver.execute("BEGIN").close()
            return
        flush = _flushes(connection)
        if connection.info.get(FLUSH, True) != flush:
            # Of the connection, which other writes use later, and without effect inside a transaction.
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
            connection.info[FLUSH] = flush
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(url: URL) -> Engine:
    # What the address says itself wins.
    url = url.update_query_dict(
        {name: value for name, value in _POSTGRES_LINK.items() if name not in url.query}
    )
    try:
        engine = create_engine(
            url, pool_pre_ping=True, pool_size=20, max_overflow=20, json_deserializer=read_json
        )
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            "PostgreSQL needs its driver, which is not installed",
            code="no-postgres-driver",
            hint="pip install 'prixfixe[postgres]'",
        ) from missing

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(_POSTGRES_SESSION)
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if _may_write(connection):
            # Not one state for the whole transaction, which would be that of before the wait: each statement
            # sees what was committed before it began, and nobody commits while the turn is held.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
            if not _flushes(connection):
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return engine


def require_whole(connection: Connection) -> None:
    """RuntimeError when a statement of this transaction failed and was not taken back: PostgreSQL answers its
    commit with a rollback and no word."""
    info = getattr(connection.connection.dbapi_connection, "info", None)  # psycopg's
    if info is not None and info.transaction_status.name == "INERROR":
        raise RuntimeError("a statement failed outside of a savepoint: nothing of this can be committed")


def _flushes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(FLUSH, True))


def _may_write(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITE))
