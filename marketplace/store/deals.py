"""What the contract's events do to the tables: a deal is hastened, and settled, refused or expired.
`openings` has how it opens.

The indexer calls these in the transaction that moves its cursor, so an event counts exactly once. The chain
has the last word: where the tables expected something else (a deal matched by hand, a worker that settled
by itself), the deal is recorded as it happened and the rest follows as far as it makes sense.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, distinct, func, select, update
from sqlalchemy.engine import RowMapping

from marketplace.store import attempting, pauses, rounds, states, trades, transitions
from marketplace.store.database import notify, tell
from marketplace.store.listed import among
from marketplace.store.moves import move_each
from marketplace.store.reports import UNTOLD
from marketplace.store.settling import settle_when_signed, standing_of
from marketplace.store.tables import asks, attempts, deals, jobs, lots, offers
from marketplace.store.terms import terms_of
from marketplace.store.transitions import is_cancelled
from prixfixe.protocol.deals import Due, Fact
from prixfixe.protocol.wire import Reason

log = logging.getLogger(__name__)

_REFUSED: Final = Reason(code="refused", message="the worker refused the job", fault="provider")
_PASSED: Final = Reason(
    code="deadline-passed",
    message="no result was paid before the deadline",
    hint="the whole price came back; order again",
    fault="provider",
)
# Made once: making a statement takes longer than running it.
_OPEN: Final = select(deals).where(among(deals.c.id, "deals"), deals.c.state == "open")


@dataclass(frozen=True, slots=True)
class Settled:
    """A `Settled`. fact: packed. signatures: from the transaction, None when they could not be read. where:
    `receipt.TransactionReference` as JSON."""

    deal: str
    root: str
    done: int
    paid: int
    returned: int
    fact: int
    signatures: list[str] | None
    where: dict[str, Any]


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


def deals_settled(connection: Connection, settled: Sequence[Settled]) -> None:
    """Different deals, open -> settled, and their lots with them.

    An attempt that is paid and has not reported yet (its worker settled by itself) stays as it is: its report
    brings the outputs. One that is not paid is over.
    """
    rows = _open_each(connection, [each.deal for each in settled])
    ended = [(each, rows[each.deal]) for each in settled if each.deal in rows]
    values = [
        {
            "root": each.root,
            "done": each.done,
            "paid": each.paid,
            "returned": each.returned,
            "fact": str(each.fact),
            "signatures": each.signatures,
            "ended": each.where,
        }
        for each, _ in ended
    ]
    if not ended:
        return
    _end_each(connection, states.DEAL_SETTLED, [row for _, row in ended], values)
    trades.lots_traded(connection, [trades.Paid(row, each.fact, each.where) for each, row in ended])
    for each, row in ended:
        ids = {"job": row["job"], "lot": row["lot"], "deal": each.deal}
        told = f"deal settled, {each.done} done, {each.paid} paid"
        tell(connection, told, **ids, transaction=each.where["transaction"])
        signed = Fact.unpack(each.fact).signed
        unpaid = [leg.key for at, leg in enumerate(terms_of(row).legs) if not signed >> at & 1]
        if unpaid:
            _lose_attempts(connection, row, "its replicas were paid without it", of=unpaid)
    lots_of = transitions.lots_of(connection, [(row["job"], row["lot"]) for _, row in ended])
    transitions.lots_settled(connection, [key for key, lot in lots_of.items() if lot.state == "open"])


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
    row = _open(connection, deal_id)
    if row is None:
        return
    failed = connection.execute(
        select(attempts.c.status, attempts.c.reason, attempts.c.worker).where(
            attempts.c.deal == deal_id, attempts.c.opening == row["opening"], attempts.c.state == "failed"
        )
    ).all()
    reasons = [UNTOLD if each.reason is None else Reason(**each.reason) for each in failed]
    theirs = [
        pauses.fault_is_the_providers(each.status, reason)
        for each, reason in zip(failed, reasons, strict=True)
    ]
    # Of several that refused, one whose machine was not at fault says what is wrong with the job.
    told = theirs.index(False) if False in theirs else 0
    reason, retry = (reasons[told], theirs[told]) if failed else (_REFUSED, True)
    _end(
        connection, row, states.DEAL_REFUSED, where, reason, done=0, returned=returned, signatures=signatures
    )
    _lose_attempts(connection, row, "the deal was refused before its worker reported", fault="none")
    cancelled = is_cancelled(connection, row["job"])
    for each, fault in zip(failed, theirs, strict=True):
        if fault and not cancelled:  # it refuses what it was told to refuse
            pauses.worker_failed(connection, each.worker)
    _retry_or_end(connection, row, reason, retry=retry)


def deal_expired(connection: Connection, deal_id: str, *, returned: int, where: dict[str, Any]) -> None:
    """open -> expired. The lot is free again for another worker while the order lives."""
    row = _open(connection, deal_id)
    if row is None:
        return
    round_ = standing_of(connection, deal_id, row["opening"]).round
    split = round_ is not None and round_["state"] == "split"
    reason = rounds.NO_CONSENSUS if split else _PASSED
    _end(connection, row, states.DEAL_EXPIRED, where, reason, returned=returned)
    _lose_attempts(connection, row, "no result arrived before the deadline")
    # Of replicas that all ended, without a quorum, there was none to lose.
    attempting.tasks_left(connection, row["job"], row["lot"])
    _retry_or_end(connection, row, reason, retry=not split or _others_may_agree(connection, row))


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


def _retry_or_end(connection: Connection, row: RowMapping, reason: Reason, *, retry: bool) -> None:
    """The lot of an ended deal: free for another worker, or ended with the reason."""
    job, lot = row["job"], row["lot"]
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


def _open_each(connection: Connection, of: Sequence[str]) -> dict[str, RowMapping]:
    """The open row of each deal: its id holds no time, and at most one opening of it is open."""
    rows = {row["id"]: row for row in connection.execute(_OPEN, {"deals": list(of)}).mappings()}
    for deal in of:
        if deal not in rows:
            log.warning("an event names deal %s, which is not open here", deal)
    return rows


def _open(connection: Connection, deal: str) -> RowMapping | None:
    return _open_each(connection, [deal]).get(deal)


def _end(
    connection: Connection,
    row: RowMapping,
    how: states.Transition,
    where: dict[str, Any],
    reason: Reason,
    **values: Any,
) -> None:
    told = reason.model_dump(mode="json")
    _end_each(connection, how, [row], [{"ended": where, "reason": told, **values}])


def _end_each(
    connection: Connection,
    how: states.Transition,
    rows: Sequence[RowMapping],
    values: Sequence[dict[str, Any]],
) -> None:
    move_each(connection, how, [{"id": row["id"], "opening": row["opening"]} for row in rows], values)
    for row in rows:
        # A worker that still runs it learns at its next heartbeat that it should stop.
        for leg in terms_of(row).legs:
            notify(connection, f"worker:{leg.key}")
        notify(connection, rounds.topic(row["id"]))


def _lose_attempts(
    connection: Connection,
    row: RowMapping,
    why: str,
    of: list[str] | None = None,
    fault: attempting.Fault = "provider",
) -> None:
    """Whoever is still at it has lost it. of: only these workers."""
    unfinished = connection.execute(
        select(attempts.c.id, attempts.c.worker).where(
            attempts.c.deal == row["id"],
            attempts.c.opening == row["opening"],
            attempts.c.state.in_(attempting.ALIVE),
        )
    )
    for attempt in unfinished.all():
        if of is None or attempt.worker in of:
            attempting.attempt_lost(connection, attempt.id, why, fault)


def _lot_is_open(connection: Connection, row: RowMapping) -> bool:
    state = connection.execute(
        select(lots.c.state).where(lots.c.job == row["job"], lots.c.lot == row["lot"])
    ).scalar_one()
    return bool(state == "open")
