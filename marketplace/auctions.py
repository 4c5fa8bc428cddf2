"""What the auction of a product starts from: its rules, and all that rests for it, as the tables know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from marketplace.chain import ChainView
from marketplace.resting import Resting
from marketplace.store.tables import asks, attempts, jobs, lots, product_rules
from prixfixe.market.auction import LONGEST_BATCH, SHORTEST_BATCH, Collar, batch_seconds
from prixfixe.market.entering import Purse, RestingAsk, RestingBid
from prixfixe.protocol.orders import Bid
from prixfixe.protocol.signatures import parse_signature
from prixfixe.protocol.typed_data import format_bytes32

_ANY_PRICE: Final = Collar()
RECENT_SECONDS: Final = 10.0  # orders that came within it decide how long a batch stays open


@dataclass(frozen=True, slots=True)
class AuctionRules:
    """How the auction of a product runs. least_seconds, most_seconds: of a batch. collar: between which
    prices it may clear; its low end is the reserve price."""

    least_seconds: float = SHORTEST_BATCH
    most_seconds: float = LONGEST_BATCH
    collar: Collar = _ANY_PRICE

    def seconds(self, recent_orders: int) -> float:
        """How long the next batch stays open."""
        return batch_seconds(recent_orders, self.least_seconds, self.most_seconds)


@dataclass(frozen=True, slots=True)
class Side:
    """The bids that rest for a product, in order of arrival, and what their customers have promised beside
    them: lots whose match is under way."""

    bids: tuple[RestingBid, ...]
    promised: dict[str, int]

    @property
    def customers(self) -> list[str]:
        """Whose accounts the auction asks for."""
        return sorted({each.bid.customer for each in self.bids})


def purses_of(
    customers: Iterable[str], promised: Mapping[str, int], view: ChainView, surety: int
) -> dict[str, Purse]:
    """What each customer can spend beside what it has promised. While earnings wait in a dispute window the
    contract keeps the surety back."""
    purses = {}
    for customer in customers:
        account = view.accounts[customer]
        kept = surety if account.held else 0
        purses[customer] = Purse(max(account.free - kept - promised.get(customer, 0), 0), account.era)
    return purses


def rules_of(connection: Connection, product: bytes) -> AuctionRules:
    """The rules of a product; the default where none were set."""
    row = connection.execute(
        select(product_rules).where(product_rules.c.product == format_bytes32(product))
    ).one_or_none()
    if row is None:
        return AuctionRules()
    collar = Collar(row.low) if row.high is None else Collar(row.low, row.high)
    return AuctionRules(row.least_seconds, row.most_seconds, collar)


def products_wanted(connection: Connection) -> list[bytes]:
    """Products for which a bid waits."""
    query = (
        select(jobs.c.product)
        .distinct()
        .join(lots, lots.c.job == jobs.c.id)
        .where(lots.c.state == "free", jobs.c.kind == "auction")
        .order_by(jobs.c.product)
    )
    return [bytes.fromhex(code[2:]) for code in connection.execute(query).scalars()]


def recent_orders(connection: Connection, product: bytes, since: float) -> int:
    """Orders of both sides that came after a moment of the service's clock."""
    code = format_bytes32(product)
    came = (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.product == code, jobs.c.kind == "auction", jobs.c.created_at >= int(since))
    )
    placed = (
        select(func.count()).select_from(asks).where(asks.c.product == code, asks.c.placed_at >= int(since))
    )
    return int(connection.execute(came).scalar_one()) + int(connection.execute(placed).scalar_one())


def resting_bids(connection: Connection, product: bytes, now: float) -> Side:
    """All bids of a product with a free lot that is not backing off."""
    code = format_bytes32(product)
    of_product = (jobs.c.product == code, jobs.c.kind == "auction")
    free: dict[str, list[int]] = {}
    waiting = connection.execute(
        select(lots.c.job, lots.c.lot)
        .join(jobs, jobs.c.id == lots.c.job)
        .where(*of_product, lots.c.state == "free", lots.c.not_before <= now)
        .order_by(jobs.c.number, lots.c.lot)
    )
    for job, lot in waiting:
        free.setdefault(job, []).append(lot)
    failed: dict[str, set[str]] = {}
    tried = connection.execute(
        select(attempts.c.job, attempts.c.provider)
        .join(jobs, jobs.c.id == attempts.c.job)
        .where(*of_product, jobs.c.state.in_(("queued", "running")), attempts.c.state == "failed")
    )
    for job, provider in tried:
        failed.setdefault(job, set()).add(provider)
    found: dict[str, RestingBid] = {}
    rows = connection.execute(
        select(jobs.c.id, jobs.c.order, jobs.c.signature, jobs.c.replicas, jobs.c.whole, jobs.c.providers)
        .where(*of_product, jobs.c.state.in_(("queued", "running")))
        .order_by(jobs.c.number)
    )
    for row in rows:
        if row.id in free:
            found[row.id] = RestingBid(
                bid=Bid.from_json(row.order),
                signature=parse_signature(row.signature),
                free_lots=tuple(free[row.id]),
                replicas=row.replicas,
                whole=row.whole,
                providers=None if row.providers is None else tuple(row.providers),
                failed_on=frozenset(failed.get(row.id, ())),
            )
    return Side(tuple(found.values()), promised_of(connection))


def promised_of(connection: Connection) -> dict[str, int]:
    """What each customer's lots cost whose match is under way."""
    rows = connection.execute(
        select(jobs.c.customer, func.sum(lots.c["count"] * jobs.c.price))
        .join(lots, lots.c.job == jobs.c.id)
        .where(lots.c.state == "matching")
        .group_by(jobs.c.customer)
    )
    return {row[0]: int(row[1]) for row in rows}


def with_signatures(
    resting: Resting, view: ChainView, now: float, under_way: Mapping[str, int]
) -> list[RestingAsk]:
    """The asks as the auction's entrance takes them. under_way: of `Newcomers`."""
    return [
        RestingAsk(offered, parse_signature(row["signature"]))
        for offered, row in zip(resting.offered(view, now, under_way=under_way), resting.rows, strict=True)
    ]
