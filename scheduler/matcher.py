"""The matcher: gives waiting lots to workers whose asks fit, and tells the others why they wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.auctions import promised_of, purses_of
from marketplace.chain import ChainReader
from marketplace.reputation import Reputations
from marketplace.resting import MarketTerms, newcomers_open, resting_asks
from marketplace.store import transitions
from marketplace.store.database import Store
from marketplace.store.tables import attempts, cursor, jobs, lots
from marketplace.wanted import COLUMNS, SOURCE, wanted_of
from prixfixe.errors import Conflict
from prixfixe.market.matching import Round, match
from prixfixe.market.reputation import Grade
from scheduler.duty import Duty

_LOTS_A_ROUND: Final = 500
_WAITING_SECONDS: Final = 0.5  # heartbeats, cool-downs and back-offs end without a notification
_IDLE_SECONDS: Final = 30.0


class Matcher(Duty):
    """Turns free lots and live asks into `match` transactions in the outbox."""

    name = "matcher"
    topics = ("lots", "asks")

    def __init__(
        self, store: Store, chain: ChainReader, terms: MarketTerms, reputations: Reputations
    ) -> None:
        super().__init__(store)
        self._reputations: Final = reputations
        self._chain: Final = chain
        self._terms: Final = terms

    def run_once(self) -> float:
        now = time.time()
        with self.store.read() as connection:
            waiting = _free_lots(connection, now)
            if not waiting:
                return _WAITING_SECONDS if _any_free_lot(connection) else _IDLE_SECONDS
            resting = resting_asks(connection, {bytes.fromhex(row["product"][2:]) for row in waiting})
            past = [_tried(connection, row) for row in waiting]
            promised = promised_of(connection)
            seed = _seed(connection)
        customers = {row["customer"] for row in waiting}
        view = self._chain.look(accounts=sorted(customers.union(resting.providers)), fee=True)
        purses = purses_of(customers, promised, view, self._terms.surety)
        grades = self._reputations.grades(resting.providers, view.time)
        with self.store.read() as connection:
            under_way = newcomers_open(connection, [one for one in grades if grades[one] is Grade.NEW])
        wanted = [wanted_of(row, tried, view.fee_bps) for row, tried in zip(waiting, past, strict=True)]
        matched = match(
            wanted,
            resting.offered(view, now, grades, under_way),
            self._terms.conditions(view.time),
            seed,
            {customer: purse.free for customer, purse in purses.items()},
        )
        self._store(matched, resting.rows, waiting)
        return _WAITING_SECONDS if matched.waiting else _IDLE_SECONDS

    def _store(self, matched: Round, resting: Sequence[RowMapping], waiting: Sequence[RowMapping]) -> None:
        said = {(row["job"], row["lot"]): row["waiting_reason"] for row in waiting}
        signed = {(row["worker"], row["product"]): row for row in resting}
        news = [(lot, why) for lot, why in matched.waiting if said[lot.job, lot.lot] != why]
        if not matched.pairs and not news:
            return
        with self.store.write() as connection:
            for pair in matched.pairs:
                product = "0x" + pair.wanted.product.hex()
                rows = [signed[ask.worker, product] for ask in pair.offered]
                legs = [
                    {"worker": row["worker"], "ask": row["ask"], "signature": row["signature"]}
                    for row in rows
                ]
                _unless_changed(connection, transitions.lot_matched, pair.wanted.job, pair.wanted.lot, legs)
            for lot, why in news:
                _unless_changed(connection, transitions.lot_waits, lot.job, lot.lot, why)


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


def _free_lots(connection: Connection, now: float) -> Sequence[RowMapping]:
    return (
        connection.execute(
            select(*COLUMNS, lots.c.tries, lots.c.waiting_reason)
            .select_from(SOURCE)
            .where(lots.c.state == "free", lots.c.not_before <= now, jobs.c.kind != "auction")
            .order_by(jobs.c.number, lots.c.lot)
            .limit(_LOTS_A_ROUND)
        )
        .mappings()
        .all()
    )


def _any_free_lot(connection: Connection) -> bool:
    return connection.execute(select(lots.c.job).where(lots.c.state == "free").limit(1)).first() is not None


def _tried(connection: Connection, row: RowMapping) -> dict[str, str]:
    """How the lot's earlier attempts ended, by worker."""
    if not row["tries"]:
        return {}
    tried = connection.execute(
        select(attempts.c.worker, attempts.c.state).where(
            attempts.c.job == row["job"], attempts.c.lot == row["lot"]
        )
    )
    return {each.worker: each.state for each in tried}
