"""Undo what the chain took back: the transitions that are marked as rewinds, and `disputes`' and `outbox`'.

Called by the indexer for each event of a block that is no longer on the chain, newest first, in the
transaction that moves its cursor back. A deal's attempts survive: their ids follow from the deal, which
holds no time, so the same deal opened again finds the same attempt, with its result when there was one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import attempting, batches, disputes, states, trades, transitions
from marketplace.store.database import notify
from marketplace.store.events import add_event
from marketplace.store.moves import moving
from marketplace.store.reports import reports_count_again
from marketplace.store.settling import settle_when_signed
from marketplace.store.tables import attempts, deals, jobs, lots, offers


def undo(connection: Connection, name: str, data: dict[str, Any]) -> None:
    """Undo one event by its name and its stored data. Events that moved nothing need nothing."""
    if name == "DealOpened":
        _unopen(connection, data["deal"])
    elif name in ("Settled", "Refused", "Expired"):
        _reopen(connection, data["deal"])
    elif name == "Hastened" and data.get("before") is not None:
        connection.execute(
            update(deals)
            .where(deals.c.id == data["deal"], deals.c.state == "open")
            .values(due=data["before"], deadline=data["before"] & (1 << 40) - 1)
        )
    elif name in ("Published", "Retired") and data.get("before") is not None:
        connection.execute(update(offers).where(offers.c.offer_id == data["id"]).values(until=data["before"]))
    elif name == "Cleared":
        batches.batch_uncleared(connection, data["batch"])
    elif name == "Challenged":
        disputes.unopen(connection, data["deal"])
    elif name in ("Judged", "Lapsed"):
        disputes.reopen(connection, data["deal"])
    elif name == "Cancelled":
        _revive(connection, data["order"], data["lot"], states.LOT_UNCANCELLED)


def _unopen(connection: Connection, deal: str) -> None:
    """The newest opening of the deal never happened. What its workers reported counts again if the deal comes
    again, and says nothing of another's."""
    row = _newest(connection, deal)
    if row is None:
        return
    for attempt in _attempts(connection, row, attempting.ALIVE):
        attempting.attempt_lost(connection, attempt["id"], "the chain took its deal back", fault="none")
    connection.execute(delete(deals).where(deals.c.id == deal, deals.c.opening == row["opening"]))
    if _revive(connection, row["job"], row["lot"], states.LOT_UNOPENED, tries=-1):
        transitions.tasks_queued_again(connection, row["job"], row["lot"])
    notify(connection, "lots")


def _reopen(connection: Connection, deal: str) -> None:
    """The newest opening of the deal has not ended. What its workers reported counts again."""
    row = _newest(connection, deal)
    if row is None or row["state"] == "open":
        return
    connection.execute(
        moving(states.DEAL_REOPENED)
        .where(deals.c.id == deal, deals.c.opening == row["opening"])
        .values(
            root=None,
            done=None,
            signatures=None,
            paid=None,
            returned=None,
            reason=None,
            fact=None,
            ended=None,
        )
    )
    trades.lot_untraded(connection, deal, row["opening"])
    _revive(connection, row["job"], row["lot"], states.LOT_REOPENED)
    reports_count_again(connection, row["job"], row["lot"], deal, row["opening"])
    settle_when_signed(connection, deal, row["opening"])


def _revive(connection: Connection, job: str, lot: int, how: states.Transition, *, tries: int = 0) -> bool:
    """A lot and its job are alive again; whether they were not: the event may have found the lot over, and
    moved nothing."""
    revived = connection.execute(
        moving(how)
        .where(lots.c.job == job, lots.c.lot == lot)
        .values(tries=lots.c.tries + tries, waiting_reason=None, reason=None, not_before=0.0)
    )
    if not revived.rowcount:
        return False
    matched = connection.execute(select(deals.c.id).where(deals.c.job == job).limit(1)).first() is not None
    again = states.JOB_RESUMED if matched else states.JOB_UNSTARTED
    stage = "the chain was re-organised; going on"
    told = {"stage": stage, "charged": 0, "ended_at": None, "reason": None}
    moved = connection.execute(moving(again).where(jobs.c.id == job).values(**told))
    if not moved.rowcount:
        connection.execute(update(jobs).where(jobs.c.id == job).values(**told))
    add_event(connection, job, "state", {"state": again.target, "stage": stage})
    if how.target == "free":
        transitions.end_if_cancelled(connection, job, lot)
    return True


def _newest(connection: Connection, deal: str) -> RowMapping | None:
    found = connection.execute(select(deals).where(deals.c.id == deal).order_by(deals.c.opening.desc()))
    return found.mappings().first()


def _attempts(connection: Connection, row: RowMapping, states: tuple[str, ...]) -> list[RowMapping]:
    found = connection.execute(
        select(attempts).where(
            attempts.c.deal == row["id"],
            attempts.c.opening == row["opening"],
            attempts.c.state.in_(states),
        )
    )
    return list(found.mappings().all())
