"""How a row goes from one state to another: by a named transition, and only from a state that it leaves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, Update, select, update

from marketplace.store.states import Transition
from marketplace.store.tables import metadata
from prixfixe.errors import Conflict


def moving(transition: Transition) -> Update:
    """The statement that makes a transition of every row that it can leave from; narrow it by `where`."""
    table = metadata.tables[transition.machine.table]
    return update(table).where(table.c.state.in_(transition.sources)).values(state=transition.target)


def move(connection: Connection, transition: Transition, key: dict[str, Any], **values: Any) -> None:
    """Make a transition of the one row of `key`; Conflict when it is in no state that the transition
    leaves."""
    table = metadata.tables[transition.machine.table]
    where = [table.c[name] == value for name, value in key.items()]
    if connection.execute(moving(transition).where(*where).values(**values)).rowcount != 1:
        raise _stale(connection, table, key, transition.sources, f"it cannot be {transition.name}")


def amend(connection: Connection, table: Table, key: dict[str, Any], state: str, **values: Any) -> None:
    """Write `values` into the one row of `key` while it is in this state, else Conflict."""
    where = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*where, table.c.state == state).values(**values)).rowcount != 1:
        raise _stale(connection, table, key, (state,), "it is left as it is")


def _stale(
    connection: Connection, table: Table, key: dict[str, Any], sources: tuple[str, ...], so: str
) -> Conflict:
    where = [table.c[name] == value for name, value in key.items()]
    row = connection.execute(select(table.c.state).where(*where)).scalar_one_or_none()
    return Conflict(
        f"{table.name.removesuffix('s')} {key} is {row or 'missing'}, not {' or '.join(sources)}: {so}",
        code="stale-state",
        fault="platform",
    )
