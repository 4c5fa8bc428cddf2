"""Was a batch of the auction honest? Recomputed from its publication and the chain, without the service.

The publication alone says whether price and fills are the auction's and every order is signed
(`market.batch.Batch.faults`). Here the rest is asked of a node that the reader chose: that the contract
emitted this very digest, that the seed is the hash of its block, that what was sent for the batch is what
it fills, and that every deal was opened at its price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prixfixe.chain import artefacts
from prixfixe.chain.abi import snake_case
from prixfixe.chain.client import MarketClient
from prixfixe.chain.events import Cleared, DealOpened, Skipped
from prixfixe.chain.reverts import skipped
from prixfixe.errors import InvalidInput, NotFound
from prixfixe.market.auction import Fill
from prixfixe.market.batch import Batch
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, Bid


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay found. honest: no faults. opened: fills with a deal. skipped: fills that the contract
    left out, each with its reason; that is the chain's answer and no lie. notes: what could not be told."""

    batch: Batch
    digest: bytes
    transactions: tuple[str, ...]
    opened: int
    skipped: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def honest(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        price = self.batch.cleared.price
        return {
            "honest": self.honest,
            "digest": "0x" + self.digest.hex(),
            "product": "0x" + self.batch.product.hex(),
            "number": self.batch.number,
            "price": None if price is None else str(price),
            "bids": len(self.batch.bids),
            "asks": len(self.batch.asks),
            "set_aside": len(self.batch.set_aside),
            "fills": len(self.batch.cleared.fills),
            "opened": self.opened,
            "transactions": list(self.transactions),
            "skipped": list(self.skipped),
            "faults": list(self.faults),
            "notes": list(self.notes),
        }


def replay(batch: Batch, market: MarketClient) -> Replayed:
    """Compute the batch again and compare it with the chain. market: the contract that the reader means,
    through a node that the reader chose."""
    digest = batch.digest()
    faults = batch.faults()
    notes: list[str] = []
    domain = batch.domain
    if (domain.chain_id, domain.verifying_contract) != (market.chain_id, market.contract):
        faults.append(
            f"it is of contract {domain.verifying_contract} on chain {domain.chain_id}, not of "
            f"{market.contract} on chain {market.chain_id}"
        )
        return Replayed(batch, digest, (), 0, (), tuple(faults), ())
    faults += _of_seed(batch, market)
    found = _Found(batch)
    for event in market.events(batch.block, of=(Cleared,), id=digest):
        assert isinstance(event, Cleared)
        found.read(market, event)
    if not found.transactions:
        faults.append(f"the contract never emitted its digest 0x{digest.hex()}")
    else:
        faults += found.missing()
        fee = market.config().fee_bps
        if fee != batch.fee_bps and not found.opened:
            notes.append(f"the fee is {fee / 100} % now; the batch says {batch.fee_bps / 100} %")
    notes += _of_keys(batch, market)
    return Replayed(
        batch,
        digest,
        tuple(found.transactions),
        len(found.opened),
        tuple(found.skipped),
        tuple(faults + found.faults),
        tuple(notes),
    )


def _of_seed(batch: Batch, market: MarketClient) -> Iterator[str]:
    try:
        block = market.block(batch.block)
    except NotFound:
        yield f"the chain has no block {batch.block}, which the batch names as the one that closed it"
        return
    if bytes.fromhex(block.hash[2:]) != batch.seed:
        yield f"the seed is 0x{batch.seed.hex()}; the hash of block {batch.block} is {block.hash}"
    if block.time > batch.time:
        yield f"the batch says it closed at {batch.time}, before its block, which came at {block.time}"


def _of_keys(batch: Batch, market: MarketClient) -> Iterator[str]:
    """Keys that sign for a provider no longer: a deal proves that they did at the time, nothing else does."""
    filled = {ask for fill in batch.cleared.fills for ask in fill.asks}
    pairs = {
        (each.ask.provider, each.key)
        for each in batch.asks
        if each.key != each.ask.provider and each.ask.digest(batch.domain) not in filled
    }
    for provider, key in sorted(pairs):
        if market.worker_until(provider, key) < batch.time:
            yield f"key {key} does not sign for {provider} now; whether it did then was not looked at"


class _Found:
    """What the chain has of a batch, transaction by transaction."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        bids = {each.bid.digest(batch.domain): each for each in batch.bids}
        self._asks = {each.ask.digest(batch.domain): each for each in batch.asks}
        # By the lot's place in its order instead of its place among the free ones.
        self._expected: dict[tuple[bytes, int], Fill] = {}
        for fill in batch.cleared.fills:
            each = bids.get(fill.bid)
            if each is not None and fill.lot < len(each.free_lots):
                self._expected[fill.bid, each.free_lots[fill.lot]] = fill
        self._sent: set[tuple[bytes, int]] = set()
        self.transactions: list[str] = []
        self.opened: set[tuple[bytes, int]] = set()
        self.skipped: list[str] = []
        self.faults: list[str] = []

    def read(self, market: MarketClient, cleared: Cleared) -> None:
        """One `Cleared` with what its transaction did."""
        transaction = cleared.at.transaction_hash
        if transaction in self.transactions:
            self.faults.append(f"transaction {transaction} clears it twice")
            return
        self.transactions.append(transaction)
        if cleared.price.units != self._batch.cleared.price:
            self.faults.append(f"transaction {transaction} cleared it at {cleared.price}")
        events = market.transaction_events(transaction)
        for event in events:
            if isinstance(event, DealOpened):
                self._deal(event, transaction)
        items = self._items(market, transaction)
        left_out = {event.index: event.code for event in events if isinstance(event, Skipped)}
        for place, (order, lot, asks) in enumerate(items):
            fill = self._expected.get((order, lot))
            if fill is None or fill.asks != asks:
                self.faults.append(f"{_name(order, lot)} was sent for it otherwise than published")
            self._sent.add((order, lot))
            if place in left_out:
                self.skipped.append(f"{_name(order, lot)}: {skipped(left_out[place])}")
            elif (order, lot) not in self.opened:
                self.faults.append(f"{_name(order, lot)} was sent and has neither a deal nor a refusal")

    def missing(self) -> list[str]:
        """Fills that no transaction holds."""
        rest = sorted(set(self._expected) - self._sent)
        return [f"{_name(order, lot)} is filled in the publication and was never sent" for order, lot in rest]

    def _deal(self, event: DealOpened, transaction: str) -> None:
        deal, price = event.data, self._batch.cleared.price
        fill = self._expected.get((deal.order, deal.lot))
        if fill is None:
            self.faults.append(f"{_name(deal.order, deal.lot)} was matched with it and is not in it")
            return
        self.opened.add((deal.order, deal.lot))
        published = [self._asks[each] for each in fill.asks if each in self._asks]
        if [(leg.provider, leg.key) for leg in deal.legs] != [
            (each.ask.provider, each.key) for each in published
        ]:
            self.faults.append(f"{_name(deal.order, deal.lot)} was given to others than published")
        faulty = sorted({leg.pay for leg in deal.legs if leg.pay != price})
        if faulty:
            paid = ", ".join(str(Money(pay)) for pay in faulty)
            self.faults.append(f"{_name(deal.order, deal.lot)} pays {paid} in {transaction}")

    def _items(self, market: MarketClient, transaction: str) -> list[tuple[bytes, int, tuple[bytes, ...]]]:
        """What the transaction asked the contract to match, in its order."""
        answer = market.rpc.call("eth_getTransactionByHash", transaction)
        functions = artefacts.load("Market")
        clear, match = functions.function("clear"), functions.function("matchBid")
        try:
            data = b"" if answer is None else bytes.fromhex(answer["input"][2:])
            calls = clear.decode_call(data)["bids"] if data[:4] == clear.selector else None
            if calls is None or any(call[:4] != match.selector for call in calls):
                raise InvalidInput("it calls something else")
            return [self._item(match.decode_call(call)) for call in calls]
        except InvalidInput as error:
            self.faults.append(f"transaction {transaction} is no plain call of `clear`: {error.message}")
            return []

    def _item(self, values: Mapping[str, Any]) -> tuple[bytes, int, tuple[bytes, ...]]:
        domain = self._batch.domain
        bid = Bid(**{snake_case(name): value for name, value in values["bid"].items()})
        asks = [
            Ask(**{snake_case(name): value for name, value in each["ask"].items()}) for each in values["asks"]
        ]
        return bid.digest(domain), values["index"], tuple(ask.digest(domain) for ask in asks)


def _name(order: bytes, lot: int) -> str:
    return f"lot {lot} of bid 0x{order.hex()}"
