"""Deals that the contract opened: a row of each, its lot open, its job running, and an attempt for each leg's
worker.

As in `marketplace.store.deals`, whose other half this is, the chain has the last word, and the indexer calls
it in the transaction that moves its cursor.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from marketplace.store import attempting, rounds, states, transitions
from marketplace.store.database import notify, tell
from marketplace.store.listed import among
from marketplace.store.many import execute_each
from marketplace.store.moves import move_each, moving
from marketplace.store.reports import reports_count_again
from marketplace.store.settling import settle_when_signed
from marketplace.store.tables import attempts, deals, jobs
from prixfixe.protocol.deals import Deal, Due, Leg
from prixfixe.protocol.typed_data import format_bytes32

log = logging.getLogger(__name__)

# Made once: making a statement takes longer than running it.
_JOBS: Final = select(jobs.c.id, jobs.c.state).where(among(jobs.c.id, "jobs"))
_NEWEST: Final = (
    select(deals.c.id, func.max(deals.c.opening).label("newest"))
    .where(among(deals.c.id, "deals"))
    .group_by(deals.c.id)
)
_ATTEMPTS: Final = select(attempts.c.id, attempts.c.state, attempts.c.commitment, attempts.c.signature).where(
    among(attempts.c.id, "attempts")
)
_OPEN: Final = insert(deals)
_ASSIGN: Final = insert(attempts)
_FRESH: Final[dict[str, Any]] = dict.fromkeys(
    ("status", "result", "signature", "reason", "started_at", "ended_at")
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A `DealOpened`. where: `receipt.TransactionReference` as JSON."""

    deal: Deal
    due: int
    where: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Opening:
    """One of an order of this service: its ids as the tables have them."""

    id: str
    job: str
    opening: int
    deal: Deal
    transaction: str

    @property
    def lot(self) -> tuple[str, int]:
        return self.job, self.deal.lot


def deals_opened(connection: Connection, opened: Sequence[Opened]) -> None:
    """New deals, open, of different lots; of each its lot matching -> open; its job running; an assigned
    attempt for each leg's worker."""
    of = list({format_bytes32(each.deal.order) for each in opened})
    job_states = {row.id: row.state for row in connection.execute(_JOBS, {"jobs": of})}
    ids = [format_bytes32(each.deal.id) for each in opened]
    newest = {row.id: row.newest for row in connection.execute(_NEWEST, {"deals": ids})}
    rows, openings = [], []
    for deal_id, each in zip(ids, opened, strict=True):
        job = format_bytes32(each.deal.order)
        if job not in job_states:
            log.warning("deal %s was opened for order %s, which this service does not know", deal_id, job)
            continue
        opening, transaction = newest.get(deal_id, 0) + 1, each.where["transaction"]
        openings.append(_Opening(deal_id, job, opening, each.deal, transaction))
        rows.append(
            {
                "id": deal_id,
                "opening": opening,
                "job": job,
                "lot": each.deal.lot,
                "deal": each.deal.to_json(),
                "due": each.due,
                "deadline": Due.unpack(each.due).deadline,
                "state": "open",
                "opened": each.where,
            }
        )
    if not rows:
        return
    execute_each(connection, _OPEN, rows)
    going = _lots_opened(connection, openings)
    queued = dict.fromkeys(one.job for one in going if job_states[one.job] == "queued")
    move_each(
        connection, states.JOB_STARTED, [{"id": job} for job in queued], [{"reason": None}] * len(queued)
    )
    again = _assign(connection, going)
    workers = {leg.key for one in going for leg in one.deal.legs}
    names = attempting.worker_names(connection, workers)
    for worker in workers:
        notify(connection, f"worker:{worker}")
    for one in going:
        if len(one.deal.legs) > 1:
            rounds.round_begun(connection, one.id, one.opening)
    transitions.stages_said(
        connection,
        {one.job: f"assigned to {', '.join(names[leg.key] for leg in one.deal.legs)}" for one in going},
    )
    for one in going:
        named = {"job": one.job, "lot": one.deal.lot, "deal": one.id}
        tell(connection, "deal opened", **named, transaction=one.transaction)
        if one.id in again:
            # The chain took the deal back and gave it again: a result signed before still counts.
            reports_count_again(connection, *one.lot, one.id, one.opening)
            settle_when_signed(connection, one.id, one.opening)


def attempt_id(deal_id: str, opening: int, worker: str) -> str:
    """The same wherever it is computed, so a rebuild from the chain gives the same attempts. 32 hex
    digits."""
    return hashlib.sha256(f"{deal_id}:{opening}:{worker}".encode("ascii")).hexdigest()[:32]


def _lots_opened(connection: Connection, openings: Sequence[_Opening]) -> list[_Opening]:
    """Open the lots; those whose lot waited for it."""
    found = transitions.lots_of(connection, [each.lot for each in openings])
    going = []
    for each in openings:
        lot = found.get(each.lot)
        if lot is None or lot.state not in states.LOT_OPENED.sources:
            # Nobody will work on it, so it expires and the money comes back whole.
            log.error(
                "deal %s was opened on lot %d of %s, which is over here", each.id, each.deal.lot, each.job
            )
        else:
            going.append(each)
    move_each(
        connection,
        states.LOT_OPENED,
        [{"job": each.job, "lot": each.deal.lot} for each in going],
        [{"tries": found[each.lot].tries + 1, "waiting_reason": None, "not_before": 0.0} for each in going],
    )
    return going


def _assign(connection: Connection, going: Sequence[_Opening]) -> set[str]:
    """An assigned attempt for each leg. One that a re-organisation orphaned is taken up again; the deals that
    had any."""
    legs = {
        attempt_id(each.id, each.opening, leg.key): (each, leg) for each in going for leg in each.deal.legs
    }
    known = {row.id: row for row in connection.execute(_ATTEMPTS, {"attempts": list(legs)})} if legs else {}
    now = int(time.time())
    fresh = [_assigned(attempt, *of, now) for attempt, of in legs.items() if attempt not in known]
    execute_each(connection, _ASSIGN, fresh)
    for attempt, row in known.items():
        if row.state != "succeeded" and row.commitment is None:
            again = moving(states.ATTEMPT_ASSIGNED_AGAIN).where(attempts.c.id == attempt)
            connection.execute(again.values(**_FRESH))
        elif row.state == "lost":
            # What was committed to or signed names no deadline, so it stands.
            how = states.ATTEMPT_COMMITTED if row.signature is None else states.ATTEMPT_OPENED
            stands = moving(how).where(attempts.c.id == attempt)
            connection.execute(stands.values(reason=None, ended_at=None))
    return {legs[attempt][0].id for attempt in known}


def _assigned(attempt: str, each: _Opening, leg: Leg, now: int) -> dict[str, Any]:
    return {
        "id": attempt,
        "deal": each.id,
        "opening": each.opening,
        "job": each.job,
        "lot": each.deal.lot,
        "worker": leg.key,
        "provider": leg.provider,
        "state": "assigned",
        "created_at": now,
        **_FRESH,
    }
