"""What the contract's events do to the tables: a deal opens, is hastened, and is settled, refused or expired.

The indexer calls these in the transaction that moves its cursor, so an event counts exactly once. The chain
has the last word: where the tables expected something else (a deal matched by hand, a worker that settled
by itself), the deal is recorded as it happened and the rest follows as far as it makes sense.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Any

from sqlalchemy import Connection, delete, distinct, func, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import rounds, states, trades, transitions
from marketplace.store.database import notify, tell
from marketplace.store.moves import moving
from marketplace.store.settling import settle_when_signed, standing_of
from marketplace.store.tables import asks, attempts, deals, jobs, lots, offers
from marketplace.store.transitions import is_cancelled
from prixfixe.protocol.deals import Deal, Due, Fact, Leg
from prixfixe.protocol.typed_data import format_bytes32
from prixfixe.protocol.wire import Reason

log = logging.getLogger(__name__)


def deal_opened(connection: Connection, deal: Deal, due: int, where: dict[str, Any]) -> None:
    """A new deal, open; its lot matching -> open; its job running; an assigned attempt for each leg's worker.

    where: `receipt.TransactionReference` as JSON.
    """
    deal_id, job = format_bytes32(deal.id), format_bytes32(deal.order)
    row = connection.execute(select(jobs.c.state).where(jobs.c.id == job)).one_or_none()
    if row is None:
        log.warning("deal %s was opened for order %s, which this service does not know", deal_id, job)
        return
    newest = select(func.coalesce(func.max(deals.c.opening), 0)).where(deals.c.id == deal_id)
    opening = int(connection.execute(newest).scalar_one()) + 1
    connection.execute(
        insert(deals).values(
            id=deal_id,
            opening=opening,
            job=job,
            lot=deal.lot,
            deal=deal.to_json(),
            due=due,
            deadline=Due.unpack(due).deadline,
            state="open",
            opened=where,
        )
    )
    changed = connection.execute(
        moving(states.LOT_OPENED)
        .where(lots.c.job == job, lots.c.lot == deal.lot)
        .values(tries=lots.c.tries + 1, waiting_reason=None, not_before=0.0)
    )
    if changed.rowcount != 1:
        # Nobody will work on it, so it expires and the money comes back whole.
        log.error("deal %s was opened on lot %d of %s, which is over here", deal_id, deal.lot, job)
        return
    if row.state == "queued":
        connection.execute(moving(states.JOB_STARTED).where(jobs.c.id == job).values(reason=None))
    for leg in deal.legs:
        _assign(connection, deal, opening, leg)
        notify(connection, f"worker:{leg.key}")
    if len(deal.legs) > 1:
        rounds.round_begun(connection, deal_id, opening)
    names = ", ".join(transitions.worker_name(connection, leg.key) for leg in deal.legs)
    transitions.stage_said(connection, job, f"assigned to {names}")
    tell(connection, "deal opened", job=job, lot=deal.lot, deal=deal_id, transaction=where["transaction"])
    # The chain took the deal back and gave it again: a result signed before still counts.
    settle_when_signed(connection, deal_id, opening)


def deal_hastened(connection: Connection, deal_id: str, due: int) -> int | None:
    """The deadline of an open deal came forward; the `due` before. What was signed already is settled under
    the new one."""
    row = _open(connection, deal_id)
    if row is None:
        return None
    connection.execute(
        update(deals)
        .where(deals.c.id == deal_id, deals.c.opening == row["opening"])
        .values(due=due, deadline=Due.unpack(due).deadline)
    )
    settle_when_signed(connection, deal_id, row["opening"])
    return int(row["due"])


def deal_settled(
    connection: Connection,
    deal_id: str,
    *,
    root: str,
    done: int,
    paid: int,
    returned: int,
    fact: int,
    signatures: list[str] | None,
    where: dict[str, Any],
) -> None:
    """open -> settled, and its lot with it. fact: packed. signatures: from the transaction, None when they
    could not be read.

    An attempt that is paid and has not reported yet (its worker settled by itself) stays as it is: its report
    brings the outputs. One that is not paid is over.
    """
    row = _end(
        connection,
        deal_id,
        states.DEAL_SETTLED,
        where,
        root=root,
        done=done,
        paid=paid,
        returned=returned,
        fact=str(fact),
        signatures=signatures,
    )
    if row is None:
        return
    trades.lot_traded(connection, row, fact, where)
    tell(
        connection,
        f"deal settled, {done} done, {paid} paid",
        **{"job": row["job"], "lot": row["lot"], "deal": deal_id, "transaction": where["transaction"]},
    )
    signed = Fact.unpack(fact).signed
    unpaid = [leg.key for at, leg in enumerate(Deal.from_json(row["deal"]).legs) if not signed >> at & 1]
    _lose_attempts(connection, row, "its replicas were paid without it", of=unpaid)
    if _lot_is_open(connection, row):
        transitions.lot_settled(connection, row["job"], row["lot"])


def deal_refused(
    connection: Connection,
    deal_id: str,
    *,
    returned: int,
    signatures: list[str] | None,
    where: dict[str, Any],
) -> None:
    """open -> refused. The lot ends with the worker's reason, or is free again when the provider is at
    fault."""
    row = _end(
        connection, deal_id, states.DEAL_REFUSED, where, done=0, returned=returned, signatures=signatures
    )
    if row is None:
        return
    failed = connection.execute(
        select(attempts.c.status, attempts.c.reason, attempts.c.worker).where(
            attempts.c.deal == deal_id, attempts.c.opening == row["opening"], attempts.c.state == "failed"
        )
    ).all()
    _lose_attempts(connection, row, "the deal was refused before its worker reported", fault="none")
    if not failed:
        reason = Reason(code="refused", message="the worker refused the job", fault="provider")
        _retry_or_end(connection, row, reason, retry=True)
        return
    reasons = [
        Reason(code="failed", message="the job failed") if each.reason is None else Reason(**each.reason)
        for each in failed
    ]
    theirs = [
        transitions.fault_is_the_providers(each.status, reason)
        for each, reason in zip(failed, reasons, strict=True)
    ]
    cancelled = is_cancelled(connection, row["job"])
    for each, fault in zip(failed, theirs, strict=True):
        if fault and not cancelled:  # it refuses what it was told to refuse
            transitions.worker_failed(connection, each.worker)
    # Of several that refused, one whose machine was not at fault says what is wrong with the job.
    told = theirs.index(False) if False in theirs else 0
    _retry_or_end(connection, row, reasons[told], retry=theirs[told])


def deal_expired(connection: Connection, deal_id: str, *, returned: int, where: dict[str, Any]) -> None:
    """open -> expired. The lot is free again for another worker while the order lives."""
    row = _end(connection, deal_id, states.DEAL_EXPIRED, where, returned=returned)
    if row is None:
        return
    round_ = standing_of(connection, deal_id, row["opening"]).round
    split = round_ is not None and round_["state"] == "split"
    _lose_attempts(connection, row, "no result arrived before the deadline")
    if split:
        _retry_or_end(connection, row, rounds.NO_CONSENSUS, retry=_others_may_agree(connection, row))
        return
    reason = Reason(
        code="deadline-passed",
        message="no result was paid before the deadline",
        hint="the whole price came back; order again",
        fault="provider",
    )
    _retry_or_end(connection, row, reason, retry=True)


def lot_cancelled(connection: Connection, job: str, lot: int) -> None:
    """Its customer closed a free lot on the chain: free or matching -> ended."""
    state = connection.execute(
        select(lots.c.state).where(lots.c.job == job, lots.c.lot == lot)
    ).scalar_one_or_none()
    if state in ("free", "matching"):
        reason = Reason(code="cancelled", message="cancelled by its customer on the chain", fault="customer")
        transitions.lot_ended(connection, job, lot, reason, states.LOT_CLOSED)


def account_bumped(connection: Connection, account: str, era: int) -> None:
    """What `account` signed under an older era is dead: its free lots end, its asks are forgotten."""
    found = connection.execute(
        select(lots.c.job, lots.c.lot, jobs.c.order)
        .join(jobs, jobs.c.id == lots.c.job)
        .where(jobs.c.customer == account, lots.c.state == "free")
    ).all()
    message = "the customer ended all orders of that time (bump)"
    reason = Reason(code="order-ended", message=message, hint="order again", fault="customer")
    for row in found:
        if row.order["era"] < era:
            transitions.lot_ended(connection, row.job, row.lot, reason, states.LOT_GIVEN_UP)
    connection.execute(delete(asks).where(asks.c.provider == account))


def key_authorised(connection: Connection, provider: str, key: str, until: int) -> None:
    """A provider let a worker key sign, or (`until` 0) no longer: then its asks are forgotten."""
    if until == 0:
        connection.execute(delete(asks).where(asks.c.worker == key, asks.c.provider == provider))


def offer_until(connection: Connection, offer_id: str, until: int) -> int | None:
    """Mirror the end of an offer; what it was before, None for an offer that is not listed here."""
    before = connection.execute(
        select(offers.c.until).where(offers.c.offer_id == offer_id)
    ).scalar_one_or_none()
    if before is not None:
        connection.execute(update(offers).where(offers.c.offer_id == offer_id).values(until=until))
    return before


def attempt_id(deal_id: str, opening: int, worker: str) -> str:
    """The same wherever it is computed, so a rebuild from the chain gives the same attempts. 32 hex
    digits."""
    return hashlib.sha256(f"{deal_id}:{opening}:{worker}".encode("ascii")).hexdigest()[:32]


def _assign(connection: Connection, deal: Deal, opening: int, leg: Leg) -> None:
    """An assigned attempt for a leg. One that a re-organisation orphaned is taken up again."""
    deal_id = format_bytes32(deal.id)
    attempt = attempt_id(deal_id, opening, leg.key)
    known = connection.execute(
        select(attempts.c.state, attempts.c.commitment).where(attempts.c.id == attempt)
    ).one_or_none()
    state = None if known is None else known.state
    if known is not None and (state == "succeeded" or known.commitment is not None):
        return  # what was committed to or signed names no deadline, so it stands
    fresh: dict[str, Any] = {
        "status": None,
        "result": None,
        "signature": None,
        "reason": None,
        "started_at": None,
        "ended_at": None,
    }
    if state is not None:
        again = moving(states.ATTEMPT_ASSIGNED_AGAIN).where(attempts.c.id == attempt)
        connection.execute(again.values(**fresh))
        return
    connection.execute(
        insert(attempts).values(
            id=attempt,
            deal=deal_id,
            opening=opening,
            job=format_bytes32(deal.order),
            lot=deal.lot,
            worker=leg.key,
            provider=leg.provider,
            state="assigned",
            created_at=int(time.time()),
            **fresh,
        )
    )


def _retry_or_end(connection: Connection, row: RowMapping, reason: Reason, *, retry: bool) -> None:
    """The lot of an ended deal: free for another worker, or ended with the reason."""
    job, lot = row["job"], row["lot"]
    told = reason.model_dump(mode="json")
    of_deal = (deals.c.id == row["id"], deals.c.opening == row["opening"])
    connection.execute(update(deals).where(*of_deal).values(reason=told))
    if not _lot_is_open(connection, row):
        return
    if is_cancelled(connection, job):
        transitions.lot_freed(connection, job, lot, reason.message)
        transitions.end_if_cancelled(connection, job, lot)
        return
    tries = connection.execute(select(lots.c.tries).where(lots.c.job == job, lots.c.lot == lot)).scalar_one()
    if not retry:
        transitions.lot_ended(connection, job, lot, reason)
    elif tries >= transitions.MAX_TRIES:
        message = f"{tries} workers were tried; the last: {reason.message}"
        transitions.lot_ended(connection, job, lot, reason.model_copy(update={"message": message}))
    else:
        transitions.lot_freed(connection, job, lot, reason.message)


def _others_may_agree(connection: Connection, row: RowMapping) -> bool:
    """Whether a lot whose replicas disagreed is worth a second set: some of the first may have lied where the
    job's bytes are declared to agree, and as many others must ask for it, or its customer waits for
    nobody."""
    job = connection.execute(select(jobs).where(jobs.c.id == row["job"])).mappings().one()
    tries = select(lots.c.tries).where(lots.c.job == row["job"], lots.c.lot == row["lot"])
    if job["manifest"].get("determinism", "none") == "none" or connection.execute(tries).scalar_one() > 1:
        return False
    ran = select(attempts.c.provider).where(attempts.c.job == row["job"], attempts.c.lot == row["lot"])
    others = select(func.count(distinct(asks.c.provider))).where(
        asks.c.product == job["product"], asks.c.provider.not_in(ran)
    )
    return bool(connection.execute(others).scalar_one() >= job["replicas"])


def _open(connection: Connection, deal_id: str) -> RowMapping | None:
    """The open row of a deal: its id holds no time, and at most one opening of it is open."""
    row = (
        connection.execute(select(deals).where(deals.c.id == deal_id, deals.c.state == "open"))
        .mappings()
        .one_or_none()
    )
    if row is None:
        log.warning("an event names deal %s, which is not open here", deal_id)
    return row


def _end(
    connection: Connection, deal_id: str, how: states.Transition, where: dict[str, Any], **values: Any
) -> RowMapping | None:
    row = _open(connection, deal_id)
    if row is not None:
        connection.execute(
            moving(how)
            .where(deals.c.id == deal_id, deals.c.opening == row["opening"])
            .values(ended=where, **values)
        )
        # A worker that still runs it learns at its next heartbeat that it should stop.
        for leg in Deal.from_json(row["deal"]).legs:
            notify(connection, f"worker:{leg.key}")
        notify(connection, rounds.topic(deal_id))
    return row


def _lose_attempts(
    connection: Connection,
    row: RowMapping,
    why: str,
    of: list[str] | None = None,
    fault: transitions.Fault = "provider",
) -> None:
    """Whoever is still at it has lost it. of: only these workers."""
    unfinished = connection.execute(
        select(attempts.c.id, attempts.c.worker).where(
            attempts.c.deal == row["id"],
            attempts.c.opening == row["opening"],
            attempts.c.state.in_(transitions.ALIVE),
        )
    )
    for attempt in unfinished.all():
        if of is None or attempt.worker in of:
            transitions.attempt_lost(connection, attempt.id, why, fault)


def _lot_is_open(connection: Connection, row: RowMapping) -> bool:
    state = connection.execute(
        select(lots.c.state).where(lots.c.job == row["job"], lots.c.lot == row["lot"])
    ).scalar_one()
    return bool(state == "open")
