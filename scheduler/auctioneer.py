"""The auctioneer: closes batches of bids and asks, publishes them, and has them cleared on the chain.

A batch of a product opens when both sides are there and closes when its timer ends. What rests then is read
once; what takes part and why the rest does not, price and fills are functions of it (`market.entering`,
`market.auction`) and of the hash of the newest block that was read. The publication is on disk before its
row, its lots' change and the `clear` of the outbox are stored in one transaction. So a process that dies
leaves either nothing but a file that nobody names, or a batch that the relayer sends. An order that left
the book while the batch was computed takes the whole batch with it: it is computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from marketplace import auctions
from marketplace.batches import last_batch, row_of
from marketplace.blobs import Blobs
from marketplace.chain import ChainReader
from marketplace.newcomers import Newcomers
from marketplace.resting import MarketTerms, Resting, newcomers_open, resting_asks
from marketplace.store import batches, transitions
from marketplace.store.batches import Matched
from marketplace.store.database import Store
from marketplace.store.tables import cursor, lots
from prixfixe.errors import Conflict
from prixfixe.market.auction import ADMITS_NOBODY, leg_limit
from prixfixe.market.batch import Batch
from prixfixe.market.entering import Entered, RestingAsk, RestingBid, enter
from prixfixe.market.rules import Conditions, Wanted, diagnose
from prixfixe.protocol.canonical import canonical_json, sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS
from prixfixe.protocol.typed_data import Domain, format_bytes32
from scheduler.apart import Apart
from scheduler.duty import Duty

log = logging.getLogger(__name__)

LEGS_A_CALL: Final = 96  # about 8 million gas, half of what one transaction may have
_IDLE_SECONDS: Final = 30.0
_ONE_SIDED_SECONDS: Final = 1.0  # heartbeats come back without a notification
_EXPLAINED_A_ROUND: Final = 50  # each asks every rule of every ask


class Auctioneer(Duty):
    """Turns bids and asks into batches. One per market."""

    name = "auctioneer"
    topics = ("lots", "asks")
    spacing_seconds = 0.05

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        blobs: Blobs,
        terms: MarketTerms,
        domain: Domain,
        newcomers: Newcomers,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store)
        self._chain: Final = chain
        self._blobs: Final = blobs
        self._terms: Final = terms
        self._domain: Final = domain
        self._newcomers: Final = newcomers
        self._clock: Final = clock

    def run_once(self) -> float:
        with self.store.read() as connection:
            products = auctions.products_wanted(connection)
            closing = batches.open_batches_of(connection)
        if unwanted := closing.keys() - set(products):
            self._over(unwanted)
        apart, pause = Apart(), _IDLE_SECONDS
        for each in products:
            with apart:
                pause = min(pause, self._product(each, closing.get(each)))
        apart.tell()
        return pause

    def _product(self, product: bytes, closes: float | None) -> float:
        """Open, leave open, or close the product's batch; seconds until it should be looked at again."""
        now = self._clock()
        if closes is None:
            with self.store.write() as connection:
                recent = auctions.recent_orders(connection, product, now - auctions.RECENT_SECONDS)
                closes = now + auctions.rules_of(connection, product).seconds(recent)
                batches.batch_opened(connection, product, closes)
        if now < closes:
            return closes - now
        if self._close(product, now):
            self._over((product,))
        return _ONE_SIDED_SECONDS

    def _over(self, products: Collection[bytes]) -> None:
        with self.store.write() as connection:
            batches.batches_over(connection, products)

    def _close(self, product: bytes, now: float) -> bool:
        """Clear what rests; False when it has to be done again at once, without what has left."""
        with self.store.read() as connection:
            side = auctions.resting_bids(connection, product, now)
            resting = resting_asks(connection, (product,))
            rules = auctions.rules_of(connection, product)
            newest = connection.execute(select(cursor.c.block, cursor.c.hash).limit(1)).one_or_none()
            number = batches.next_number(connection, format_bytes32(product))
            last = last_batch(connection, product)
        if not side.bids or newest is None:
            return True
        accounts = sorted({*side.customers, *resting.providers})
        view = self._chain.look(accounts=accounts, fee=True)
        conditions = self._terms.conditions(view.time)
        under_way = self._newcomers.under_way(resting.providers, view.time)
        offers = auctions.with_signatures(resting, view, now, under_way)
        purses = auctions.purses_of(side.customers, side.promised, view, self._terms.surety)
        last_price = 0 if last is None else last.price.units
        entered = enter(side.bids, offers, purses, conditions, self._domain, last_price)
        batch = Batch.close(
            domain=self._domain,
            product=product,
            number=number,
            block=newest.block,
            seed=bytes.fromhex(newest.hash[2:]),
            time=view.time,
            fee_bps=view.fee_bps,
            collar=rules.collar,
            bids=entered.bids,
            asks=entered.asks,
            set_aside=entered.set_aside,
        )
        if batch.cleared.fills and not self._publish(batch, resting, under_way):
            return False
        reasons = self._reasons(batch, entered, side.bids, offers, conditions)
        self._say(reasons)
        return True

    def _publish(self, batch: Batch, resting: Resting, under_way: Mapping[str, int]) -> bool:
        """The publication, then everything that follows from it; False when an order has left since, or more
        is under way with a newcomer than what its cap was measured by."""
        price = batch.cleared.price
        assert price is not None  # it has fills
        publication = canonical_json(batch.to_json())
        name = sha256_hex(publication)
        with self._blobs.upload(name, self._terms.operator, len(publication)) as incoming:
            incoming.write(publication)
            incoming.finish()
        row = row_of(batch, price, name)
        try:
            with self.store.write() as connection:
                if any(now > under_way[who] for who, now in newcomers_open(connection, under_way).items()):
                    raise Conflict("a newcomer was matched since")
                batches.batch_closed(connection, row, list(_parts(_matched(batch, resting))))
        except (Conflict, IntegrityError) as changed:
            log.info("batch %d is computed again: %s", batch.number, changed)
            return False
        log.info(
            "batch %d of %s: %d lots at %s",
            batch.number,
            row["product"],
            len(batch.cleared.fills),
            Money(price),
        )
        return True

    # ----------------------------------------------------------------------------------------------- why not

    def _reasons(
        self,
        batch: Batch,
        entered: Entered,
        bids: Sequence[RestingBid],
        offers: Sequence[RestingAsk],
        conditions: Conditions,
    ) -> dict[tuple[str, int], str]:
        """For the first bids that wait on: their first waiting lot, and why."""
        aside = {each.order: each.reason for each in entered.set_aside}
        filled: dict[bytes, int] = {}
        for fill in batch.cleared.fills:
            filled[fill.bid] = filled.get(fill.bid, 0) + 1
        found: dict[tuple[str, int], str] = {}
        for each in bids:
            if len(found) == _EXPLAINED_A_ROUND:
                break
            order = each.bid.digest(self._domain)
            rest = each.free_lots[filled.get(order, 0) :]
            if rest:
                why = aside.get(order) or batch.cleared.excluded.get(order)
                if why == ADMITS_NOBODY and each.providers is None:
                    why = None  # not its customer's choice: the rules say whose
                found[format_bytes32(order), rest[0]] = why or self._outbid(batch, each, offers, conditions)
        return found

    def _outbid(
        self, batch: Batch, each: RestingBid, offers: Sequence[RestingAsk], conditions: Conditions
    ) -> str:
        """Why a bid that took part was not filled."""
        bid = each.bid
        limit = leg_limit(bid.price, each.replicas, batch.fee_bps)
        price = batch.cleared.price
        if price is not None and price > limit:
            return (
                f"the last batch cleared at {Money(price)} a task and replica, the bid allows {Money(limit)}"
            )
        wanted = Wanted(
            job="",
            lot=0,
            customer=bid.customer,
            product=bid.product,
            max_cost=limit,
            disputable=False,
            count=bid.lot_size(each.free_lots[0]),
            expiry=bid.expiry,
            deliver_by=bid.deliver_by,
            replicas=each.replicas,
            kind=KIND_BIDS,
            providers=None if each.providers is None else frozenset(each.providers),
        )
        why = diagnose(wanted, [ask.offered for ask in offers], conditions)
        if why.able:
            return f"{why.providers} providers could run it, {each.replicas} are needed and others came first"
        return str(why) if why.nearest is None else f"{why}; nearest: {why.nearest}"

    def _say(self, reasons: Mapping[tuple[str, int], str]) -> None:
        if not reasons:
            return
        with self.store.read() as connection:
            news = {key: why for key, why in reasons.items() if _said(connection, *key) != why}
        if not news:
            return
        with self.store.write() as connection:
            transitions.lots_wait(connection, news)


def _said(connection: Connection, job: str, lot: int) -> str | None:
    query = select(lots.c.waiting_reason).where(lots.c.job == job, lots.c.lot == lot)
    return connection.execute(query).scalar_one_or_none()


def _matched(batch: Batch, resting: Resting) -> Iterator[Matched]:
    """The fills with what the contract needs: the lot by its place in the order, the asks with signatures."""
    free_lots = {each.bid.digest(batch.domain): each.free_lots for each in batch.bids}
    keys = {each.ask.digest(batch.domain): each.key for each in batch.asks}
    rows = {row["worker"]: row for row in resting.rows}
    for fill in batch.cleared.fills:
        legs: list[dict[str, Any]] = []
        for ask in fill.asks:
            row = rows[keys[ask]]
            legs.append({"worker": row["worker"], "ask": row["ask"], "signature": row["signature"]})
        yield Matched(format_bytes32(fill.bid), free_lots[fill.bid][fill.lot], tuple(legs))


def _parts(filled: Iterator[Matched]) -> Iterator[list[Matched]]:
    """What fits one transaction, and so on."""
    part: list[Matched] = []
    legs = 0
    for each in filled:
        if part and legs + len(each.asks) > LEGS_A_CALL:
            yield part
            part, legs = [], 0
        part.append(each)
        legs += len(each.asks)
    if part:
        yield part
