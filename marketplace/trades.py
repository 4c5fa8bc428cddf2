"""What the market has paid: the tape of executed lots, and the price index over it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainReader
from marketplace.paging import no_cursor
from marketplace.store.database import Store
from marketplace.store.tables import asks, cursor, offers, trades
from marketplace.store.trades import executed
from prixfixe.market.index import IndexRules, price_index
from prixfixe.market.index import Trade as Paid
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import format_bytes32

RULES: Final = IndexRules()
MOST_TRADES: Final = 50_000  # of a product that the index looks at, the newest
FRESH_SECONDS: Final = 60  # an index of the same block is computed again after this much of the chain's time
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,9})-([0-9]{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Position:
    """The last block that was read."""

    block: int
    hash: str


class Trades:
    """Reads of the tape. Indexes are kept for the block that they were computed at."""

    def __init__(self, store: Store, chain: ChainReader) -> None:
        self._store = store
        self._chain = chain
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[str, PriceIndex]] = {}

    def page(self, product: Product | None, at: str | None, limit: int) -> tuple[list[Trade], str | None]:
        """Trades that stand, newest first, and the cursor of the next page."""
        place = (trades.c.block, trades.c.log_index, trades.c.leg)
        query = executed().order_by(*(column.desc() for column in place)).limit(limit + 1)
        if product is not None:
            query = query.where(trades.c.product == format_bytes32(product.to_bytes()))
        if at is not None:
            found = _CURSOR.fullmatch(at)
            if found is None:
                raise no_cursor(at)
            query = query.where(tuple_(*place) < tuple(int(part) for part in found.groups()))
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        items = [trade_of(row) for row in rows[:limit]]
        last = rows[limit - 1] if len(rows) > limit else None
        return items, None if last is None else f"{last['block']}-{last['log_index']}-{last['leg']}"

    def products(self) -> list[Product]:
        """Everything that is offered, asked for or was paid for lately."""
        with self._store.read() as connection:
            codes = {
                *connection.execute(select(offers.c.product).distinct()).scalars(),
                *connection.execute(select(asks.c.product).distinct()).scalars(),
                *connection.execute(select(trades.c.product).distinct()).scalars(),
            }
        return sorted((Product.from_bytes(bytes.fromhex(code[2:])) for code in codes), key=lambda p: p.name)

    def indexes(self) -> list[PriceIndex]:
        """The index of every product."""
        now = self._chain.look().time
        return [self.index(product, now) for product in self.products()]

    def recent(self, product: Product, now: int) -> PriceIndex:
        """The index of a product, perhaps of some blocks ago: for quotes, which must be quick on a busy
        chain too."""
        with self._lock:
            kept = self._kept.get(product.to_bytes())
        if kept is not None and 0 <= now - kept[1].time < FRESH_SECONDS:
            return kept[1]
        return self.index(product, now)

    def index(self, product: Product, now: int | None = None) -> PriceIndex:
        """The index of a product at the chain's time `now` (asked when None)."""
        time = self._chain.look().time if now is None else now
        code = product.to_bytes()
        with self._store.read() as connection:
            position = _position(connection)
            with self._lock:
                kept = self._kept.get(code)
            if kept is not None and kept[0] == position.hash and 0 <= time - kept[1].time < FRESH_SECONDS:
                return kept[1]
            made = _index(connection, product, time, position)
        with self._lock:
            self._kept[code] = (position.hash, made)
        return made


def trade_of(row: RowMapping) -> Trade:
    """A row of the tape."""
    return Trade(
        deal=row["deal"],
        leg=row["leg"],
        product=Product.from_bytes(bytes.fromhex(row["product"][2:])),
        kind=row["kind"],
        price=Money(row["price"]),
        tasks=row["tasks"],
        provider=row["provider"],
        customer=row["customer"],
        bundle=row["bundle"],
        batch=row["batch"],
        block=row["block"],
        time=row["time"],
    )


def _position(connection: Connection) -> _Position:
    row = connection.execute(select(cursor.c.block, cursor.c.hash).limit(1)).one_or_none()
    return _Position(0, "") if row is None else _Position(row.block, row.hash)


def _index(connection: Connection, product: Product, now: int, position: _Position) -> PriceIndex:
    code = format_bytes32(product.to_bytes())
    paid = paid_since(connection, code, now - RULES.memory)
    found = price_index(paid, now, RULES)
    source = "index"
    prices: tuple[int | None, ...] = (found.p10, found.p50, found.p90)
    if found.status == "fallback":
        live = connection.execute(select(asks.c.price).where(asks.c.product == code, asks.c.expiry >= now))
        source, prices = _fallback(paid, live.scalars())
    p10, p50, p90 = (None if price is None else Money(price) for price in prices)
    return PriceIndex.model_validate(
        {
            "product": product,
            "status": found.status,
            "source": source,
            "p10": p10,
            "p50": p50,
            "p90": p90,
            "trades": found.trades,
            "makers": found.makers,
            "newest": found.newest,
            "block": position.block,
            "time": now,
        }
    )


def paid_since(connection: Connection, product: str, first: int) -> list[Paid]:
    """The newest trades of a product (0x-hex) from `first` on, as the index sees them."""
    columns = (trades.c.time, trades.c.price, trades.c.tasks, trades.c.provider, trades.c.customer)
    rows = connection.execute(
        executed(*columns)
        .where(trades.c.product == product, trades.c.time >= first)
        .order_by(trades.c.time.desc())
        .limit(MOST_TRADES)
    )
    return [Paid(row.time, row.price, row.tasks, row.provider, row.customer) for row in rows]


def _fallback(paid: Iterable[Paid], asked: Iterable[int]) -> tuple[str, tuple[int | None, ...]]:
    """What to show where the index says nothing: what was paid, else what is asked."""
    for source, prices in (("trades", sorted(each.price for each in paid)), ("asks", sorted(asked))):
        if prices:
            # The least price at or below which that share of them lies.
            return source, tuple(prices[-(-len(prices) * percent // 100) - 1] for percent in (10, 50, 90))
    return "none", (None, None, None)
