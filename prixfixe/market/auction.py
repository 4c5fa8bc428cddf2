"""The uniform-price call auction of one product: a pure function of orders, rules and a seed.

All that rests when the batch closes meets at once. One price clears it: every leg that trades is paid that
price, none below its ask, none above its bid's limit. Speed decides nothing, so racing is not rewarded;
where more wants to trade at one price than can, a seeded hash of each single lot and slot shares the margin,
so that cutting an order into a hundred gains nothing.

**The price.** Bids are unrolled into legs (lots x replicas) and asks into slots, of which a provider has at
most one for each lot that is asked for (no lot takes two legs of one provider). With M slots for sale, any
price between the M-th and the (M+1)-th highest of all these values, bids' and asks', clears as much as any
price can; the price is the middle of those two, the marginal pair, rounded down, and then brought inside the
collar. More supply never raises it, more demand never lowers it (S. Wurman, W. Walsh, M. Wellman: "Flexible
double auctions for electronic commerce", 1998, on the M-th and (M+1)-th price).

**The fills.** Bids at or above the price are served by limit, asks at or below it are chosen by price, ties
by the seeded hash. The chosen slots are then spread by giving each lot the providers that have most left,
which serves as many lots as any spreading can when bids take any provider (D. Gale 1957, H. Ryser 1957).
Among orders with conditions of their own (named customers, named providers) it is greedy, and a lot that
found too few providers tries once more among the asks that were not chosen.

**Whole or not at all.** Of the bids marked `whole` that could not be filled altogether the first in line is
left out and the auction is run again without it, so that what does not trade does not move the price. After
`WHOLE_ROUNDS` such rounds all of them are left out at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prixfixe.market.book import Buy, Sell
from prixfixe.market.spreading import Spreading

BPS: Final = 10_000
WHOLE_ROUNDS: Final = 16
SHORTEST_BATCH: Final = 1.0  # seconds
LONGEST_BATCH: Final = 5.0

Exclusion = Literal[
    "admits no provider that is here",
    "admits no customer that is here",
    "could not be filled whole",
]


@dataclass(frozen=True, slots=True)
class Collar:
    """Between which prices a batch may clear, token units a task. low is also the reserve price."""

    low: int = 0
    high: int = 2**63 - 1

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"a collar from {self.low} to {self.high} holds no price")

    def clamp(self, price: int) -> int:
        """The nearest price inside."""
        return min(max(price, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Fill:
    """One lot of a bid, with one ask for each replica. lot: which of the bid's free lots, from 0."""

    bid: bytes
    lot: int
    asks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """How a batch ended. price: what each leg is paid; None when nothing could trade. fills: by bid and lot.
    excluded: orders that took no part in the price, each with its reason."""

    price: int | None
    fills: tuple[Fill, ...]
    excluded: Mapping[bytes, Exclusion] = field(default_factory=dict)


def leg_limit(price: int, replicas: int, fee_bps: int) -> int:
    """The most that one leg may cost so that `replicas` legs and the fee on them stay within a bid's price:
    the largest p with n*p + n*p*fee/10,000 (rounded down, as the contract does) <= price."""
    # Without the rounding down, n*p <= price * BPS / (BPS + fee); one token unit of room comes from it.
    cost = (price * BPS + BPS - 1) // (BPS + fee_bps)
    while cost + cost * fee_bps // BPS > price:
        cost -= 1
    limit = cost // replicas
    while (cost := (limit + 1) * replicas) + cost * fee_bps // BPS <= price:
        limit += 1
    return limit


def batch_seconds(orders: int) -> float:
    """How long a batch stays open once both sides are there, when so many orders came in the last ten
    seconds: a thick market gains by gathering, a thin one loses who will not wait
    (`scripts/bench mechanisms`)."""
    return min(max(orders / 4, SHORTEST_BATCH), LONGEST_BATCH)


def clear(buys: Iterable[Buy], sells: Iterable[Sell], seed: bytes, collar: Collar = Collar()) -> Cleared:
    """Clear one batch. Orders of no volume are passed over. O(n log n) in orders and traded legs, times the
    rounds that bids marked `whole` need."""
    bids = sorted((buy for buy in buys if buy.lots > 0), key=lambda buy: buy.id)
    asks = sorted((sell for sell in sells if sell.slots > 0), key=lambda sell: sell.id)
    excluded: dict[bytes, Exclusion] = {}
    rounds = 0
    while True:
        rounds += 1
        live_bids, live_asks, alone = _able(bids, asks)
        price = _price(live_bids, live_asks, collar)
        if price is None:
            return Cleared(None, (), excluded | alone)
        taking = [buy for buy in live_bids if buy.limit >= price]
        giving = [sell for sell in live_asks if sell.price <= price]
        spreading = Spreading(taking, giving, seed)
        fills = spreading.fills()
        short = spreading.short()
        if not short:
            done = tuple(
                Fill(buy.id, lot, legs) for buy in taking for lot, legs in enumerate(fills.get(buy.id, ()))
            )
            return Cleared(price if done else None, done, excluded | alone)
        left_out = set(short if rounds > WHOLE_ROUNDS else short[:1])
        for each in left_out:
            excluded[each] = "could not be filled whole"
        bids = [buy for buy in bids if buy.id not in left_out]


def _able(bids: list[Buy], asks: list[Sell]) -> tuple[list[Buy], list[Sell], dict[bytes, Exclusion]]:
    """Without the orders whose own conditions leave them nobody to trade with at any price."""
    excluded: dict[bytes, Exclusion] = {}
    highest: dict[str, int] = {}
    for buy in bids:
        if buy.limit > highest.get(buy.customer, -1):
            highest[buy.customer] = buy.limit
    able_asks = []
    for sell in asks:
        if sell.customer is not None and highest.get(sell.customer, -1) < sell.price:
            excluded[sell.id] = "admits no customer that is here"
        else:
            able_asks.append(sell)
    lowest: dict[str, int] = {}
    for sell in able_asks:
        if sell.price < lowest.get(sell.provider, sell.price + 1):
            lowest[sell.provider] = sell.price
    known: dict[frozenset[str], list[int]] = {}  # the lowest asks of a list of providers, sorted
    able_bids = []
    for buy in bids:
        if buy.providers is not None:
            prices = known.get(buy.providers)
            if prices is None:
                prices = sorted(lowest[each] for each in buy.providers if each in lowest)
                known[buy.providers] = prices
            if bisect_left(prices, buy.limit + 1) < buy.replicas:
                excluded[buy.id] = "admits no provider that is here"
                continue
        able_bids.append(buy)
    return able_bids, able_asks, excluded


def _price(bids: list[Buy], asks: list[Sell], collar: Collar) -> int | None:
    """The middle of the marginal pair inside the collar; None when no bid reaches an ask there."""
    if not bids or not asks:
        return None
    lots = sum(buy.lots for buy in bids)
    supply = _slots_that_count(asks, lots)
    total = sum(slots for _, slots in supply)
    values = [(buy.limit, buy.lots * buy.replicas) for buy in bids]
    values += supply
    values.sort(reverse=True)
    # The M-th and the (M+1)-th highest; there is an (M+1)-th because there is at least one bid.
    upper = lower = -1
    passed = 0
    for value, units in values:
        passed += units
        if upper < 0 and passed >= total:
            upper = value
        if passed > total:
            lower = value
            break
    price = collar.clamp((upper + lower) // 2)
    reached = any(buy.limit >= price for buy in bids) and any(sell.price <= price for sell in asks)
    return price if reached else None


def _slots_that_count(asks: list[Sell], lots: int) -> list[tuple[int, int]]:
    """(price, slots) of the asks, of each provider the cheapest `lots` slots and no more."""
    by_provider: dict[str, list[tuple[int, int]]] = {}
    for sell in asks:
        by_provider.setdefault(sell.provider, []).append((sell.price, sell.slots))
    counted = []
    for offers in by_provider.values():
        left = lots
        if len(offers) > 1:
            offers.sort()
        for price, slots in offers:
            if slots >= left:
                counted.append((price, left))
                break
            counted.append((price, slots))
            left -= slots
    return counted
