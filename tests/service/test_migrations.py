"""The migrations build exactly the tables that the code declares, and can be taken back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, inspect, select, text
from sqlalchemy.exc import IntegrityError

from marketplace.store import account_tables, migrations, tables
from marketplace.store.database import Store
from tests.support.postgres import PostgresServer
from tests.support.rows import least

pytestmark = pytest.mark.both_databases


@pytest.fixture
def store(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store without any table."""
    if database == "sqlite":
        store = Store.at(tmp_path / "migrated.db")
    else:
        store = Store(_server(request).empty_database("migrated"))
    yield store
    store.close()
    if database == "postgresql":
        _server(request).drop("migrated")


def _server(request: pytest.FixtureRequest) -> PostgresServer:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server


def _differences(store: Store) -> list[Any]:
    with store.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, tables.metadata))


_POSTGRESQL_SCHEMA = """
SELECT rel.relname || '.' || con.conname, pg_get_constraintdef(con.oid) FROM pg_constraint con
  JOIN pg_class rel ON rel.oid = con.conrelid WHERE con.contype = 'c'
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT table_name || '.' || column_name, concat(collation_name, column_default, is_nullable)
  FROM information_schema.columns WHERE table_schema = 'public'
"""


def _schema(store: Store) -> dict[str, str]:
    """What the database keeps of the statements, without white space: CHECKs and triggers are among it, which
    Alembic ignores."""
    with store.read() as connection:
        if connection.dialect.name == "postgresql":
            found = connection.execute(text(_POSTGRESQL_SCHEMA)).all()
            return {row[0]: row[1] for row in found if not row[0].startswith("alembic_version")}
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            name: ",".join(
                sorted(part.rstrip(")") for part in "".join(sql.replace('"', "").split()).split(","))
            )
            for name, sql in rows
            if name != "alembic_version"
        }


def test_a_new_store_has_the_declared_tables(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store.migrate()
    assert _differences(store) == []
    on_sqlite = store.engine.dialect.name == "sqlite"
    declared = (
        Store.at(tmp_path / "declared.db")
        if on_sqlite
        else Store(_server(request).empty_database("declared"))
    )
    with declared.write() as connection:
        tables.metadata.create_all(connection)
    made, wanted = _schema(store), _schema(declared)
    declared.close()
    assert set(made) == set(wanted)
    for name, statement in wanted.items():
        if on_sqlite and not name.startswith("tr_"):
            assert statement.count("CHECK") == made[name].count("CHECK"), name
        else:
            assert made[name] == statement, name


def test_migrating_twice_changes_nothing(store: Store) -> None:
    store.migrate()
    before = _schema(store)
    store.migrate()
    assert _schema(store) == before


FILES = sorted((Path(migrations.__file__).parent / "versions").glob("[0-9]*_*.py"))
STEPS = [file.name.partition("_")[0] for file in FILES]

# What some rows have beside the least of their table, so that steps which rewrite rows meet one of theirs.
_PAID = {"fact": str(1 << 16 | 1)}  # one task done, one signature
_LEG = {"provider": "x", "key": "x", "pay": "1"}
_OUTPUTS = {"files": [{"path": "a", "sha256": "00", "size": 1}], "version": 1}
_REPORT = {"status": 0, "exit_code": 0, "seconds": 1.5, "outputs": _OUTPUTS, "reason": None}
MORE: dict[str, dict[str, Any]] = {
    "jobs": {"kind": "bundle", "offer_id": "x", "image_archive": "x"},
    "deals": {
        "state": "disputed",
        "deal": {"customer": "x", "bundle": "x", "legs": [_LEG]},
        "ended": {"block": 1, "log_index": 1, "time": 1},
        **_PAID,
    },
    "attempts": {"state": "committed", "commitment": "x", "status": 0, "seconds": 1.5, "tasks": [_REPORT]},
    "tasks": {"outputs": _OUTPUTS, "files": 1, "progress": 0.0},
    "task_logs": {"task": 0, "bytes": 7},
    "trades": {"leg": 0, "kind": "bundle", "bundle": "x"},
    "chain_events": {"name": "Settled", "data": {"deal": "x", **_PAID}},
    "price_notes": {"act": "published", "override": ""},
    "rounds": {"state": "agreed", "root": "x", "agreed_at": 1.0, "done": 1},
}
# Of a bid, which the first steps did not know, and an offer with several replicas.
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("offers", {"offer_id": "y", "replicas": 3}),
    ("jobs", {"id": "bid", "number": 2}),
    *((name, {"job": "bid"}) for name in ("lots", "tasks", "job_events")),
    ("deals", {"id": "bid", "job": "bid"}),
    ("attempts", {"id": "bid", "deal": "bid", "job": "bid"}),
    ("cases", {"deal": "bid", "job": "bid"}),
)


def _fill(store: Store) -> None:
    """A row in each table of the head, or two."""
    with store.write() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name != "worker_changes":  # written by triggers
                connection.execute(table.insert().values(least(table) | MORE.get(table.name, {})))
        for name, values in OTHERS:
            table = tables.metadata.tables[name]
            connection.execute(table.insert().values(least(table) | values))


def _rows(store: Store, name: str) -> list[dict[str, Any]]:
    with store.read() as connection:
        table = tables.metadata.tables[name]
        return [dict(row) for row in connection.execute(table.select()).mappings()]


def _shape(store: Store) -> dict[str, str]:
    """The schema without defaults: a column that comes back has one for the rows that are there."""
    default = re.compile(r"DEFAULT'[^']*'|^'[^']*'::[a-z ]+(?=NO$)")
    return {name: default.sub("", statement) for name, statement in _schema(store).items()}


def test_every_step_is_taken_back_and_made_again_around_the_rows_that_it_touches(store: Store) -> None:
    shapes = {}
    for step in STEPS:
        migrations.upgrade(store, step)
        shapes[step] = _shape(store)
    _fill(store)
    before = {table.name: _rows(store, table.name) for table in tables.metadata.sorted_tables}
    assert [name for name, rows in before.items() if not rows] == []
    for step in reversed(STEPS[:-1]):
        migrations.downgrade(store, step)
        assert _shape(store) == shapes[step], f"back at {step}"
    with store.read() as connection:
        first = set(inspect(connection).get_table_names()) & set(before)
    for step in STEPS[1:]:
        migrations.upgrade(store, step)
        assert _shape(store) == shapes[step], f"again at {step}"

    bids = {name for name, values in OTHERS if "bid" in values.values()}
    for name in first:
        assert len(_rows(store, name)) == len(before[name]) - (name in bids), name
    # What is worked out from other rows is as it was, and what an older version could not say is what it saw.
    for name in ("trades", "price_notes", "tasks"):
        assert _rows(store, name) == [row for row in before[name] if row.get("job") != "bid"], name
    (job,), (deal,), (attempt,) = (_rows(store, name) for name in ("jobs", "deals", "attempts"))
    assert job == next(row for row in before["jobs"] if row["id"] == "x")
    assert (deal["state"], deal["fact"]) == ("settled", _PAID["fact"])
    assert (attempt["state"], attempt["tasks"]) == ("lost", [_REPORT])
    assert _rows(store, "task_logs") == before["task_logs"]
    assert sorted(row["tier"] for row in _rows(store, "offers")) == ["x", "x x3"]

    migrations.downgrade(store, "base")
    with store.read() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}


def test_the_retention_step_keeps_every_file_that_is_there_for_ninety_days(store: Store) -> None:
    migrations.upgrade(store, "0017")
    with store.write() as connection:
        connection.execute(
            tables.blobs.insert(), [{"sha256": each, "size": 1, "created_at": 0} for each in "ab"]
        )
    began = int(time.time())
    migrations.upgrade(store, "0018")
    kept = {row["sha256"]: row["until"] for row in _rows(store, "kept_files")}
    assert set(kept) == {"a", "b"}
    assert all(began <= until - 90 * 86_400 <= time.time() for until in kept.values())


def test_the_step_before_canaries_has_no_checks_and_findings_of_theirs(store: Store) -> None:
    """A canary's finding names the deal that was bought for it, a re-run's that and the deal it checked."""
    store.migrate()
    of_canary, of_rerun = ("canary", 1), ("paid", None)
    with store.write() as connection:

        def put(name: str, **values: Any) -> None:
            table = tables.metadata.tables[name]
            connection.execute(table.insert().values(least(table) | values))

        put("quotes")
        for number, (deal, canary) in enumerate((of_canary, of_rerun), 1):
            bought = f"bought for {deal}"
            put("jobs", id=bought, number=number)
            put("deals", id=bought, job=bought)
            put("checks", deal=deal, canary=canary)
            put("reruns", deal=deal, job=bought)
            put("findings", number=number, deal=bought)
        put("findings", number=3, deal="paid")
    migrations.downgrade(store, "0020")
    with store.read() as connection:
        assert connection.execute(text("SELECT deal FROM checks")).scalars().all() == ["paid"]
    assert {row["deal"] for row in _rows(store, "findings")} == {"bought for paid", "paid"}


def test_the_sessions_step_names_those_that_are_open_and_keeps_them_when_it_is_taken_back(
    store: Store,
) -> None:
    migrations.upgrade(store, "0025")
    open_now = ("a" * 31 + "b" * 33, "c" * 64)
    of_before = ["token_digest", "person", "account", "created_at", "expires_at"]
    kept = select(*(account_tables.person_sessions.c[name] for name in of_before)).order_by("token_digest")
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO people VALUES ('p', 'p@example.org', 'hash', 0)")
        connection.exec_driver_sql(
            "INSERT INTO accounts (number, address, name, channel, created_at, warn_below)"
            " VALUES (1, '0x1', '', '', 0, 0)"
        )
        for digest in open_now:
            connection.exec_driver_sql(f"INSERT INTO person_sessions VALUES ('{digest}', 'p', 1, 5, 9)")
        before = connection.execute(kept).all()
    migrations.upgrade(store, "0026")
    named = {row["token_digest"]: row for row in _rows(store, "person_sessions")}
    assert {digest: row["id"] for digest, row in named.items()} == {each: each[:32] for each in open_now}
    assert {(row["browser"], row["used_at"]) for row in named.values()} == {("", 5)}
    migrations.downgrade(store, "0025")
    with store.read() as connection:
        assert connection.execute(kept).all() == before


def test_a_migrations_revision_is_its_files_number() -> None:
    """So that a start can tell whether there is anything to do without importing Alembic."""
    assert FILES
    for file in FILES:
        assert f'revision = "{file.name.partition("_")[0]}"' in file.read_text(encoding="utf-8")


def test_the_replicas_step_keeps_offers_that_jobs_name_and_what_was_settled(store: Store) -> None:
    migrations.upgrade(store, "0002")
    with store.write() as connection:
        for statement in (
            "INSERT INTO quotes VALUES ('q', 'c', '{}', 0, 0)",
            "INSERT INTO offers VALUES ('0x1', 'pivot', '1.0.0', 'small', 0, '{}', '0x2', 5, 10, 99)",
            "INSERT INTO jobs (id, number, customer, quote, purchase, signature, manifest, offer_id, state,"
            " stage, charged, expiry, deliver_by, created_at, ended_at)"
            " VALUES ('j', 1, 'c', 'q', '{}', 's', '{}', '0x1', 'settled', '', 5, 0, 0, 0, 1)",
            "INSERT INTO deals (id, opening, job, lot, deal, due, deadline, state, opened, ended)"
            " VALUES ('d', 1, 'j', 0, '{}', 1, 1, 'settled', '{}', '{}')",
            "INSERT INTO attempts (id, deal, opening, job, lot, worker, provider, state, created_at,"
            " log_bytes) VALUES ('a', 'd', 1, 'j', 0, 'w', 'p', 'succeeded', 0, 7)",
        ):
            connection.execute(text(statement))
    migrations.upgrade(store, "0003")
    with store.read() as connection:
        assert connection.execute(text("SELECT tier, replicas, until FROM offers")).all() == [
            ("small", 1, 99)
        ]
        assert connection.execute(text("SELECT state, log_bytes, commitment FROM attempts")).all() == [
            ("succeeded", 7, None)
        ]
    migrations.downgrade(store, "0002")
    with store.read() as connection:
        assert connection.execute(text("SELECT tier, until FROM offers")).all() == [("small", 99)]


def test_the_bids_step_gives_every_job_what_its_offer_said_and_takes_bids_away_again(store: Store) -> None:
    archive = "a" * 64
    migrations.upgrade(store, "0004")
    with store.write() as connection:
        for statement in (
            "INSERT INTO quotes VALUES ('q', 'c', '{}', 0, 0)",
            f"INSERT INTO blobs VALUES ('{archive}', 1, 0)",
            "INSERT INTO bundles (id, version, definition, definition_digest, image, image_archive,"
            f" published_by, published_at, note) VALUES ('pivot', '1.0.0', '{{}}', 'd', 'i', '{archive}',"
            " 'p', 0, '')",
            "INSERT INTO offers (offer_id, bundle, version, tier, replicas, position, offer, product, price,"
            " up_to, until) VALUES ('0x1', 'pivot', '1.0.0', 'small', 3, 0, '{}', '0x2', 5, 10, 99)",
            "INSERT INTO jobs (id, number, customer, quote, purchase, signature, manifest, offer_id, state,"
            " stage, charged, expiry, deliver_by, created_at, ended_at)"
            " VALUES ('j', 1, 'c', 'q', '{\"era\": 1}', 's', '{}', '0x1', 'settled', '', 5, 0, 0, 0, 1)",
            "INSERT INTO lots (job, lot, count, state, tries, not_before)"
            " VALUES ('j', 0, 1, 'settled', 1, 0)",
        ):
            connection.exec_driver_sql(statement)
    store.migrate()
    columns = [
        "kind",
        "image",
        "product",
        "price",
        "replicas",
        "whole",
        "image_archive",
        "providers",
        "order",
    ]
    told = select(*(tables.jobs.c[name] for name in columns))
    with store.write() as connection:
        assert connection.execute(told).all() == [
            ("bundle", "i", "0x2", 5, 3, False, archive, None, {"era": 1})
        ]
        connection.exec_driver_sql(
            'INSERT INTO jobs (id, number, customer, quote, "order", signature, manifest, state, stage,'
            " charged, expiry, deliver_by, created_at, kind, image, product, price, replicas, whole)"
            " VALUES ('bid', 2, 'c', 'q', '{}', 's', '{}', 'queued', '', 0, 0, 0, 0, 'auction', 'i', '0x2',"
            " 7, 1, false)"
        )
        connection.exec_driver_sql(
            "INSERT INTO lots (job, lot, count, state, tries, not_before) VALUES ('bid', 0, 1, 'free', 0, 0)"
        )
    migrations.downgrade(store, "0004")
    with store.read() as connection:
        kept = text("SELECT id, purchase FROM jobs").columns(purchase=JSON)
        assert connection.execute(kept).all() == [("j", {"era": 1})]
        assert connection.execute(text("SELECT job FROM lots")).scalars().all() == ["j"]


def test_the_lots_step_keeps_what_single_tasks_came_to_and_their_logs(store: Store) -> None:
    migrations.upgrade(store, "0007")
    outputs = '{"files": [{"path": "a", "sha256": "00", "size": 1}], "version": 1}'
    with store.write() as connection:
        for statement in (
            "INSERT INTO quotes VALUES ('q', 'c', '{}', 0, 0)",
            'INSERT INTO jobs (id, number, customer, quote, "order", signature, manifest, state, stage,'
            " charged, expiry, deliver_by, created_at, ended_at, kind, product, price, replicas, whole,"
            " image)"
            " VALUES ('j', 1, 'c', 'q', '{}', 's', '{}', 'settled', '', 5, 0, 0, 0, 1, 'auction', '0x2', 7,"
            " 1, false, 'i')",
            f"INSERT INTO tasks VALUES ('j', 0, 0, 'succeeded', 0, '{outputs}')",
            "INSERT INTO attempts (id, deal, opening, job, lot, worker, provider, state, status, exit_code,"
            " seconds, outputs, created_at, log_bytes)"
            f" VALUES ('a', 'd', 1, 'j', 0, 'w', 'p', 'succeeded', 0, 0, 1.5, '{outputs}', 0, 7)",
        ):
            connection.exec_driver_sql(statement)
    store.migrate()
    with store.read() as connection:
        (told,) = connection.execute(select(tables.attempts.c.tasks)).scalar_one()
        assert (told["status"], told["seconds"], told["outputs"]["files"][0]["path"]) == (0, 1.5, "a")
        assert told["reason"] is None
        assert connection.execute(select(tables.tasks.c.files)).scalar_one() == 1
        assert connection.execute(select(tables.task_logs)).one() == ("a", 0, 7)
    migrations.downgrade(store, "0007")
    with store.read() as connection:
        kept = text("SELECT exit_code, seconds, log_bytes, outputs FROM attempts").columns(outputs=JSON)
        row = connection.execute(kept).one()
        assert row[:3] == (0, 1.5, 7)
        assert row[3]["files"][0]["path"] == "a"


def test_the_transitions_step_keeps_every_row_and_holds_it_to_its_transitions(store: Store) -> None:
    migrations.upgrade(store, "0014")
    unsettle = text("UPDATE jobs SET state = 'queued', ended_at = NULL WHERE state = 'settled'")
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO quotes VALUES ('q', 'c', '{}', 0, 0)")
        connection.exec_driver_sql(
            'INSERT INTO jobs (id, number, customer, quote, "order", signature, manifest, state, stage,'
            " charged, expiry, deliver_by, created_at, ended_at, kind, product, price, replicas, whole,"
            " image) VALUES ('j', 1, 'c', 'q', '{}', 's', '{}', 'settled', '', 5, 0, 0, 0, 1, 'auction',"
            " '0x2', 7, 1, false, 'i')"
        )
    migrations.upgrade(store, "0015")
    with pytest.raises(IntegrityError, match="no such transition"), store.write() as connection:
        connection.execute(unsettle)
    migrations.downgrade(store, "0014")
    with store.write() as connection:
        assert connection.execute(unsettle).rowcount == 1


def test_the_reasons_step_keeps_what_ended_without_one_and_wants_one_of_what_ends_now(store: Store) -> None:
    migrations.upgrade(store, "0026")
    end = "UPDATE lots SET state = 'ended', reason = {} WHERE lot = {}"
    with store.write() as connection:
        for statement in (
            "INSERT INTO quotes VALUES ('q', 'c', '{}', 0, 0)",
            'INSERT INTO jobs (id, number, customer, quote, "order", signature, manifest, state, stage,'
            " charged, expiry, deliver_by, created_at, kind, product, price, replicas, whole, image)"
            " VALUES ('j', 1, 'c', 'q', '{}', 's', '{}', 'running', '', 0, 0, 0, 0, 'auction', '0x2', 7, 1,"
            " false, 'i')",
            *(
                "INSERT INTO lots (job, lot, count, state, tries, not_before)"
                f" VALUES ('j', {lot}, 1, 'open', 1, 0)"
                for lot in range(3)
            ),
            end.format("NULL", 0),
        ):
            connection.exec_driver_sql(statement)
    store.migrate()
    with pytest.raises(IntegrityError, match=r"no reason for lots\.state"), store.write() as connection:
        connection.exec_driver_sql(end.format("NULL", 1))
    states = select(tables.lots.c.state).order_by(tables.lots.c.lot)
    with store.write() as connection:
        connection.exec_driver_sql(end.format('\'{"code": "why"}\'', 1))
        connection.exec_driver_sql("UPDATE lots SET state = 'open' WHERE lot = 0")  # a re-organisation
    with store.read() as connection:
        assert connection.execute(states).scalars().all() == ["open", "ended", "open"]
    migrations.downgrade(store, "0026")
    with store.write() as connection:
        connection.exec_driver_sql(end.format("NULL", 2))
        assert connection.execute(states).scalars().all() == ["open", "ended", "ended"]
