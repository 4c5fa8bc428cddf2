"""Which lots get which slots, once the price is known: second half of `auction`, which tells the rules."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TypeVar

from prixfixe.market.book import Buy, Sell

Order = TypeVar("Order", Buy, Sell)
Ranking = tuple[list[Order], list[int]]  # orders, and for each of them what they are sorted by


class Spreading:
    """Gives lots their legs, at a price that all of them accept. bids: highest limit first, with what rises
    as the limits fall. asks: lowest price first, with the prices. legs, lots: of all the bids together.

    What lies far apart in memory is looked at once: a bid when its lots are served, an ask when it is chosen.
    """

    def __init__(self, bids: Ranking[Buy], asks: Ranking[Sell], seed: bytes, legs: int, lots: int) -> None:
        self._bids, self._limits = bids
        self._asks, self._prices = asks
        self._legs = legs
        self._lots = lots
        self._tie = _Tie(seed)
        self._filled: dict[bytes, list[tuple[bytes, ...]]] = {}
        self._whole: dict[bytes, int] = {}  # the lots of each bid that wants all, in the order of serving

    def short(self) -> list[bytes]:
        """The bids marked `whole` that are not, in the order in which they were served."""
        return [bid for bid, lots in self._whole.items() if len(self._filled.get(bid, ())) < lots]

    def fills(self) -> dict[bytes, list[tuple[bytes, ...]]]:
        """For each bid the asks of each of its lots that found enough providers."""
        stock = _Stock()
        rest = self._choose(stock)
        waiting = self._serve(self._queue(), stock)
        if waiting and rest:
            stock.add(rest)
            self._serve(waiting, stock)
        return self._filled

    def _queue(self) -> Iterator[Buy]:
        """The bid of every lot that is asked for: highest limit first, then by hash."""
        bids = self._bids
        for start, end in _levels(self._limits):
            if end - start == 1:
                buy = bids[start]
                if buy.whole:
                    self._whole[buy.id] = buy.lots
                for _ in range(buy.lots):
                    yield buy
            else:
                by_id = {buy.id: buy for buy in bids[start:end]}
                units = ((buy.id, buy.lots, buy.whole) for buy in by_id.values())
                for each in self._tie.order(units):
                    buy = by_id[each]
                    if buy.whole:
                        self._whole[each] = buy.lots
                    yield buy

    def _choose(self, stock: _Stock) -> list[tuple[Sell, int]]:
        """Puts the cheapest slots that all legs need into the stock, ties by hash; those that are left
        over."""
        asks = self._asks
        legs, lots = self._legs, self._lots
        rest: list[tuple[Sell, int]] = []
        of_provider: dict[str, int] = {}
        for start, end in _levels(self._prices):
            level = asks[start:end]
            if len(level) > 1:
                level.sort(key=attrgetter("id"))
            if legs <= 0:
                rest += [(sell, sell.slots) for sell in level]
                continue
            if len(level) > 1 and sum([min(sell.slots, lots) for sell in level]) > legs:
                counts = self._shared(level, legs, lots, of_provider)
            else:
                counts = []
                for sell in level:
                    used = of_provider.get(sell.provider, 0)
                    count = min(sell.slots, lots - used)
                    of_provider[sell.provider] = used + count
                    counts.append(count)
            for sell, count in zip(level, counts, strict=True):
                legs -= count
                if count:
                    stock.put(sell, count)
                if count < sell.slots:
                    rest.append((sell, sell.slots - count))
        return rest

    def _shared(self, level: Sequence[Sell], legs: int, lots: int, of_provider: dict[str, int]) -> list[int]:
        """How many slots each ask of the marginal price gives, by hash; counted to its provider."""
        counts = dict.fromkeys((sell.id for sell in level), 0)
        provider_of = {sell.id: sell.provider for sell in level}
        for each in self._tie.order((sell.id, min(sell.slots, lots), False) for sell in level):
            provider = provider_of[each]
            if legs > 0 and of_provider.get(provider, 0) < lots:
                of_provider[provider] = of_provider.get(provider, 0) + 1
                counts[each] += 1
                legs -= 1
        return list(counts.values())

    def _serve(self, queue: Iterable[Buy], stock: _Stock) -> list[Buy]:
        """Gives legs to lots in their order; the lots that found too few providers."""
        waiting = []
        filled = self._filled
        last, lots = b"", list[tuple[bytes, ...]]()
        for buy in queue:
            legs = stock.take(buy)
            if legs is None:
                waiting.append(buy)
                continue
            if buy.id is not last:
                last = buy.id
                lots = filled.setdefault(last, [])
            lots.append(legs)
        return waiting


def _levels(values: list[int]) -> Iterator[tuple[int, int]]:
    """From where to before where each value stands, of sorted values."""
    start = 0
    for at in range(1, len(values)):
        if values[at] != values[at - 1]:
            yield start, at
            start = at
    if values:
        yield start, len(values)


class _Tie:
    """The seeded hash that decides between equals, for each single lot or slot of an order."""

    def __init__(self, seed: bytes) -> None:
        self._start = hashlib.blake2b(seed, digest_size=16, person=b"prixfixe-tie")

    def order(self, units: Iterable[tuple[bytes, int, bool]]) -> list[bytes]:
        """The owner of each unit, in the order that the hash gives the units. Each comes as owner, number of
        units, and whether they stay together."""
        keyed: list[tuple[bytes, bytes]] = []
        for owner, count, together in units:
            if together:
                state = self._start.copy()
                state.update(owner + bytes(8))
                keyed += [(state.digest(), owner)] * count
                continue
            for number in range(count):
                state = self._start.copy()
                state.update(owner + number.to_bytes(8, "big"))
                keyed.append((state.digest(), owner))
        keyed.sort()
        return [owner for _, owner in keyed]


class _Slots:
    """What a provider has left for one kind of customer, all or one only; its cheapest ask goes first."""

    __slots__ = ("_ask", "_here", "_next", "left", "provider")

    def __init__(self, provider: str, ask: bytes, slots: int) -> None:
        self.provider = provider
        self.left = slots
        self._ask = ask
        self._here = slots  # left of this ask
        self._next: deque[tuple[bytes, int]] | None = None  # further asks and their slots

    def add(self, ask: bytes, slots: int) -> None:
        if self._next is None:
            self._next = deque()
        self._next.append((ask, slots))
        self.left += slots

    def one(self) -> bytes:
        """Takes a slot."""
        if not self._here:
            assert self._next
            self._ask, self._here = self._next.popleft()
        self.left -= 1
        self._here -= 1
        return self._ask


class _MostFirst:
    """Providers by how many slots they have left, most first.

    What it holds of one may be out of date, since several hold the same provider, but only by saying too
    much: slots are only taken. So whoever is on top is looked at again, and goes where it belongs.
    """

    __slots__ = ("_by_left", "_levels")

    def __init__(self, slots: Iterable[_Slots]) -> None:
        self._by_left: dict[int, list[_Slots]] = {}
        for each in slots:
            if each.left:
                self._by_left.setdefault(each.left, []).append(each)
        self._levels = [-left for left in self._by_left]  # of which there is a list, maybe an empty one
        heapify(self._levels)

    def pop(self, count: int, avoided: Collection[str]) -> list[_Slots]:
        """Out come those that have most left, at most `count`, and none of the providers `avoided`."""
        found: list[_Slots] = []
        aside: list[_Slots] = []
        levels, by_left = self._levels, self._by_left
        while levels and len(found) < count:
            left = -levels[0]
            level = by_left[left]
            while level and len(found) < count:
                slots = level.pop()
                if slots.left != left:
                    self.push(slots)
                elif avoided and slots.provider in avoided:
                    aside.append(slots)
                else:
                    found.append(slots)
            if not level:
                del by_left[left]
                heappop(levels)
        for slots in aside:
            self.push(slots)
        return found

    def push(self, slots: _Slots) -> None:
        """Back it goes, unless it has nothing left."""
        left = slots.left
        if left:
            level = self._by_left.get(left)
            if level is None:
                self._by_left[left] = [slots]
                heappush(self._levels, -left)
            else:
                level.append(slots)


class _Stock:
    """The slots that can still be taken, and for each list of providers who of them has most left."""

    def __init__(self) -> None:
        self._open: dict[str, _Slots] = {}
        self._reserved: dict[str, dict[str, _Slots]] = {}
        self._admitted: dict[frozenset[str] | None, _MostFirst] = {}

    def put(self, sell: Sell, count: int) -> None:
        """So many more slots of an ask; asks come by price, before anything is taken."""
        kind = self._open if sell.customer is None else self._reserved.setdefault(sell.customer, {})
        provider = kind.get(sell.provider)
        if provider is None:
            kind[sell.provider] = _Slots(sell.provider, sell.id, count)
        else:
            provider.add(sell.id, count)

    def add(self, slots: Iterable[tuple[Sell, int]]) -> None:
        """More slots, by price, after some were taken."""
        for sell, count in slots:
            self.put(sell, count)
        self._admitted.clear()

    def take(self, buy: Buy) -> tuple[bytes, ...] | None:
        """The asks of distinct providers: first those that serve only this customer, then those that have
        most left. None, and nothing taken, when they are too few."""
        admitted = self._admitted.get(buy.providers)
        if admitted is None:
            admitted = self._admitted[buy.providers] = self._most_first(buy.providers)
        customer = buy.customer
        avoided: Collection[str] = (customer,) if customer in self._open else ()
        own: list[_Slots] = []
        if customer in self._reserved:
            own = self._reserved_for(buy)
            avoided = (*avoided, *(slots.provider for slots in own))
        others = admitted.pop(buy.replicas - len(own), avoided)
        legs = own + others if own else others
        taken = tuple([slots.one() for slots in legs]) if len(legs) == buy.replicas else None
        for slots in others:
            admitted.push(slots)
        return taken

    def _reserved_for(self, buy: Buy) -> list[_Slots]:
        """Of the providers that serve only this customer, as many as the lot needs."""
        fitting = [
            slots
            for provider, slots in self._reserved[buy.customer].items()
            if slots.left
            and provider != buy.customer
            and (buy.providers is None or provider in buy.providers)
        ]
        return fitting[: buy.replicas]

    def _most_first(self, providers: frozenset[str] | None) -> _MostFirst:
        known = self._open
        if providers is None:
            return _MostFirst(known.values())
        return _MostFirst(known[each] for each in sorted(providers) if each in known)
