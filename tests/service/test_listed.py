"""Conditions on lists find what `IN` of the same values finds, by an index."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Delete, Select, Update, insert, select

import marketplace
import scheduler
from marketplace.store.database import Store
from marketplace.store.listed import among, pair_among
from marketplace.store.tables import cursor
from tests.support.stores import migrated_store

pytestmark = pytest.mark.both_databases

NAMES = ["plain", "", "it's", '"quoted"', "100%", "Zoë ☃ \U0001f600", "[1, 2]", "7", "back\\slash"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = migrated_store(tmp_path / "store.db")
    with store.write() as connection:
        rows = [{"name": name, "block": 2**40 + at, "hash": "0x"} for at, name in enumerate(NAMES)]
        connection.execute(insert(cursor), rows)
    yield store
    store.close()


def found(store: Store, condition: Any, listed: list[Any]) -> set[str]:
    with store.read() as connection:
        return set(connection.execute(select(cursor.c.name).where(condition), {"of": listed}).scalars())


@pytest.mark.parametrize(
    "listed", [[], NAMES[:1], NAMES[1:6], NAMES, ["nobody"], NAMES * 2, ["x" * 60] * 5_000 + NAMES[2:4]]
)
def test_texts_are_found_as_they_are(store: Store, listed: list[str]) -> None:
    assert found(store, among(cursor.c.name, "of"), listed) == set(listed) & set(NAMES)


@pytest.mark.parametrize(
    "listed", [[], [2**40], [2**40 + 3, 2**40 + 1, -1, 0], list(range(2**40, 2**40 + 5000))]
)
def test_whole_numbers_are_found(store: Store, listed: list[int]) -> None:
    wanted = {name for at, name in enumerate(NAMES) if 2**40 + at in listed}
    assert found(store, among(cursor.c.block, "of"), listed) == wanted


def test_pairs_are_found_whole(store: Store) -> None:
    listed = [(name, 2**40 + at + (name == "100%")) for at, name in enumerate(NAMES)]
    pair = pair_among(cursor.c.name, cursor.c.block, "of")
    assert found(store, pair, listed) == set(NAMES) - {"100%"}
    assert found(store, pair, []) == set()


def test_no_statement_reads_a_whole_table_for_a_list(store: Store) -> None:
    """Of SQLite, whose plan does not depend on how much there is."""
    if store.engine.dialect.name != "sqlite":
        return
    looked = 0
    with store.engine.connect() as connection:
        for name, statement in statements():
            text = re.sub(r"__\[POSTCOMPILE_\w+\]", "NULL", str(statement.compile(connection)))
            if "json_each" not in text:
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?"))
            steps = [row[3] for row in plan]
            assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step], (
                name,
                steps,
            )
            looked += 1
    assert looked > 30


def statements() -> Iterator[tuple[str, Any]]:
    """Those that the service's modules keep."""
    for package in (marketplace, scheduler):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." in module.name:
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                for each in value if isinstance(value, tuple) else (value,):
                    if isinstance(each, Select | Update | Delete):
                        yield f"{module.name}.{name}", each
