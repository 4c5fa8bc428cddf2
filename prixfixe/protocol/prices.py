"""What the market has paid, as it crosses HTTP: trades and the price index."""

from __future__ import annotations

from typing import Literal

from prixfixe.protocol.fields import Address, Message, MoneyField, ProductField, Seconds, Word
from prixfixe.protocol.reputation import ProviderRecord


class Trade(Message):
    """What one provider was paid for one settled lot. A lot with several replicas is several trades of one
    deal."""

    deal: Word
    leg: int
    product: ProductField
    kind: Literal["bundle", "flat", "auction"]
    price: MoneyField  # of one task, to this provider
    tasks: int
    provider: Address
    customer: Address
    bundle: Word | None  # the offer's id, of a bundle
    batch: Word | None  # hash of the published batch, of an auction
    block: int
    time: Seconds  # of the block


class PriceIndex(Message):
    """The price index of a product (`prixfixe.market.index`).

    status: live; stale, nothing was paid lately; fallback, too few makers to speak of a market, and the
    prices are of `source`: the plain percentiles of what trades there are, or of the asks that rest now.
    """

    product: ProductField
    status: Literal["live", "stale", "fallback"]
    source: Literal["index", "trades", "asks", "none"]
    p10: MoneyField | None
    p50: MoneyField | None
    p90: MoneyField | None
    trades: int  # paid legs that counted
    makers: int  # distinct providers among them
    newest: Seconds | None  # when the newest was paid
    block: int  # the last one that was read
    time: Seconds  # for which the index was computed


class EarningsLine(Message):
    """What a worker did on one day for one product and bundle. earned: all that settlements paid, `waiting`
    of it can still be disputed; taken: pay of results that were judged wrong, which is not in `earned`;
    fees: what guilty cases cost beside that."""

    day: str  # of the chain's clock, UTC, such as 2026-11-22
    product: ProductField
    kind: Literal["bundle", "flat", "auction"]
    bundle: str | None  # "pivot 1.0.0 small", of a bundle
    lots: int
    tasks: int
    seconds: float  # that its runs took, by its own clock
    earned: MoneyField
    waiting: MoneyField
    taken: MoneyField
    fees: MoneyField


class Earnings(Message):
    """A worker's income, by the trades that the chain tells of; newest day first. slots: how many tasks it
    runs at once. since, until: the chain's clock."""

    key: Address
    provider: Address
    slots: int
    since: Seconds
    until: Seconds
    lines: tuple[EarningsLine, ...]
    more: bool = False  # there were more trades than one answer adds up; the oldest are left out


class Miss(Message):
    """A lot that a worker did not get. outcome: elsewhere, others got it; waiting, nobody has it yet;
    unmatched, it ended without anybody. price: what the worker asked for a task then, None when it asked for
    nothing; paid: what the dearest of those who got it are paid, or the most that the lot may cost."""

    job: Word
    lot: int
    product: ProductField
    kind: Literal["bundle", "flat", "auction"]
    outcome: Literal["elsewhere", "waiting", "unmatched"]
    at: Seconds  # service clock
    price: MoneyField | None
    paid: MoneyField
    reasons: tuple[str, ...]  # every rule that kept it out, each with what would have admitted it


class ReasonCount(Message):
    """How many lots a reason kept from a worker, each counted under the first that did."""

    reason: str
    lots: int


class WorkerWhy(Message):
    """Why the newest lots of a worker's products did not come to it, newest first. got: of those that were
    looked at, how many did. nearest: what would have won the miss that fewest rules kept out. standing: what
    its provider's deals say, which decides between equal prices."""

    key: Address
    products: tuple[ProductField, ...]
    got: int
    misses: tuple[Miss, ...]
    counts: tuple[ReasonCount, ...]
    nearest: str | None
    standing: ProviderRecord
