"""Getting the money back without the service: anyone may expire a deal whose deadline has passed.

What is needed is on the chain (the deal, in the event of its opening) and on the customer's machine (the
signed order, by whose digest it is found).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prixfixe.client.evidence import ChainEvidence, DealEvent
from prixfixe.errors import ChainError
from prixfixe.protocol.deals import LOT_CANCELLED, LOT_FREE, Deal, Due, open_word
from prixfixe.protocol.money import ZERO, Money
from prixfixe.protocol.orders import Order

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.keys import Signer


@dataclass(frozen=True, slots=True)
class LotState:
    """One lot of an order, as the contract has it.

    state: free (nothing held), cancelled, open (held until `deadline`, then anyone can send it back) or
    settled. held: the customer's money in it now. charged: what was kept of a settled one.
    """

    index: int
    state: Literal["free", "cancelled", "open", "settled"]
    held: Money = ZERO
    charged: Money = ZERO
    deal: Deal | None = None
    due: int | None = None

    @property
    def deadline(self) -> int | None:
        """Last second in which the deal can be settled, on the chain's clock."""
        return None if self.due is None else Due.unpack(self.due).deadline

    def can_expire(self, now: int) -> bool:
        """Whether the contract gives it back at chain time `now`."""
        return self.state == "open" and self.deadline is not None and now > self.deadline


@dataclass(frozen=True, slots=True)
class Returned:
    """A late deal that was sent back. transaction: its hash."""

    lot: int
    amount: Money
    transaction: str


def expire_late(
    market: MarketClient, signer: Signer, states: Iterable[LotState], now: int
) -> tuple[Returned, ...]:
    """Send back every deal that is late at chain time `now`. Somebody else may be faster; the money is the
    same."""
    done = []
    for lot in states:
        if not lot.can_expire(now) or lot.deal is None or lot.due is None:
            continue
        try:
            outcome = market.expire(signer, lot.deal, lot.due)
        except ChainError as error:
            if error.revert == "MarketNotOpen":
                continue
            raise
        done.append(Returned(lot.index, lot.held, outcome.transaction_hash))
    return tuple(done)


def close_free(
    market: MarketClient, signer: Signer, order: Order, states: Iterable[LotState]
) -> Iterator[tuple[int, str]]:
    """Cancel the order's free lots on the chain, so that nobody can ever match them: each lot's index and the
    hash of its transaction. One that somebody matched meanwhile is passed over."""
    for lot in states:
        if lot.state != "free":
            continue
        try:
            yield lot.index, market.cancel(signer, order, lot.index).transaction_hash
        except ChainError as error:
            if error.revert != "MarketLotTaken":
                raise


def lot_states(chain: ChainEvidence, order: bytes, lots: int | None = None) -> tuple[LotState, ...]:
    """Every lot of an order. lots: how many it has; without it, those that were ever matched."""
    found = chain.events_of(order)
    indexes = {event.deal.lot for event in found if event.deal is not None}
    return tuple(
        _state(chain, order, index, found) for index in (range(lots) if lots is not None else sorted(indexes))
    )


def _state(chain: ChainEvidence, order: bytes, index: int, events: tuple[DealEvent, ...]) -> LotState:
    word = chain.lot_word(order, index)
    if word == LOT_FREE:
        return LotState(index, "free")
    if word == LOT_CANCELLED:
        return LotState(index, "cancelled")
    deals = {event.deal_id: event.deal for event in events if event.deal is not None}
    for event in reversed(events):
        deal = deals.get(event.deal_id)
        if deal is None or deal.lot != index:
            continue
        if event.due is not None and word == open_word(event.deal_id, event.due):
            return LotState(index, "open", held=deal.total, deal=deal, due=event.due)
        if event.kind == "settled":
            charged = Money(deal.total.units - (event.returned or 0))
            return LotState(index, "settled", charged=charged, deal=deal)
    # A word that no event explains: the node is behind, or a later state than this version knows (a dispute).
    return LotState(index, "settled")
