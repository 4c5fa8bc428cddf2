"""Why a worker did not get the newest lots of its products: the rules of the market, asked of the past.

A lot that others got is judged at the moment in which it was matched, by what the worker asked then, whether
it was heard, draining, busy or cooling down; surety and era are those of now. The rules are those that match.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader, ChainView
from marketplace.earnings import worker_of
from marketplace.reputation import Reputations
from marketplace.resting import MarketTerms, capabilities_of
from marketplace.store.database import Store, first_cool_down
from marketplace.store.moments import Past
from marketplace.store.pauses import cool_down_seconds, fault_is_the_providers
from marketplace.store.tables import asks, attempts, deals, jobs, lots, reruns
from marketplace.wanted import COLUMNS, SOURCE, wanted_of
from prixfixe.market.rules import Conditions, Offered, Wanted, excluding, slots_taken
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.prices import Miss, ReasonCount, WorkerWhy
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import Reason

LOOKED_AT: Final = 500  # of the newest lots of a worker's products
_NOT_ASKED: Final = "no ask of yours rested: it has to ask for this product before the lot comes"
_OUTBID: Final = "others asked less"
_DRAW: Final = "behind at the same price"
_CHOSEN_ELSEWHERE: Final = "not chosen"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """reasons: in the order of the rules. said: each with what would admit the ask. gap: how far away the
    price was, token units."""

    reasons: tuple[str, ...]
    said: tuple[str, ...]
    gap: int


class WhyUnfilled:
    """Reads for a worker's key and its provider."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        terms: MarketTerms,
        reputations: Reputations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reputations = reputations
        self._store = store
        self._chain = chain
        self._terms = terms
        self._clock = clock

    def why(self, key: str, asker: str, limit: int) -> WorkerWhy:
        """The newest `limit` lots that it did not get. NotFound for a stranger."""
        with self._store.read() as connection:
            worker = worker_of(connection, key, asker)
            past = Past.of(connection, key)
            resting = _resting(connection, key)
            products = sorted(past.products | set(resting))
            rows = _newest_lots(connection, products)
            taken = _attempts(connection, {row["job"] for row in rows})
            opened = _openings(connection, {row["job"] for row in rows})
            own = _own(connection, key)
            first = first_cool_down(connection)
        view = self._chain.look(accounts=(worker["provider"],), fee=True)
        standing = _Standing(worker, past, resting, own, view, self._terms, first, self._clock())
        misses: list[Miss] = []
        counts: Counter[str] = Counter()
        nearest: tuple[tuple[int, int], str] | None = None
        got = 0
        for row in rows:
            of_lot = taken.get((row["job"], row["lot"]), [])
            if any(each["worker"] == key for each in of_lot):
                got += 1
                continue
            if len(misses) == limit:
                break
            miss, verdict = standing.judge(row, of_lot, opened.get((row["job"], row["lot"])))
            misses.append(miss)
            counts[verdict.reasons[0]] += 1
            rank = (len(verdict.reasons), verdict.gap)
            if nearest is None or rank < nearest[0]:
                nearest = (rank, "; ".join(verdict.said))
        return WorkerWhy(
            key=key,
            products=tuple(Product.from_bytes(bytes.fromhex(code[2:])) for code in products),
            got=got,
            misses=tuple(misses),
            counts=tuple(
                ReasonCount(reason=reason, lots=count)
                for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ),
            nearest=nearest[1] if nearest else None,
            standing=self._reputations.record(worker["provider"], view.time),
        )


@dataclass(frozen=True, slots=True)
class _Standing:
    """A worker with all that is known of it. resting: its asks by product. own: its attempts.
    cool_down: seconds after a first failure."""

    worker: RowMapping
    past: Past
    resting: Mapping[str, dict[str, Any]]
    own: Sequence[RowMapping]
    view: ChainView
    terms: MarketTerms
    cool_down: float
    now: float

    def judge(
        self, row: RowMapping, of_lot: Sequence[RowMapping], opened: RowMapping | None
    ) -> tuple[Miss, _Verdict]:
        """A lot that it did not get. opened: its newest deal."""
        tried = {each["worker"]: each["state"] for each in of_lot}
        wanted = wanted_of(row, tried, self.view.fee_bps)
        if opened is not None:
            deal = Deal.from_json(opened["deal"])
            outcome, paid = "elsewhere", max(leg.pay for leg in deal.legs)
            # Written in whole seconds, rounded down: what stood at the end of that second counts.
            begun = max((each["created_at"] for each in of_lot), default=opened["opened"]["time"])
            at = min(float(begun + 1), self.now)
            conditions = self.terms.conditions(opened["opened"]["time"])
        else:
            over = row["ended_at"] is not None
            outcome, paid = ("unmatched" if over else "waiting"), wanted.max_cost
            at = float(row["ended_at"]) if over else self.now
            conditions = self.terms.conditions(min(self.view.time, row["expiry"]) if over else self.view.time)
        offered = self.offered(row["product"], at, conditions)
        if offered is None:
            verdict = _Verdict(("no ask",), (_NOT_ASKED,), 0)
        else:
            verdict = _verdict(wanted, offered, conditions, outcome, paid, row["waiting_reason"])
        miss = Miss.model_validate(
            {
                "job": row["job"],
                "lot": row["lot"],
                "product": row["product"],
                "kind": row["kind"],
                "outcome": outcome,
                "at": int(at),
                "price": None if offered is None else Money(offered.ask.price),
                "paid": Money(paid),
                "reasons": verdict.said,
            }
        )
        return miss, verdict

    def offered(self, product: str, at: float, conditions: Conditions) -> Offered | None:
        """Its ask for the product as it was then; None when it asked for nothing."""
        current = at >= self.now
        ask = self.resting.get(product) if current else self.past.ask(product, at)
        if ask is None:
            return None
        state, since = self.past.state(at)
        last_heard = self.worker["heartbeat_at"]
        silent = self.now - last_heard if current else (at - since if state == "silent" else 0.0)
        if not current and at > last_heard:
            silent = at - last_heard
        then = Ask.from_json(ask)
        busy = sum(
            slots_taken(then, each["tasks"])
            for each in self.own
            if each["created_at"] <= at and (each["ended_at"] is None or each["ended_at"] >= at)
        )
        account = self.view.accounts[self.worker["provider"]]
        return Offered(
            worker=self.worker["key"],
            # Renewals are not remembered: who was heard renewed in time.
            ask=then if current else replace(then, expiry=conditions.now),
            silent_seconds=silent,
            draining=bool(self.worker["draining"]) if current else state == "drained",
            cooling=self.worker["cool_until"] > at if current else _was_cooling(self.own, at, self.cool_down),
            free_slots=self.worker["resources"]["slots"] - busy,
            provider_free=account.free,
            provider_era=account.era,
            has=capabilities_of(self.worker["resources"]),
        )


def _was_cooling(own: Sequence[RowMapping], at: float, first: float) -> bool:
    """Whether it paused at that time for what it had failed by its own fault, in a row: as
    `pauses.worker_failed` counts."""
    ended = [each for each in own if each["ended_at"] is not None and each["ended_at"] <= at]
    failures, until = 0, 0.0
    for each in sorted(ended, key=lambda each: each["ended_at"]):
        if each["state"] == "succeeded":
            failures, until = 0, 0.0
            continue
        reason = None if each["reason"] is None else Reason.model_validate(each["reason"])
        if fault_is_the_providers(each["status"], reason):
            failures += failures == 0 or each["ended_at"] >= until
            until = each["ended_at"] + cool_down_seconds(failures, first)
    return at < until


def _verdict(
    wanted: Wanted,
    offered: Offered,
    conditions: Conditions,
    outcome: str,
    paid: int,
    waiting: str | None,
) -> _Verdict:
    rules = excluding(wanted, offered, conditions)
    if rules:
        return _Verdict(
            tuple(rule.reason for rule in rules),
            tuple(rule.says(wanted, offered, conditions) for rule in rules),
            max(offered.ask.price - wanted.max_cost, 0),
        )
    if outcome != "elsewhere":
        why = "it will be matched" if waiting is None else waiting
        return _Verdict(("it could still come",), (f"it could still come to you: {why}",), 0)
    gap = offered.ask.price - paid
    if gap > 0:
        said = (
            f"{_OUTBID}: below {Money(paid)} a task instead of {Money(offered.ask.price)} it would have come"
        )
        return _Verdict((_OUTBID,), (said,), gap)
    if gap == 0:
        return _Verdict(
            (_DRAW,), (f"{_DRAW}: reputation, then a seeded hash decides, so any less would have won",), 0
        )
    said = f"{_CHOSEN_ELSEWHERE}: it had enough providers before yours was reached"
    return _Verdict((_CHOSEN_ELSEWHERE,), (said,), 0)


def _resting(connection: Connection, key: str) -> dict[str, dict[str, Any]]:
    query = select(asks.c.product, asks.c.ask).where(asks.c.worker == key)
    return {row.product: row.ask for row in connection.execute(query)}


def _newest_lots(connection: Connection, products: Sequence[str]) -> Sequence[RowMapping]:
    query = (
        select(*COLUMNS, lots.c.state, lots.c.waiting_reason, jobs.c.ended_at)
        .select_from(SOURCE)
        # Whom a check was kept from would learn here that it is one.
        .where(jobs.c.product.in_(products), jobs.c.id.not_in(select(reruns.c.job)))
        .order_by(jobs.c.number.desc(), lots.c.lot.desc())
        .limit(LOOKED_AT)
    )
    return connection.execute(query).mappings().all()


def _attempts(connection: Connection, of_jobs: set[str]) -> dict[tuple[str, int], list[RowMapping]]:
    columns = (attempts.c.job, attempts.c.lot, attempts.c.worker, attempts.c.state, attempts.c.created_at)
    found: dict[tuple[str, int], list[RowMapping]] = defaultdict(list)
    for row in connection.execute(select(*columns).where(attempts.c.job.in_(of_jobs))).mappings():
        found[row["job"], row["lot"]].append(row)
    return found


def _openings(connection: Connection, of_jobs: set[str]) -> dict[tuple[str, int], RowMapping]:
    """The newest deal of each lot."""
    query = select(deals.c.job, deals.c.lot, deals.c.deal, deals.c.opened).where(deals.c.job.in_(of_jobs))
    newest: dict[tuple[str, int], RowMapping] = {}
    for row in connection.execute(query).mappings():
        known = newest.get((row["job"], row["lot"]))
        if known is None or known["opened"]["time"] <= row["opened"]["time"]:
            newest[row["job"], row["lot"]] = row
    return newest


def _own(connection: Connection, key: str) -> Sequence[RowMapping]:
    """The newest attempts of the worker."""
    query = (
        select(
            attempts.c.state,
            attempts.c.status,
            attempts.c.reason,
            attempts.c.created_at,
            attempts.c.ended_at,
            lots.c["count"].label("tasks"),
        )
        .join(lots, (lots.c.job == attempts.c.job) & (lots.c.lot == attempts.c.lot))
        .where(attempts.c.worker == key)
        .order_by(attempts.c.created_at.desc())
        .limit(LOOKED_AT)
    )
    return connection.execute(query).mappings().all()
