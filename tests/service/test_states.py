"""The database holds every state to its named transitions, whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import IntegrityError

from marketplace.store import states, tables
from marketplace.store.database import Store
from marketplace.store.states import MACHINES, TRANSITIONS, Machine
from tests.support.rows import least
from tests.support.stores import migrated_store

pytestmark = pytest.mark.both_databases

REASON = {"code": "because"}


@pytest.fixture
def store(tmp_path: Path, database: str) -> Iterator[Store]:
    """A store with the quote and the job that other rows name."""
    store = migrated_store(tmp_path / "prixfixe.db")
    with store.write() as connection:
        connection.execute(insert(tables.quotes).values(least(tables.quotes)))
        connection.execute(insert(tables.jobs).values(_row(states.JOB, "queued")))
    yield store
    store.close()


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.noun)
def test_every_named_transition_is_admitted_and_no_other_change(store: Store, machine: Machine) -> None:
    table = tables.metadata.tables[machine.table]
    named = {pair for each in TRANSITIONS if each.machine is machine for pair in each.pairs}
    with store.write() as connection:
        for source, target in permutations(machine.states, 2):
            place = connection.begin_nested()
            row = _row(machine, source) | ({"id": "another", "number": 2} if machine is states.JOB else {})
            connection.execute(insert(table).values(row))
            change = (
                update(table).where(table.c.state == source, *_own(machine)).values(_with(machine, target))
            )
            assert _is_admitted(connection, change) == ((source, target) in named), f"{source} -> {target}"
            place.rollback()


def test_what_is_refused_is_named_by_table(store: Store) -> None:
    with (
        pytest.raises(IntegrityError, match=r"no such transition of jobs\.state"),
        store.write() as connection,
    ):
        connection.execute(update(tables.jobs).values(state="settled", ended_at=1))
    with store.read() as connection:
        assert connection.execute(tables.jobs.select()).mappings().one()["state"] == "queued"


@pytest.mark.parametrize("machine", [each for each in MACHINES if each.reasoned], ids=lambda each: each.noun)
def test_nothing_ends_badly_without_a_reason(store: Store, machine: Machine) -> None:
    table = tables.metadata.tables[machine.table]
    named = {pair for each in TRANSITIONS if each.machine is machine for pair in each.pairs}
    bad = sorted(pair for pair in named if pair[1] in machine.reasoned)
    assert {target for _, target in bad} == set(machine.reasoned)
    for source, target in bad:
        with store.write() as connection:
            place = connection.begin_nested()
            connection.execute(insert(table).values(_row(machine, source) | {"reason": None}))
            change = update(table).values(_with(machine, target))
            with (
                pytest.raises(IntegrityError, match=rf"no reason for {table.name}\.state"),
                connection.begin_nested(),
            ):
                connection.execute(change.values(reason=None))
            assert connection.execute(change).rowcount == 1
            place.rollback()


def test_every_state_can_be_reached_and_every_name_is_the_only_one_of_its_machine() -> None:
    for machine in MACHINES:
        own = [each for each in TRANSITIONS if each.machine is machine]
        assert len({each.name for each in own}) == len(own), machine.noun
        assert {name for each in own for name in (*each.sources, each.target)} <= set(machine.states)
        begins = set(machine.begins or [next(iter(machine.states))])
        assert begins <= set(machine.states)
        others = set(machine.states) - begins
        assert others <= {each.target for each in own if not each.rewinds}, machine.noun


def _is_admitted(connection: Connection, change: Any) -> bool:
    try:
        with connection.begin_nested():
            assert connection.execute(change).rowcount == 1
    except IntegrityError as error:
        if "no such transition" in str(error.orig):
            return False
        raise
    return True


def _own(machine: Machine) -> list[Any]:
    return [tables.jobs.c.id == "another"] if machine is states.JOB else []


def _row(machine: Machine, state: str) -> dict[str, Any]:
    """The least that a row of the machine needs to be in this state."""
    return least(tables.metadata.tables[machine.table]) | _with(machine, state)


def _with(machine: Machine, state: str) -> dict[str, Any]:
    """A state with what the CHECKs and the triggers want beside it."""
    why = {"reason": REASON if state in machine.reasoned else None} if machine.reasoned else {}
    if machine is states.JOB:
        return {"state": state, "ended_at": None if state in ("queued", "running") else 1}
    if machine in (states.DEAL, states.CASE):
        return {"state": state, "ended": None if state == "open" else {}} | why
    if machine is states.ROUND:
        agreed = state in ("agreed", "delivered")
        return {"state": state, "root": "0x" if agreed else None, "agreed_at": 1.0 if agreed else None}
    if machine is states.ATTEMPT:
        return {"state": state, "commitment": "0x", "signature": "0x"} | why
    return {"state": state} | why
