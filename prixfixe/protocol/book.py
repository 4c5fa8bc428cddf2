"""The order book and the auction's batches, as they cross HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prixfixe.protocol.fields import Address, Body, Message, MoneyField, ProductField, Seconds, Word
from prixfixe.protocol.wire import Reason, SignedAsk

MOST_ASKS = 100  # in one request


class Level(Message):
    """All that rests at one price of one side. volume: replicas of lots that bids want, lots that asks can
    take."""

    price: MoneyField  # of one task and replica, fee left out
    volume: int
    orders: int


class AuctionTerms(Message):
    """How the auction of a product runs. low: the reserve price; no batch clears below low or above high."""

    least_seconds: Annotated[float, Field(gt=0, le=86_400)]
    most_seconds: Annotated[float, Field(gt=0, le=86_400)]
    low: MoneyField
    high: MoneyField | None


class TermsChange(Body):
    """Other terms for a product, and why."""

    terms: AuctionTerms
    note: Annotated[str, Field(min_length=1, max_length=1000)]


class ProductListing(Message):
    """A product of the market. note, changed_by, changed_at: of its terms; None: they are the default."""

    product: ProductField
    terms: AuctionTerms
    note: str | None
    changed_by: Address | None
    changed_at: Seconds | None


class BatchSummary(Message):
    """A published batch. transaction: of the chain, None until it has the batch."""

    digest: Word
    product: ProductField
    number: int  # of its product: 1, 2, 3
    price: MoneyField  # what every replica of its lots is paid for a task
    fills: int  # lots
    bids: int
    asks: int
    set_aside: int
    block: int
    closed_at: Seconds
    transaction: Word | None


class Waiting(Message):
    """Why bids wait, as the last batch found it, and how many for this reason."""

    reason: str
    bids: int


class NextClose(Message):
    """When the batch that gathers closes. at: unix seconds of the service's clock. seconds: until then, when
    this was answered."""

    at: float
    seconds: float


class Book(Message):
    """The live book of a product, best prices first. bids, asks: levels, at most as many as were asked for.
    batch: the last one. closes: the next one; None while none gathers. live, resting: asks. waiting: the
    commonest reasons first."""

    product: ProductField
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    live: int
    resting: int
    terms: AuctionTerms
    batch: BatchSummary | None
    time: Seconds
    waiting: tuple[Waiting, ...] = ()
    closes: NextClose | None = None

    @property
    def spread(self) -> int | None:
        """Lowest ask less highest bid, token units; None unless both sides are there."""
        if not self.bids or not self.asks:
            return None
        return self.asks[0].price.units - self.bids[0].price.units


class OwnOrder(Message):
    """An order of the caller's that rests. volume: free lots of a bid, slots of an ask. why: it waits."""

    order: Word
    side: Literal["bid", "ask"]
    product: ProductField
    price: MoneyField  # of one task: a bid's with all replicas and fee, an ask's for one replica
    volume: int
    expiry: Seconds
    placed_at: Seconds
    why: str | None


class AskPlacement(Body):
    """Signed asks of registered workers; each replaces what its worker asked for the product before."""

    asks: Annotated[tuple[SignedAsk, ...], Field(min_length=1, max_length=MOST_ASKS)]


class AskAnswer(Message):
    """What became of one ask. order: its digest, as it was computed here."""

    order: Word
    taken: bool
    reason: Reason | None


class AskAnswers(Message):
    """What became of each, in their order."""

    items: tuple[AskAnswer, ...]
    next: None = None


class Cancelled(Message):
    """What left the book. lots: of a bid; 1 for an ask."""

    order: Word
    lots: int
