"""The order book over HTTP: public depth, one's own orders, and asks that come outside of a heartbeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.engine import RowMapping

from marketplace.batches import last_batch, terms_of
from marketplace.chain import ChainReader
from marketplace.live_depth import LiveDepth
from marketplace.paging import moment
from marketplace.store import states, transitions
from marketplace.store.batches import closes_at
from marketplace.store.database import Store
from marketplace.store.tables import asks, jobs, lots
from marketplace.workers import Workers
from prixfixe.errors import Conflict, NotFound
from prixfixe.market.depth import Depth, Level, Side
from prixfixe.protocol import book as wire_book
from prixfixe.protocol.book import AskAnswer, Cancelled, NextClose, OwnOrder
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.protocol.wire import Reason, SignedAsk

MOST_LEVELS: Final = 200
_MOST_REASONS: Final = 10
_SIDES: Final[tuple[Side, Side]] = ("bid", "ask")
_CANCELLED: Final = Reason(code="cancelled", message="cancelled by its customer", fault="customer")


class BookView:
    """What one reader of a product's book has seen; gives what changed since."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._shown: set[tuple[Side, int]] = set()  # levels
        self.batch: wire_book.BatchSummary | None = None
        self.closes: float | None = None

    def look(self, depth: Depth) -> list[Level]:
        """The levels that changed since the last look, in their new form, one that is gone with no volume."""
        self._number, changed = depth.since(self._number)
        if changed is None:
            changed = depth.all_levels()
            gone = self._shown - {(each.side, each.price) for each in changed}
            changed += [Level(side, price, 0, 0) for side, price in sorted(gone)]
        for each in changed:
            if each.orders:
                self._shown.add((each.side, each.price))
            else:
                self._shown.discard((each.side, each.price))
        return changed


class Book:
    """Reads of the book, and what its owners do with their orders."""

    def __init__(
        self,
        store: Store,
        depth: LiveDepth,
        chain: ChainReader,
        domain: Domain,
        workers_: Workers,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._depth = depth
        self._chain = chain
        self._domain = domain
        self._workers = workers_
        self._clock = clock

    def book(self, product: Product, levels: int) -> wire_book.Book:
        """The live book of a product."""
        code = product.to_bytes()
        view = self._chain.look(fee=True)
        with self._store.read() as connection:
            with self._depth.seen(connection, code, view) as display:
                bids, asks = (_levels(display.depth, side, levels) for side in _SIDES)
                live, resting = display.live, display.resting
            terms, batch = terms_of(connection, code), last_batch(connection, code)
            waiting = _waiting(connection, code)
            closes = closes_at(connection, code)
        now = self._clock()
        return wire_book.Book(
            product=product,
            bids=bids,
            asks=asks,
            live=live,
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
            with self._depth.seen(connection, code, view) as display:
                changed = seen.look(display.depth)
            batch, closes = last_batch(connection, code), closes_at(connection, code)
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

    def own(self, caller: str, cursor: str | None, limit: int) -> tuple[list[OwnOrder], str | None]:
        """The resting orders of a customer, a provider or a worker, newest first, and the cursor of the next
        page."""
        at, last = (None, "") if cursor is None else moment(cursor)
        free = func.count(lots.c.lot)
        mine_bids = (
            select(jobs, free.label("free"), func.max(lots.c.waiting_reason).label("why"))
            .join(lots, (lots.c.job == jobs.c.id) & (lots.c.state == "free"))
            .where(jobs.c.customer == caller, jobs.c.kind == "auction")
            .group_by(jobs.c.id)
        )
        mine_asks = select(asks).where((asks.c.provider == caller) | (asks.c.worker == caller))
        if at is not None:
            mine_bids = mine_bids.where(jobs.c.created_at <= at)
            mine_asks = mine_asks.where(asks.c.placed_at <= at)
        with self._store.read() as connection:
            bids = connection.execute(mine_bids).mappings().all()
            offers = connection.execute(mine_asks).mappings().all()
        # Of one second by their keys, which do not change.
        rows = sorted(
            [
                *((-row["created_at"], row["id"], row) for row in bids),
                *((-row["placed_at"], f"{row['worker']}/{row['product']}", row) for row in offers),
            ],
            key=lambda entry: entry[:2],
        )
        if at is not None:
            rows = [entry for entry in rows if entry[:2] > (-at, last)]
        shown = rows[:limit]
        following = f"{-shown[-1][0]}-{shown[-1][1]}" if len(shown) < len(rows) else None
        return [self._own(row) for _, _, row in shown], following

    def _own(self, row: RowMapping) -> OwnOrder:
        """row: of a bid's job, or of an ask."""
        bid = "ask" not in row
        return OwnOrder(
            order=row["id"] if bid else self._digest(Ask.from_json(row["ask"])),
            side="bid" if bid else "ask",
            product=_product(row["product"]),
            price=Money(row["price"]),
            volume=row["free"] if bid else row["slots"],
            expiry=row["expiry"],
            placed_at=row["created_at"] if bid else row["placed_at"],
            why=row["why"] if bid else None,
        )

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
            transitions.lot_ended(connection, order, lot, _CANCELLED, states.LOT_CANCELLED)
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
