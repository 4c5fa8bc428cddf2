"""A store with today's tables, without the price of its migrations: they run once, each test has a copy."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from marketplace.store.database import Store
from tests.support import postgres


@cache
def _migrated_file() -> bytes:
    """An empty store's file, brought up to date as a service does it. The migrations themselves are tested
    where they are run step by step."""
    with tempfile.TemporaryDirectory(prefix="prixfixe-store-") as folder:
        path = Path(folder) / "prixfixe.db"
        store = Store.at(path)
        store.migrate()
        store.close()  # the last connection moves what the log holds into the file
        assert [each.name for each in Path(folder).iterdir()] == [path.name]
        return path.read_bytes()


def migrated_store(path: Path, *, shared: bool = False) -> Store:
    """The store in `path`, made there if it is not; while a test runs on PostgreSQL, the database that stands
    for this file. shared: with other processes."""
    if (server := postgres.chosen()) is not None:
        return Store(server.database(str(path.absolute())))
    if not path.exists():
        path.write_bytes(_migrated_file())
    return Store(f"sqlite:///{path.absolute()}", shared=shared)
