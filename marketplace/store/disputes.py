"""What the court's events do to the tables: a case opens, and ends guilty, acquitted or lapsed.

Called by the indexer like `marketplace.store.deals`, in the transaction that moves its cursor, and taken back
by `marketplace.store.rewind`. A job stays settled while its deals are disputed: its outputs are there, and
what it was charged changes only when a deal is found guilty.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import states
from marketplace.store.database import notify
from marketplace.store.moves import moving
from marketplace.store.tables import cases, deals, jobs
from marketplace.store.transitions import charged
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.disputes import Claim

log = logging.getLogger(__name__)


def case_opened(
    connection: Connection,
    deal_id: str,
    *,
    challenger: str,
    claim: Claim,
    until: int,
    bond: int,
    fees: list[int],
    where: dict[str, Any],
) -> None:
    """A new case, open; its deal settled -> disputed. where: `receipt.TransactionReference` as JSON."""
    deal = _deal(connection, deal_id, "settled")
    if deal is None:
        return
    newest = select(func.coalesce(func.max(cases.c.number), 0)).where(cases.c.deal == deal_id)
    connection.execute(
        insert(cases).values(
            deal=deal_id,
            number=int(connection.execute(newest).scalar_one()) + 1,
            opening=deal["opening"],
            job=deal["job"],
            lot=deal["lot"],
            challenger=challenger,
            claim=claim.to_json(),
            until=until,
            bond=bond,
            fees=[str(fee) for fee in fees],
            fact=deal["fact"],
            state="open",
            opened=where,
        )
    )
    _move(connection, deal, states.DEAL_DISPUTED)


def case_judged(
    connection: Connection, deal_id: str, *, guilty: bool, fee: int, fact: int, where: dict[str, Any]
) -> None:
    """open -> guilty, its deal disputed -> guilty and its job charged that much less; or open -> acquitted,
    its deal disputed -> settled with a new fact."""
    deal = _deal(connection, deal_id, "disputed")
    if deal is None:
        return
    if not guilty:
        _end(connection, deal_id, states.CASE_ACQUITTED, where, fee=fee)
        _move(connection, deal, states.DEAL_CLEARED, fact=str(fact))
        return
    kept = Deal.from_json(deal["deal"]).total.units - deal["returned"]
    _end(connection, deal_id, states.CASE_GUILTY, where, fee=fee, returned=kept)
    _move(connection, deal, states.DEAL_CONVICTED)


def case_lapsed(connection: Connection, deal_id: str, *, fact: int, where: dict[str, Any]) -> None:
    """open -> lapsed, its deal disputed -> settled with a new fact."""
    deal = _deal(connection, deal_id, "disputed")
    if deal is not None:
        _end(connection, deal_id, states.CASE_LAPSED, where)
        _move(connection, deal, states.DEAL_CLEARED, fact=str(fact))


def open_cases(connection: Connection) -> list[RowMapping]:
    """Cases that wait for a judgement, oldest first."""
    found = connection.execute(select(cases).where(cases.c.state == "open").order_by(cases.c.until))
    return list(found.mappings().all())


def cases_of(connection: Connection, job: str) -> list[RowMapping]:
    """All cases of a job's deals, in the chain's order."""
    found = connection.execute(select(cases).where(cases.c.job == job)).mappings().all()
    return sorted(found, key=lambda row: (row["opened"]["block"], row["opened"]["log_index"]))


def unopen(connection: Connection, deal_id: str) -> None:
    """The chain took the newest challenge of a deal back."""
    case, deal = _newest(connection, deal_id), _deal(connection, deal_id, "disputed")
    if case is not None and deal is not None:
        connection.execute(delete(cases).where(cases.c.deal == deal_id, cases.c.number == case["number"]))
        _move(connection, deal, states.DEAL_UNDISPUTED)


def reopen(connection: Connection, deal_id: str) -> None:
    """The chain took the end of a deal's newest case back."""
    case = _newest(connection, deal_id)
    deal = _deal(connection, deal_id, "guilty", "settled")
    if case is None or case["state"] == "open" or deal is None:
        return
    connection.execute(
        moving(states.CASE_REOPENED)
        .where(cases.c.deal == deal_id, cases.c.number == case["number"])
        .values(fee=None, returned=None, ended=None)
    )
    _move(connection, deal, states.DEAL_DISPUTED_AGAIN, fact=case["fact"])


def _deal(connection: Connection, deal_id: str, *states: str) -> RowMapping | None:
    """The one opening of a deal that is in one of the states; a settlement is final, so there is one."""
    query = select(deals).where(deals.c.id == deal_id, deals.c.state.in_(states))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        log.warning("the court's event names deal %s, which is not %s here", deal_id, " or ".join(states))
    return row


def _newest(connection: Connection, deal_id: str) -> RowMapping | None:
    query = select(cases).where(cases.c.deal == deal_id).order_by(cases.c.number.desc())
    return connection.execute(query).mappings().first()


def _end(
    connection: Connection, deal_id: str, how: states.Transition, where: dict[str, Any], **values: Any
) -> None:
    connection.execute(moving(how).where(cases.c.deal == deal_id).values(ended=where, **values))


def _move(connection: Connection, deal: RowMapping, how: states.Transition, **values: Any) -> None:
    """The deal's state, and what its job was charged, if that is over, with it."""
    connection.execute(
        moving(how).where(deals.c.id == deal["id"], deals.c.opening == deal["opening"]).values(**values)
    )
    over = (jobs.c.id == deal["job"], jobs.c.ended_at.is_not(None))
    connection.execute(update(jobs).where(*over).values(charged=charged(connection, deal["job"])))
    notify(connection, "cases")
    notify(connection, f"job:{deal['job']}")
