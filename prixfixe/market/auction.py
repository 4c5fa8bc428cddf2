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

import gc
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Generic, Literal, NamedTuple

from prixfixe.market.book import Buy, Sell
from prixfixe.market.spreading import Order, Ranking, Spreading

BPS: Final = 10_000
WHOLE_ROUNDS: Final = 16
SHORTEST_BATCH: Final = 1.0  # seconds
LONGEST_BATCH: Final = 5.0
ADMITS_NOBODY: Final = "admits no provider that is here"

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


class Fill(NamedTuple):
    """One lot of a bid, with one ask for each replica. lot: which of the bid's free lots, from 0.

    A tuple, because a large batch makes a hundred thousand of them.
    """

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


def batch_seconds(orders: int, least: float = SHORTEST_BATCH, most: float = LONGEST_BATCH) -> float:
    """How long a batch stays open once both sides are there, when so many orders came in the last ten
    seconds: a thick market gains by gathering, a thin one loses who will not wait
    (`scripts/bench mechanisms`). least, most: seconds, of the product."""
    return min(max(orders / 4, least), most)


def clear(buys: Iterable[Buy], sells: Iterable[Sell], seed: bytes, collar: Collar = Collar()) -> Cleared:
    """Clear one batch. Orders of no volume are passed over. O(n log n) in orders and traded legs, times the
    rounds that bids marked `whole` need."""
    with _no_collector():
        return _clear(buys, sells, seed, collar)


@contextmanager
def _no_collector() -> Iterator[None]:
    """The many small values of a large batch hold no cycles: looking for some is a fifth of its time, and
    grows with the rest of the process."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _clear(buys: Iterable[Buy], sells: Iterable[Sell], seed: bytes, collar: Collar) -> Cleared:
    bids = [buy for buy in buys if buy.lots > 0]
    asks = [sell for sell in sells if sell.slots > 0]
    excluded: dict[bytes, Exclusion] = {}
    rounds = 0
    while True:
        rounds += 1
        live_bids, live_asks, alone = _able(bids, asks)
        lots = [buy.lots for buy in live_bids]
        legs = [buy.lots * buy.replicas for buy in live_bids]
        slots = _slots_that_count(live_asks, sum(lots))
        demand = _Ranked(live_bids, [-buy.limit for buy in live_bids], legs)
        supply = _Ranked(live_asks, [sell.price for sell in live_asks], slots)
        price = _price(demand, supply, collar)
        if price is None:
            return Cleared(None, (), excluded | alone)
        taking = demand.up_to(-price)
        legs_taken = demand.units[len(taking[0])]
        lots_taken = sum([buy.lots for buy in live_bids if buy.limit >= price])
        spreading = Spreading(taking, supply.up_to(price), seed, legs_taken, lots_taken)
        fills = spreading.fills()
        short = spreading.short()
        if not short:
            done = tuple(
                [Fill(bid, lot, legs_) for bid in sorted(fills) for lot, legs_ in enumerate(fills[bid])]
            )
            return Cleared(price if done else None, done, excluded | alone)
        left_out = set(short if rounds > WHOLE_ROUNDS else short[:1])
        for each in left_out:
            excluded[each] = "could not be filled whole"
        bids = [buy for buy in bids if buy.id not in left_out]


class _Ranked(Generic[Order]):
    """One side of a book, best first: limits negated, or prices.

    A large book costs little but waiting for orders that lie anywhere in memory. So what the price needs is
    read in the order in which they were given, which is mostly the order in which they lie, ranked by their
    places, and only the orders that trade are fetched in the order of their values."""

    def __init__(self, orders: list[Order], values: list[int], units: list[int]) -> None:
        places: list[int] = sorted(range(len(values)), key=values.__getitem__)
        self._orders: list[Order] = orders
        self._places = places
        self.values: list[int] = list(map(values.__getitem__, places))
        self.units: list[int] = [0, *accumulate(map(units.__getitem__, places))]  # of the first so many

    def up_to(self, value: int) -> Ranking[Order]:
        """The orders that are as good as this or better."""
        end = bisect_right(self.values, value)
        return list(map(self._orders.__getitem__, self._places[:end])), self.values[:end]


def _able(bids: list[Buy], asks: list[Sell]) -> tuple[list[Buy], list[Sell], dict[bytes, Exclusion]]:
    """Without the orders whose own conditions leave them nobody to trade with at any price."""
    excluded: dict[bytes, Exclusion] = {}
    named = {sell.customer for sell in asks if sell.customer is not None}
    if named:
        highest: dict[str, int] = dict.fromkeys(named, -1)
        for buy in bids:
            if buy.customer in named and buy.limit > highest[buy.customer]:
                highest[buy.customer] = buy.limit
        able_asks = []
        for sell in asks:
            if sell.customer is not None and highest[sell.customer] < sell.price:
                excluded[sell.id] = "admits no customer that is here"
            else:
                able_asks.append(sell)
        asks = able_asks
    if all(buy.providers is None for buy in bids):
        return bids, asks, excluded
    lowest: dict[str, int] = {}
    for sell in asks:
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
                excluded[buy.id] = ADMITS_NOBODY
                continue
        able_bids.append(buy)
    return able_bids, asks, excluded


def _price(bids: _Ranked[Buy], asks: _Ranked[Sell], collar: Collar) -> int | None:
    """The middle of the marginal pair inside the collar; None when no bid reaches an ask there."""
    limits, wanted, prices, offered = bids.values, bids.units, asks.values, asks.units
    if not limits or not prices:
        return None

    def surplus(value: int) -> int:
        """Legs that would pay `value` less the slots that ask for less; falls as the value rises."""
        return wanted[bisect_right(limits, -value)] - offered[bisect_left(prices, value)]

    def highest(least: int) -> int:
        """The highest of all values with at least this surplus."""
        of_bids = bisect_left(limits, True, key=lambda limit: surplus(-limit) >= least)
        of_asks = bisect_left(prices, True, key=lambda price: surplus(price) < least)
        found = [] if of_bids == len(limits) else [-limits[of_bids]]
        return max(found + prices[max(of_asks - 1, 0) : of_asks])

    # As many legs and slots are worth the M-th highest value or more as there are slots: surplus 0. There is
    # an (M+1)-th, with a surplus of 1, because there is at least one bid.
    price = collar.clamp((highest(0) + highest(1)) // 2)
    return price if -limits[0] >= price >= prices[0] else None


def _slots_that_count(asks: list[Sell], lots: int) -> list[int]:
    """The slots of each ask, of each provider the cheapest `lots` slots and no more."""
    slots = [sell.slots for sell in asks]
    of_provider: dict[str, int] = {}
    for sell in asks:
        of_provider[sell.provider] = of_provider.get(sell.provider, 0) + sell.slots
    left = {provider: lots for provider, total in of_provider.items() if total > lots}
    if left:
        cut = [at for at, sell in enumerate(asks) if sell.provider in left]
        for at in sorted(cut, key=lambda at: asks[at].price):
            sell = asks[at]
            slots[at] = min(sell.slots, left[sell.provider])
            left[sell.provider] -= slots[at]
    return slots
