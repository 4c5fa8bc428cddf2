"""A backup taken while a service runs is a service again: what waited goes on, and what was stored is
there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import delete

from marketplace.archive import Archive
from marketplace.logs import Logs
from marketplace.store.tables import blob_owners, blobs, sessions, task_logs
from marketplace.store.upsert import put
from prixfixe.errors import Conflict, InvalidInput
from prixfixe.protocol.hashing import sha256_hex
from scheduler import backup
from scheduler.archivist import Archivist
from scheduler.backup import back_up, restore
from scheduler.commands import admin
from scheduler.comparing import facts
from tests.support.market import PRICE, LocalMarket
from tests.support.postgres import PostgresServer, choosing, chosen
from tests.support.s3 import Bucket
from tests.support.scheduling import Service

pytestmark = pytest.mark.chain


def _put(service: Service, content: bytes) -> str:
    name = sha256_hex(content)
    with service.blobs.upload(name, service.market.customer.address) as upload:
        upload.write(content)
        upload.finish()
    return name


def test_a_restored_backup_serves_on(service: Service, tmp_path: Path) -> None:
    if chosen() is not None:
        pytest.skip("on PostgreSQL it is pg_dump's to do")
    waiting = service.order()
    kept = _put(service, b"a table")
    with service.store.write() as connection:
        connection.execute(
            sessions.insert().values(
                token_digest="ab" * 32,
                address=service.market.customer.address,
                created_at=1,
                expires_at=2**33,
            )
        )
        # While somebody writes: what is not committed is not in it.
        told = CliRunner().invoke(admin, ["backup", "--data", str(service.data), "--to", str(tmp_path / "b")])
    assert told.exit_code == 0, told.output
    assert "1 jobs" in told.output
    later = _put(service, b"came after")
    again = back_up(service.data, tmp_path / "b")
    assert (again.blobs, again.jobs) == (3, 1)

    again_told = CliRunner().invoke(
        admin, ["restore", "--from", str(tmp_path / "b"), "--data", str(tmp_path / "new"), "--json"]
    )
    restored = json.loads(again_told.output)
    # The market's fixture names an image that was never stored.
    assert (restored["jobs"], restored["missing"]) == (1, ["00" * 32])
    service.close()

    after = Service(service.market, tmp_path / "new")
    try:
        assert {row["sha256"] for row in after.rows(blobs)} >= {kept, later}
        assert after.blobs.open(kept, service.market.customer.address).read() == b"a table"
        assert [row["token_digest"] for row in after.rows(sessions)] == ["ab" * 32]
        worker = after.ready_worker()
        after.matcher.run_once()
        after.relay()
        after.indexer.run_once()
        after.report(worker)
        after.relay()
        after.indexer.run_once()
        ended = after.job(waiting)
        assert (ended["state"], ended["charged"]) == ("settled", PRICE.units)
    finally:
        after.close()


def test_a_dump_of_postgresql_and_the_folder_are_a_service_again(
    market: LocalMarket, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with choosing(postgres_server):
        before = Service(market, old)
        before.list_offer()
        waiting, kept = before.order(), _put(before, b"a table")
        with before.store.read() as connection:
            known = facts(connection)
        dump = postgres_server.dump(str((old / "prixfixe.db").absolute()))
        before.close()
        shutil.copytree(old, new)
        postgres_server.restore(dump, str((new / "prixfixe.db").absolute()))

        after = Service(market, new)
        try:
            after.store.migrate()  # as a service does that starts on it
            with after.store.read() as connection:
                assert facts(connection) == known
            assert after.blobs.open(kept, market.customer.address).read() == b"a table"
            worker = after.ready_worker()
            after.step()
            after.report(worker)
            after.step()
            assert after.job(waiting)["state"] == "settled"
        finally:
            after.close()


def test_what_was_deleted_since_an_earlier_backup_does_not_come_back(
    service: Service, tmp_path: Path
) -> None:
    if chosen() is not None:
        pytest.skip("on PostgreSQL it is pg_dump's to do")
    worker = service.ready_worker()
    service.order()
    service.step()
    logs = Logs(service.data / "logs", 2**20)
    attempt = service.attempt_of(worker)["id"]
    with service.store.write() as connection:
        for task in (0, 1):
            logs.append(attempt, task, 0, 0, "said")
            put(connection, task_logs, {"attempt": attempt, "task": task, "bytes": 4})
    kept, deleted = _put(service, b"a table"), _put(service, b"a letter")
    backup = tmp_path / "50% #1?"  # which mean something in an address
    back_up(service.data, backup)
    with service.store.write() as connection:
        connection.execute(delete(blob_owners).where(blob_owners.c.sha256 == deleted))
        connection.execute(delete(blobs).where(blobs.c.sha256 == deleted))
        connection.execute(delete(task_logs).where(task_logs.c.task == 1))
    service.blobs.kept.path(deleted).unlink()
    logs.remove(attempt, 1)
    back_up(service.data, backup)

    restored = restore(backup, tmp_path / "new")

    assert restored.missing == ("00" * 32,), "the fixture's image"
    blobs_there, logs_there = ((tmp_path / "new" / folder).rglob("*") for folder in ("blobs", "logs"))
    assert [each.name for each in blobs_there if each.is_file()] == [kept[2:]]
    assert [each.name for each in logs_there] == [f"{attempt}.log"]


def test_an_altered_backup_and_a_folder_in_use_are_refused(service: Service, tmp_path: Path) -> None:
    if chosen() is not None:
        pytest.skip("on PostgreSQL it is pg_dump's to do")
    name = max(_put(service, content) for content in (b"a table", b"a list"))  # the last that is read
    back_up(service.data, tmp_path / "b")
    with pytest.raises(Conflict, match="is not empty"):
        restore(tmp_path / "b", service.data)
    with pytest.raises(Conflict, match="holds something else"):
        back_up(service.data, service.data)
    (tmp_path / "b" / "blobs" / name[:2] / name[2:]).write_bytes(b"a fable")
    with pytest.raises(InvalidInput, match="is not what its name says"):
        restore(tmp_path / "b", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_archived_while_a_backup_is_taken_is_not_missing_in_it(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position speaks of no document that it has not."""
    if chosen() is not None:
        pytest.skip("on PostgreSQL it is pg_dump's to do")
    archivist = Archivist(service.store, Archive(service.data / "archive"))
    service.order(nonce=1)
    archivist.run_once()
    files = backup._files

    def listed(folder: Path) -> Iterator[Path]:
        found = list(files(folder))
        if folder.name == "archive":
            archivist.run_once()  # just after it was listed
        yield from found

    monkeypatch.setattr(backup, "_files", listed)
    job = service.order(nonce=2)
    back_up(service.data, tmp_path / "b")
    restore(tmp_path / "b", tmp_path / "new")
    kept = Archive(tmp_path / "new" / "archive")
    assert (kept.position()["order"], kept.order(job)) == (1, None)


def test_blobs_in_a_bucket_stay_there_and_each_that_is_named_is_checked(
    service: Service, bucket: Bucket, tmp_path: Path
) -> None:
    if chosen() is not None:
        pytest.skip("on PostgreSQL it is pg_dump's to do")
    kept, lost = _put(service, b"a table"), _put(service, b"a letter")
    bucket.fill(service.blobs.kept)
    shutil.rmtree(service.data / "blobs")
    bucket.store().delete([lost])
    backup, image = tmp_path / "b", "00" * 32

    words = ["backup", "--data", str(service.data), "--to", str(backup), "--blobs", bucket.address]
    told = CliRunner().invoke(admin, words)

    assert told.exit_code == 0, told.output
    assert f"missing: blob {lost}" in told.output
    facts = json.loads((backup / "backup.json").read_text())
    assert (facts["elsewhere"], set(facts["missing"])) == (bucket.address, {image, lost})
    assert not (backup / "blobs").exists()
    with pytest.raises(Conflict, match="blobs are at s3://"):
        restore(backup, tmp_path / "new")
    assert restore(backup, tmp_path / "new", bucket.address).missing == (image, lost)
    altered = tmp_path / "altered"
    altered.write_bytes(b"a fable")
    bucket.store().put(altered, kept, 7)
    with pytest.raises(InvalidInput, match="is not what its name says"):
        restore(backup, tmp_path / "other", bucket.address)
    assert not (tmp_path / "other").exists()
