"""Calls about lots and offers: published, matched, cleared, settled, returned, closed; one or many at once.

A batch runs each item as a call of its own: one that fails undoes itself and is named in `Outcome.skipped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prixfixe.chain.sending import MarketSender, Outcome
from prixfixe.keys import Signer
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bid, Purchase, SignedAsk


@dataclass(frozen=True, slots=True)
class PurchaseMatch:
    """A lot of a signed purchase with the asks that shall run it, one a replica."""

    purchase: Purchase
    signature: bytes
    offer: Offer
    lot: int
    asks: tuple[SignedAsk, ...]

    @property
    def call(self) -> tuple[str, tuple[Any, ...]]:
        given = (self.purchase, self.signature, self.offer, self.lot, list(self.asks))
        return "matchPurchase", given


@dataclass(frozen=True, slots=True)
class BidMatch:
    """A lot of a signed bid with the asks that shall run it, one a replica."""

    bid: Bid
    signature: bytes
    lot: int
    asks: tuple[SignedAsk, ...]

    @property
    def call(self) -> tuple[str, tuple[Any, ...]]:
        return "matchBid", (self.bid, self.signature, self.lot, list(self.asks))


@dataclass(frozen=True, slots=True)
class Settlement:
    """A deal's result with one signature a leg; empty where a leg did not sign. due: packed."""

    deal: Deal
    due: int
    root: bytes
    done: int
    signatures: tuple[bytes, ...]

    @property
    def call(self) -> tuple[str, tuple[Any, ...]]:
        return "settle", (self.deal, self.due, self.root, self.done, list(self.signatures))


def signed_cancel(order: Purchase | Bid, lot: int, signature: bytes) -> tuple[str, Any, int, bytes]:
    """The contract's function that closes a lot by a signed `Cancel`, and its arguments."""
    name = "cancelBySig" if isinstance(order, Purchase) else "cancelBidBySig"
    return name, order, lot, signature


class LotCalls(MarketSender):
    """What moves lots and offers on."""

    # ------------------------------------------------------------------------------------------- offers

    def publish(self, signer: Signer, offer: Offer, until: int, float_: Money) -> Outcome:
        """Puts an offer up until `until`, with `float_` from the treasury. Pricing role."""
        return self.send(signer, "publish", offer, until, float_.units)

    def retire(self, signer: Signer, offer_id: bytes, until: int) -> Outcome:
        """Brings the end of an offer forward, never sooner than the notice. Pricing role."""
        return self.send(signer, "retire", offer_id, until)

    def reclaim(self, signer: Signer, offer_id: bytes) -> Outcome:
        """Moves the float of an ended offer back to the treasury; by anyone."""
        return self.send(signer, "reclaim", offer_id)

    # ------------------------------------------------------------------------------------------ matches

    def match_purchase(
        self,
        signer: Signer,
        purchase: Purchase,
        signature: bytes,
        offer: Offer,
        lot: int,
        asks: Sequence[SignedAsk],
    ) -> Outcome:
        """Opens a deal on a free lot. Scheduler."""
        return self.send(signer, "matchPurchase", purchase, signature, offer, lot, list(asks))

    def match_bid(
        self, signer: Signer, bid: Bid, signature: bytes, lot: int, asks: Sequence[SignedAsk]
    ) -> Outcome:
        """Opens a deal on a free lot of a bid; by whom bid and asks name."""
        return self.send(signer, "matchBid", bid, signature, lot, list(asks))

    def clear(self, signer: Signer, price: Money, batch: bytes, bids: Sequence[BidMatch]) -> Outcome:
        """Matches bids with every leg paid `price`. batch: the published batch's hash. Scheduler."""
        return self.send(signer, "clear", price.units, batch, self._items(bids))

    def match_many(self, signer: Signer, matches: Sequence[PurchaseMatch | BidMatch]) -> Outcome:
        """Several matches in one transaction."""
        return self.send(signer, "matchMany", self._items(matches))

    # --------------------------------------------------------------------------------------------- ends

    def settle(
        self, signer: Signer, deal: Deal, due: int, root: bytes, done: int, signatures: Sequence[bytes]
    ) -> Outcome:
        """Pays a deal up to its deadline; by anyone who has all signatures. With a quorum only, by the
        scheduler, and by anyone in the last grace."""
        return self.send(signer, "settle", deal, due, root, done, list(signatures))

    def settle_many(self, signer: Signer, settlements: Sequence[Settlement]) -> Outcome:
        """Several settlements in one transaction."""
        return self.send(signer, "settleMany", self._items(settlements))

    def expire(self, signer: Signer, deal: Deal, due: int) -> Outcome:
        """Gives the whole price back, strictly after the deadline; by anyone."""
        return self.send(signer, "expire", deal, due)

    def expire_many(self, signer: Signer, late: Sequence[tuple[Deal, int]]) -> Outcome:
        """Several refunds in one transaction: deals with their `due`."""
        return self.send(signer, "expireMany", [self.encode_call("expire", *each) for each in late])

    def hasten(self, signer: Signer, deal: Deal, due: int) -> Outcome:
        """Brings the deadline forward to the grace from now. Scheduler."""
        return self.send(signer, "hasten", deal, due)

    # ------------------------------------------------------------------------------------------ closing

    def cancel(self, signer: Signer, order: Purchase | Bid, lot: int) -> Outcome:
        """Closes a free lot of the signer's order."""
        return self.send(signer, "cancel" if isinstance(order, Purchase) else "cancelBid", order, lot)

    def cancel_by_signature(
        self, signer: Signer, order: Purchase | Bid, lot: int, signature: bytes
    ) -> Outcome:
        """Closes a free lot by its customer's signed `Cancel`; by anyone."""
        return self.send(signer, *signed_cancel(order, lot, signature))

    def _items(self, calls: Sequence[PurchaseMatch | BidMatch | Settlement]) -> list[bytes]:
        return [self.encode_call(name, *arguments) for name, arguments in (each.call for each in calls)]
