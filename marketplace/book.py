"""The order book over HTTP: public depth, one's own orders, and asks that come outside of a heartbeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, select

from marketplace.batches import last_batch, terms_of
from marketplace.chain import ChainReader, ChainView
from marketplace.resting import MarketTerms, resting_asks
from marketplace.store import transitions
from marketplace.store.batches import closes_at
from marketplace.store.database import Store
from marketplace.store.tables import asks, jobs, lots
from marketplace.workers import Workers
from prixfixe.errors import Conflict, NotFound
from prixfixe.market.auction import leg_limit
from prixfixe.market.depth import Depth, Resting, Side
from prixfixe.market.rules import UNPAID, Wanted, is_on_the_book
from prixfixe.protocol import book as wire_book
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.book import AskAnswer, Cancelled, NextClose, OwnOrder
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS, Ask
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.protocol.wire import Reason, SignedAsk

MOST_LEVELS: Final = 200
_MOST_REASONS: Final = 10
# One task of anybody's bid, for the rules of the depth, which look at nothing else of a lot.
_ANY_BID: Final = Wanted("", 0, ZERO_ADDRESS, bytes(32), 0, False, 1, 0, 0, kind=KIND_BIDS)
_CANCELLED: Final = Reason(code="cancelled", message="cancelled by its customer", fault="customer")


class BookView:
    """What one reader of a product's book has seen; gives what changed since."""

    def __init__(self) -> None:
        self.depth = Depth()
        self.batch: wire_book.BatchSummary | None = None
        self.closes: float | None = None


class Book:
    """Reads of the book, and what its owners do with their orders."""

    def __init__(
        self,
        store: Store,
        terms: MarketTerms,
        chain: ChainReader,
        domain: Domain,
        workers_: Workers,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._terms = terms
        self._chain = chain
        self._domain = domain
        self._workers = workers_
        self._clock = clock

    def book(self, product: Product, levels: int) -> wire_book.Book:
        """The live book of a product."""
        code = product.to_bytes()
        view = self._chain.look(fee=True)
        with self._store.read() as connection:
            live, resting = self._live(connection, code, view)
            terms, batch = terms_of(connection, code), last_batch(connection, code)
            waiting = _waiting(connection, code)
            closes = closes_at(connection, code)
        now = self._clock()
        depth = Depth(live)
        return wire_book.Book(
            product=product,
            bids=_levels(depth, "bid", levels),
            asks=_levels(depth, "ask", levels),
            live=sum(each.side == "ask" for each in live.values()),
            resting=resting,
            terms=terms,
            batch=batch,
            time=view.time,
            waiting=waiting,
            closes=None if closes is None else NextClose(at=closes, seconds=max(closes - now, 0.0)),
        )

    def changes(self, product: Product, seen: BookView) -> list[tuple[str, dict[str, object]]]:
        """What a reader has not seen yet, which it then has: `depth` with changed levels (volume 0: gone),
        `batch` with a new one or one that the chain has now, `close` with the time of the next one (null:
        none gathers)."""
        code = product.to_bytes()
        view = self._chain.look(fee=True)
        with self._store.read() as connection:
            live, _ = self._live(connection, code, view)
            batch, closes = last_batch(connection, code), closes_at(connection, code)
        changed = seen.depth.become(live)
        found: list[tuple[str, dict[str, object]]] = []
        if changed:
            told = [
                {"side": each.side, "price": str(each.price), "volume": each.volume, "orders": each.orders}
                for each in changed
            ]
            found.append(("depth", {"levels": told}))
        if batch is not None and batch != seen.batch:
            found.append(("batch", batch.model_dump(mode="json")))
            seen.batch = batch
        if closes != seen.closes:
            found.append(("close", {"at": closes}))
            seen.closes = closes
        return found

    def own(self, caller: str) -> list[OwnOrder]:
        """The resting orders of a customer, a provider or a worker, newest first."""
        free = func.count(lots.c.lot)
        mine_bids = (
            select(jobs, free.label("free"), func.max(lots.c.waiting_reason).label("why"))
            .join(lots, (lots.c.job == jobs.c.id) & (lots.c.state == "free"))
            .where(jobs.c.customer == caller, jobs.c.kind == "auction")
            .group_by(jobs.c.id)
        )
        mine_asks = select(asks).where((asks.c.provider == caller) | (asks.c.worker == caller))
        with self._store.read() as connection:
            bids = connection.execute(mine_bids).mappings().all()
            offers = connection.execute(mine_asks).mappings().all()
        found = [
            OwnOrder(
                order=row["id"],
                side="bid",
                product=_product(row["product"]),
                price=Money(row["price"]),
                volume=row["free"],
                expiry=row["expiry"],
                placed_at=row["created_at"],
                why=row["why"],
            )
            for row in bids
        ]
        found += [
            OwnOrder(
                order=self._digest(Ask.from_json(row["ask"])),
                side="ask",
                product=_product(row["product"]),
                price=Money(row["price"]),
                volume=row["slots"],
                expiry=row["expiry"],
                placed_at=row["placed_at"],
                why=None,
            )
            for row in offers
        ]
        return sorted(found, key=lambda order: (-order.placed_at, order.order))

    def cancel(self, order: str, caller: str) -> Cancelled:
        """Off the book at once. What is matched or being matched stays; final it is on the chain only
        (`Cancel`, or the order's expiry)."""
        with self._store.write() as connection:
            row = connection.execute(
                select(jobs.c.customer).where(jobs.c.id == order, jobs.c.kind != "bundle")
            ).one_or_none()
            if row is not None and row.customer == caller:
                return self._cancel_bid(connection, order)
            mine = select(asks).where((asks.c.provider == caller) | (asks.c.worker == caller))
            for ask in connection.execute(mine).mappings().all():
                if self._digest(Ask.from_json(ask["ask"])) == order:
                    connection.execute(
                        delete(asks).where(
                            asks.c.worker == ask["worker"],
                            asks.c.product == ask["product"],
                            asks.c.signature == ask["signature"],
                        )
                    )
                    self._store.notify(connection, "asks")
                    return Cancelled(order=order, lots=1)
        raise NotFound(f"no order {order} of {caller} rests here", hint="see GET /v1/orders")

    def _cancel_bid(self, connection: Connection, order: str) -> Cancelled:
        free = connection.execute(
            select(lots.c.lot).where(lots.c.job == order, lots.c.state == "free").order_by(lots.c.lot)
        ).scalars()
        ended = 0
        for lot in free.all():
            transitions.free_lot_ended(connection, order, lot, _CANCELLED)
            ended += 1
        if not ended:
            raise Conflict(
                "nothing of this bid waits any more",
                code="already-matched",
                hint="what is not delivered by its deadline comes back by itself",
            )
        self._store.notify(connection, "lots")
        return Cancelled(order=order, lots=ended)

    def place(self, signed: Sequence[SignedAsk]) -> list[AskAnswer]:
        """Asks of registered workers; each is taken or refused on its own, with the reason."""
        answers = self._workers.place(signed)
        return [
            AskAnswer(order=self._digest(each.ask), taken=reason is None, reason=reason)
            for each, reason in zip(signed, answers, strict=True)
        ]

    def _live(
        self, connection: Connection, product: bytes, view: ChainView
    ) -> tuple[dict[bytes, Resting], int]:
        """All live orders, and how many asks rest."""
        live: dict[bytes, Resting] = {}
        code = format_bytes32(product)
        waiting = connection.execute(
            select(jobs.c.id, jobs.c.price, jobs.c.replicas, func.count(lots.c.lot).label("free"))
            .join(lots, (lots.c.job == jobs.c.id) & (lots.c.state == "free"))
            .where(jobs.c.product == code, jobs.c.kind == "auction", jobs.c.expiry >= view.time)
            .group_by(jobs.c.id)
            # Out until it is funded, as the last batch found it.
            .having(func.coalesce(func.max(lots.c.waiting_reason), "") != UNPAID)
        )
        for row in waiting:
            limit = leg_limit(row.price, row.replicas, view.fee_bps)
            live[bytes.fromhex(row.id[2:])] = Resting("bid", limit, row.free * row.replicas)
        resting = resting_asks(connection, (product,))
        conditions = self._terms.conditions(view.time)
        for each in resting.offered_without_accounts(self._clock()):
            if is_on_the_book(_ANY_BID, each, conditions):
                slots = min(each.free_slots, each.ask.slots)
                live[each.worker.encode("ascii")] = Resting("ask", each.ask.price, slots)
        return live, len(resting.rows)

    def _digest(self, ask: Ask) -> str:
        return format_bytes32(ask.digest(self._domain))


def _levels(depth: Depth, side: Side, most: int) -> tuple[wire_book.Level, ...]:
    return tuple(
        wire_book.Level(price=Money(each.price), volume=each.volume, orders=each.orders)
        for each in depth.levels(side, most)
    )


def _waiting(connection: Connection, product: bytes) -> tuple[wire_book.Waiting, ...]:
    bids = func.count(lots.c.job.distinct()).label("bids")
    found = connection.execute(
        select(lots.c.waiting_reason, bids)
        .join(jobs, jobs.c.id == lots.c.job)
        .where(
            jobs.c.product == format_bytes32(product),
            jobs.c.kind == "auction",
            jobs.c.state.in_(("queued", "running")),
            lots.c.state == "free",
            lots.c.waiting_reason.is_not(None),
        )
        .group_by(lots.c.waiting_reason)
        .order_by(bids.desc(), lots.c.waiting_reason)
        .limit(_MOST_REASONS)
    )
    return tuple(wire_book.Waiting(reason=row.waiting_reason, bids=row.bids) for row in found)


def _product(code: str) -> Product:
    return Product.from_bytes(bytes.fromhex(code[2:]))
