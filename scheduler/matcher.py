"""The matcher: gives waiting lots to workers whose asks fit, and tells the others why they wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.engine import RowMapping

from marketplace.auctions import promised_of, purses_of
from marketplace.chain import ChainReader
from marketplace.newcomers import Newcomers
from marketplace.reputation import Reputations
from marketplace.resting import MarketTerms, resting_asks
from marketplace.store import batches, states, transitions
from marketplace.store.database import Store
from marketplace.store.tables import attempts, cursor, deals, jobs, lots
from marketplace.wanted import COLUMNS, SOURCE, wanted_of
from prixfixe.errors import Conflict
from prixfixe.market.matching import Pair, Round, match
from prixfixe.market.rules import Wanted
from prixfixe.protocol.wire import Reason
from scheduler.duty import Duty

_LOTS_A_ROUND: Final = 500
_FURTHER_SECONDS: Final = 0.1  # before the next part of a long queue is looked at, while nothing matches
_WAITING_SECONDS: Final = 0.5  # heartbeats, cool-downs and back-offs end without a notification
_IDLE_SECONDS: Final = 30.0
_NEWCOMER_SECONDS: Final = 30.0  # for another worker to come, once a lot failed on all that there are


class Matcher(Duty):
    """Turns free lots and live asks into `match` transactions in the outbox."""

    name = "matcher"
    topics = ("lots", "asks")
    spacing_seconds = 0.05

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        terms: MarketTerms,
        reputations: Reputations,
        newcomers: Newcomers,
    ) -> None:
        super().__init__(store)
        self._reputations: Final = reputations
        self._newcomers: Final = newcomers
        self._chain: Final = chain
        self._terms: Final = terms
        self._reached: _Place | None = None

    def run_once(self) -> float:
        now = time.time()
        with self.store.read() as connection:
            waiting = self._free_lots(connection, now)
            if not waiting:
                return _WAITING_SECONDS if _any_free_lot(connection) else _IDLE_SECONDS
            resting = resting_asks(connection, {bytes.fromhex(row["product"][2:]) for row in waiting})
            past = [_tried(connection, row) for row in waiting]
            promised = promised_of(connection)
            seed = _seed(connection)
            batch = batches.last_position(connection)
        customers = {row["customer"] for row in waiting}
        view = self._chain.look(accounts=sorted(customers.union(resting.providers)), fee=True)
        purses = purses_of(customers, promised, view, self._terms.surety)
        grades = self._reputations.grades(resting.providers, view.time)
        under_way = self._newcomers.under_way(resting.providers, view.time, grades)
        wanted = [
            wanted_of(row, tried.ends, view.fee_bps, tried.providers)
            for row, tried in zip(waiting, past, strict=True)
        ]
        matched = match(
            wanted,
            resting.offered(view, now, grades, under_way),
            self._terms.conditions(view.time),
            seed,
            {customer: purse.free for customer, purse in purses.items()},
        )
        left_out = self._store(matched, resting.rows, waiting, batch)
        since = {(row["job"], row["lot"]): tried.last for row, tried in zip(waiting, past, strict=True)}
        self._give_up([lot for lot in matched.spent if since[lot.job, lot.lot] + _NEWCOMER_SECONDS < now])
        if left_out:
            return 0.0
        if self._reached is not None:
            return 0.0 if matched.pairs else _FURTHER_SECONDS
        return _WAITING_SECONDS if matched.waiting else _IDLE_SECONDS

    def _free_lots(self, connection: Connection, now: float) -> Sequence[RowMapping]:
        """The oldest, and behind them another part of the queue each time: else an order of many lots that
        nobody takes would keep out all that came later."""
        part = _LOTS_A_ROUND // 2
        oldest = _free_lots(connection, now, _Place(0, -1), part)
        further: Sequence[RowMapping] = ()
        if len(oldest) == part:
            first = _place(oldest[-1])
            further = _free_lots(connection, now, max(first, self._reached or first), part)
        self._reached = _place(further[-1]) if len(further) == part else None
        return [*oldest, *further]

    def _store(
        self, matched: Round, resting: Sequence[RowMapping], waiting: Sequence[RowMapping], batch: int
    ) -> bool:
        """Whether pairs are left for the next round: those with a newcomer, whose cap was measured before the
        auction closed another batch than `batch`, the newest then. Nobody else opens deals."""
        said = {(row["job"], row["lot"]): row["waiting_reason"] for row in waiting}
        signed = {(row["worker"], row["product"]): row for row in resting}
        news = [(lot, why) for lot, why in matched.waiting if said[lot.job, lot.lot] != why]
        if not matched.pairs and not news:
            return False
        with self.store.write() as connection:
            wishes = {}
            pairs = matched.pairs
            if any(map(_has_newcomer, pairs)) and batches.last_position(connection) != batch:
                pairs = tuple(pair for pair in pairs if not _has_newcomer(pair))
            for pair in pairs:
                product = "0x" + pair.wanted.product.hex()
                rows = [signed[ask.worker, product] for ask in pair.offered]
                wishes[pair.wanted.job, pair.wanted.lot] = [
                    {"worker": row["worker"], "ask": row["ask"], "signature": row["signature"]}
                    for row in rows
                ]
            transitions.lots_matched(connection, wishes)
            transitions.lots_wait(connection, {(lot.job, lot.lot): why for lot, why in news})
        return len(pairs) < len(matched.pairs)

    def _give_up(self, spent: Sequence[Wanted]) -> None:
        """Lots that failed on every worker there is, and no other came: they need not wait for their order's
        end."""
        for lot in spent:
            with self.store.write() as connection:
                last = (
                    select(deals.c.reason)
                    .where(deals.c.job == lot.job, deals.c.lot == lot.lot, deals.c.reason.is_not(None))
                    .order_by(deals.c.deadline.desc())
                    .limit(1)
                )
                known = connection.execute(last).scalar_one_or_none()
                reason = Reason(code="failed-everywhere", message="", fault="provider")
                if known is not None:
                    reason = Reason.model_validate(known)
                count = len(lot.failed_on)
                tried = "the one worker" if count == 1 else f"all {count} workers"
                told = {"message": f"{tried} that could take it failed; the last: {reason.message}"}
                _unless_changed(
                    connection,
                    transitions.lot_ended,
                    lot.job,
                    lot.lot,
                    reason.model_copy(update=told),
                    states.LOT_GIVEN_UP,
                )


def _has_newcomer(pair: Pair) -> bool:
    return any(each.newcomer_open is not None for each in pair.offered)


def _unless_changed(connection: Connection, transition: Any, *arguments: Any) -> None:
    """A transition, or nothing when the lot was cancelled or ended since it was read."""
    try:
        with connection.begin_nested():
            transition(connection, *arguments)
    except Conflict:
        pass


def _seed(connection: Connection) -> bytes:
    """The hash of the newest block that was read: decides ties, and nobody chose it."""
    newest = connection.execute(select(cursor.c.hash).limit(1)).scalar_one_or_none()
    return b"" if newest is None else bytes.fromhex(newest[2:])


class _Place(NamedTuple):
    """Where a lot stands in the queue."""

    number: int
    lot: int


def _place(row: RowMapping) -> _Place:
    return _Place(row["number"], row["lot"])


def _free_lots(connection: Connection, now: float, after: _Place, most: int) -> Sequence[RowMapping]:
    return (
        connection.execute(
            select(*COLUMNS, jobs.c.number, lots.c.tries, lots.c.waiting_reason)
            .select_from(SOURCE)
            .where(lots.c.state == "free", lots.c.not_before <= now, jobs.c.kind != "auction")
            # The first says the same as the second, of one table, so that its index is used.
            .where(jobs.c.number >= after.number, tuple_(jobs.c.number, lots.c.lot) > after)
            .order_by(jobs.c.number, lots.c.lot)
            .limit(most)
        )
        .mappings()
        .all()
    )


def _any_free_lot(connection: Connection) -> bool:
    return connection.execute(select(lots.c.job).where(lots.c.state == "free").limit(1)).first() is not None


@dataclass(frozen=True, slots=True)
class _Past:
    """How a lot's earlier attempts ended, by worker; whose they were; when the last ended, service clock."""

    ends: dict[str, str]
    providers: frozenset[str]
    last: int


def _tried(connection: Connection, row: RowMapping) -> _Past:
    if not row["tries"]:
        return _Past({}, frozenset(), 0)
    tried = connection.execute(
        select(attempts.c.worker, attempts.c.provider, attempts.c.state, attempts.c.ended_at).where(
            attempts.c.job == row["job"], attempts.c.lot == row["lot"]
        )
    ).all()
    return _Past(
        {each.worker: each.state for each in tried},
        frozenset(each.provider for each in tried if each.state in ("failed", "lost")),
        max((each.ended_at or 0 for each in tried), default=0),
    )
