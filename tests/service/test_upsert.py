"""Rows are put in however many there are, and what is there stays."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from marketplace.store.tables import blobs
from marketplace.store.upsert import insert_missing
from tests.support.stores import migrated_store


def test_more_rows_are_put_in_than_a_statement_has_parameters(tmp_path: Path) -> None:
    store = migrated_store(tmp_path / "prixfixe.db")
    rows = [{"sha256": f"{number:064x}", "size": number, "created_at": 0} for number in range(90_000)]
    with store.write() as connection:
        insert_missing(connection, blobs, [{**rows[7], "size": 1}])
        insert_missing(connection, blobs, rows)
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(blobs)).scalar_one() == len(rows)
        seventh = select(blobs.c.size).where(blobs.c.sha256 == rows[7]["sha256"])
        assert connection.execute(seventh).scalar_one() == 1
    store.close()
