"""How rows go from one state to another: by a named transition, and only from a state that it leaves.

Making a statement takes longer than running it, so each is made once, and one serves many rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, Update, and_, bindparam, literal, select, update

from marketplace.store.many import execute_each
from marketplace.store.states import Transition
from marketplace.store.tables import metadata
from prixfixe.errors import Conflict


def moving(transition: Transition) -> Update:
    """The statement that makes a transition of every row that it can leave from; narrow it by `where`."""
    table = metadata.tables[transition.machine.table]
    # Literals: a list of values cannot be part of a statement that is executed for many rows.
    leaves = table.c.state.in_([literal(source) for source in transition.sources])
    return update(table).where(leaves).values(state=transition.target)


def move(connection: Connection, transition: Transition, key: Mapping[str, Any], **values: Any) -> None:
    """Make a transition of the one row of `key`; Conflict when it is in no state that the transition
    leaves."""
    move_each(connection, transition, [key], [values])


def move_each(
    connection: Connection,
    transition: Transition,
    keys: Sequence[Mapping[str, Any]],
    values: Sequence[Mapping[str, Any]],
) -> None:
    """Make a transition of the rows of `keys`, each with its values, all of the same columns; Conflict when
    one of them is in no state that the transition leaves: then none of it may stay."""
    if not keys:
        return
    names = tuple(keys[0])
    statement, own = _moving(transition, names)
    rows = []
    for key, given in zip(keys, values, strict=True):
        row = dict(given)
        for name, of in zip(names, own, strict=True):
            row[of] = key[name]
        rows.append(row)
    if execute_each(connection, statement, rows) != len(rows):
        table = metadata.tables[transition.machine.table]
        so = f"it cannot be {transition.name}"
        raise _stale(connection, table, keys, transition.sources, so, transition.target)


def amend(connection: Connection, table: Table, key: dict[str, Any], state: str, **values: Any) -> None:
    """Write `values` into the one row of `key` while it is in this state, else Conflict."""
    where = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*where, table.c.state == state).values(**values)).rowcount != 1:
        raise _stale(connection, table, [key], (state,), "it is left as it is")


@lru_cache(maxsize=256)
def _moving(transition: Transition, key: tuple[str, ...]) -> tuple[Update, tuple[str, ...]]:
    """As `moving`, for the rows of a key; its parameters of the key's parts."""
    table = metadata.tables[transition.machine.table]
    own = tuple(f"of_{name}" for name in key)
    where = (table.c[name] == bindparam(of) for name, of in zip(key, own, strict=True))
    return moving(transition).where(*where), own


def _stale(
    connection: Connection,
    table: Table,
    keys: Sequence[Mapping[str, Any]],
    sources: tuple[str, ...],
    so: str,
    moved: str | None = None,
) -> Conflict:
    """Says it of one row; of several, of the first that did not move."""
    state = None
    for key in keys:
        where = and_(*(table.c[name] == value for name, value in key.items()))
        state = connection.execute(select(table.c.state).where(where)).scalar_one_or_none()
        if state not in (*sources, moved):
            break
    noun, known = table.name.removesuffix("s"), state or "missing"
    return Conflict(
        f"{noun} {dict(key)} is {known}, not {' or '.join(sources)}: {so}",
        code="stale-state",
        fault="platform",
    )
