"""What a worker earned, by day, product and bundle, and what of it can still be disputed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.resting import busy_slots
from marketplace.store.database import Store
from marketplace.store.settling import PAID_STATES
from marketplace.store.tables import attempts, cases, deals, offers, trades, workers
from marketplace.store.trades import executed
from marketplace.trades import trade_of
from prixfixe.errors import NotFound
from prixfixe.protocol.deals import Fact
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import Earnings, EarningsLine, Trade
from prixfixe.protocol.product import Product

DAY_SECONDS: Final = 86_400
MOST_TRADES: Final = 20_000  # added up for one answer, the newest
MOST_SHOWN: Final = 20  # trades of a provider


@dataclass(slots=True)
class _Sum:
    lots: int = 0
    tasks: int = 0
    seconds: float = 0.0
    earned: int = 0
    waiting: int = 0
    taken: int = 0
    fees: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """What a provider sold on a day (UTC, 2026-11-22). lots: paid ones, its legs of them."""

    day: str
    lots: int
    tasks: int
    earned: Money


@dataclass(frozen=True, slots=True)
class Activity:
    """A provider as anyone may see it. earned: what its settled lots of the time paid; days: those on which
    it sold, newest first; trades: the newest; live, busy, slots: its workers that answer now, and their
    places."""

    earned: Money
    days: tuple[Day, ...]
    trades: tuple[Trade, ...]
    live: int
    busy: int
    slots: int


class Income:
    """Reads of what is earned. window: the contract's, seconds. silence_seconds: after which a worker is
    lost."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        window: int,
        silence_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._chain = chain
        self._window = window
        self._silence_seconds = silence_seconds
        self._clock = clock

    def earnings(self, key: str, asker: str, days: int) -> Earnings:
        """The newest `days` days. NotFound for a stranger."""
        now = self._chain.look().time
        since = max(now - days * DAY_SECONDS, 0)
        with self._store.read() as connection:
            worker = worker_of(connection, key, asker)
            rows = _trades(connection, key, since)
            fees = _fees(connection, [row for row in rows[:MOST_TRADES] if row["state"] == "guilty"])
        sums: dict[tuple[str, str, str, str | None], _Sum] = {}
        for row in rows[:MOST_TRADES]:
            day = _date(row["time"])
            of = (day, row["product"], row["kind"], _name(row))
            self._add(sums.setdefault(of, _Sum()), row, now, fees)
        return Earnings(
            key=key,
            provider=worker["provider"],
            slots=worker["resources"]["slots"],
            since=since,
            until=now,
            lines=tuple(_line(of, sums[of]) for of in sorted(sums, key=lambda of: of[0], reverse=True)),
            more=len(rows) > MOST_TRADES,
        )

    def activity(self, provider: str, days: int) -> Activity:
        """The newest `days` days of a provider's workers, for anyone: all of it is on the chain, but for
        which of them answer."""
        since = max(self._chain.look().time - days * DAY_SECONDS, 0)
        with self._store.read() as connection:
            named = select(workers.c.key, workers.c.resources, workers.c.heartbeat_at)
            known = connection.execute(named.where(workers.c.provider == provider)).all()
            keys = [row.key for row in known]
            theirs = (trades.c.worker.in_(keys), trades.c.provider == provider, trades.c.time >= since)
            place = (trades.c.block.desc(), trades.c.log_index.desc(), trades.c.leg)
            pay, day = trades.c.price * trades.c.tasks, trades.c.time // DAY_SECONDS
            sold = executed(day.label("day"), pay.label("pay"), trades.c.tasks)
            counted = sold.where(*theirs).order_by(*place).limit(MOST_TRADES).subquery()
            sums = (func.count(), func.sum(counted.c.tasks), func.sum(counted.c.pay))
            by_day = select(counted.c.day, *sums).group_by(counted.c.day).order_by(counted.c.day.desc())
            sold_on = tuple(_day(*row) for row in connection.execute(by_day))
            shown = executed().where(*theirs).order_by(*place).limit(MOST_SHOWN)
            rows = connection.execute(shown).mappings().all()
            taken = busy_slots(connection)
        live = [row for row in known if self._clock() - row.heartbeat_at <= self._silence_seconds]
        return Activity(
            earned=Money(sum(each.earned.units for each in sold_on)),
            days=sold_on,
            trades=tuple(trade_of(row) for row in rows),
            live=len(live),
            busy=sum(taken[row.key] for row in live),
            slots=sum(row.resources["slots"] for row in live),
        )

    def _add(self, total: _Sum, row: RowMapping, now: int, fees: dict[tuple[str, int], int]) -> None:
        pay = row["price"] * row["tasks"]
        total.lots += 1
        total.seconds += row["seconds"] or 0.0
        if row["state"] not in PAID_STATES:
            total.taken += pay
            total.fees += fees.get((row["deal"], row["leg"]), 0)
            return
        total.tasks += row["tasks"]
        total.earned += pay
        if row["disputable"] and (row["state"] == "disputed" or now < self._free_at(row)):
            total.waiting += pay

    def _free_at(self, row: RowMapping) -> int:
        """When what this settlement paid is free: earnings of a window wait for the end of the next. A case
        that ended moved the settlement's time on."""
        settled = Fact.unpack(int(row["fact"])).time
        return (settled // self._window + 2) * self._window


def _day(number: int, lots: int, tasks: int, earned: int) -> Day:
    """number: days since 1970."""
    return Day(_date(int(number) * DAY_SECONDS), lots, int(tasks), Money(int(earned)))


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def worker_of(connection: Connection, key: str, asker: str) -> RowMapping:
    """A registered worker, for itself and its provider; NotFound for everybody else."""
    row = connection.execute(select(workers).where(workers.c.key == key)).mappings().one_or_none()
    if row is None or asker not in (key, row["provider"]):
        raise NotFound(
            f"there is no worker {key} of yours",
            code="worker-unknown",
            hint="a worker registers itself as it starts",
            fault="provider",
        )
    return row


def _trades(connection: Connection, key: str, since: int) -> Sequence[RowMapping]:
    """Newest first; also those that were judged wrong."""
    named = (offers.c.bundle.label("name"), offers.c.version, offers.c.tier, offers.c.replicas)
    disputable = deals.c.deal["disputable"].as_boolean().label("disputable")
    query = (
        select(*trades.c, deals.c.state, deals.c.fact, disputable, attempts.c.seconds, *named)
        .join(deals, (deals.c.id == trades.c.deal) & (deals.c.opening == trades.c.opening))
        .outerjoin(
            attempts,
            (attempts.c.deal == trades.c.deal)
            & (attempts.c.opening == trades.c.opening)
            & (attempts.c.worker == trades.c.worker),
        )
        .outerjoin(offers, offers.c.offer_id == trades.c.bundle)
        .where(trades.c.worker == key, trades.c.time >= since)
        .order_by(trades.c.time.desc())
        .limit(MOST_TRADES + 1)
    )
    return connection.execute(query).mappings().all()


def _fees(connection: Connection, guilty: Sequence[RowMapping]) -> dict[tuple[str, int], int]:
    """What each leg of these deals gave towards the arbiter's fee. A case lists it by signing legs, which are
    the deal's trades in their order."""
    found: dict[tuple[str, int], int] = {}
    for deal in {row["deal"] for row in guilty}:
        of_deal = connection.execute(
            select(trades.c.leg).where(trades.c.deal == deal).order_by(trades.c.opening.desc(), trades.c.leg)
        )
        given = connection.execute(
            select(cases.c.fees).where(cases.c.deal == deal, cases.c.state == "guilty")
        ).scalar_one_or_none()
        for leg, fee in zip(of_deal.scalars(), given or (), strict=False):
            found[deal, leg] = int(fee)
    return found


def _name(row: RowMapping) -> str | None:
    if row["name"] is None:
        return None
    several = f" x{row['replicas']}" if row["replicas"] > 1 else ""
    return f"{row['name']} {row['version']} {row['tier']}{several}"


def _line(of: tuple[str, str, str, str | None], total: _Sum) -> EarningsLine:
    day, product, kind, bundle = of
    values: dict[str, Any] = {
        name: Money(getattr(total, name)) for name in ("earned", "waiting", "taken", "fees")
    }
    return EarningsLine(
        day=day,
        product=Product.from_bytes(bytes.fromhex(product[2:])),
        kind=kind,  # type: ignore[arg-type]  # the table's CHECK
        bundle=bundle,
        lots=total.lots,
        tasks=total.tasks,
        seconds=round(total.seconds, 3),
        **values,
    )
