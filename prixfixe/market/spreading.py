"""Which lots get which slots, once the price is known: second half of `auction`, which tells the rules."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush

from prixfixe.market.book import Buy, Sell


class Spreading:
    """Gives lots their legs, at a price that all of them accept. bids: highest limit first. asks: lowest
    price first. Both by id among equals."""

    def __init__(self, bids: list[Buy], asks: list[Sell], seed: bytes) -> None:
        self._bids = bids
        self._tie = _Tie(seed)
        self._asks = asks
        self._filled: dict[bytes, list[tuple[bytes, ...]]] = {}
        self._line: list[Buy] = []

    def short(self) -> list[bytes]:
        """The bids marked `whole` that are not, in the order in which they were served."""
        line = dict.fromkeys(buy.id for buy in self._line if buy.whole)
        lots = {buy.id: buy.lots for buy in self._bids if buy.whole}
        return [each for each in line if len(self._filled.get(each, ())) < lots[each]]

    def fills(self) -> dict[bytes, list[tuple[bytes, ...]]]:
        """For each bid the asks of each of its lots that found enough providers."""
        queue = self._line = self._queue()
        chosen, rest = self._chosen(sum([buy.replicas for buy in queue]), len(queue))
        stock = _Stock(chosen)
        waiting = self._serve(queue, stock)
        if waiting and rest:
            stock.add(rest)
            self._serve(waiting, stock)
        return self._filled

    def _queue(self) -> list[Buy]:
        """The bid of every lot that is asked for: highest limit first, then by hash."""
        bids = self._bids
        queue: list[Buy] = []
        start = 0
        while start < len(bids):
            limit = bids[start].limit
            end = start + 1
            while end < len(bids) and bids[end].limit == limit:
                end += 1
            if end - start == 1:
                queue += bids[start:end] * bids[start].lots
            else:
                by_id = {buy.id: buy for buy in bids[start:end]}
                units = ((buy.id, buy.lots, buy.whole) for buy in by_id.values())
                queue += [by_id[each] for each in self._tie.order(units)]
            start = end
        return queue

    def _chosen(self, legs: int, lots: int) -> tuple[list[tuple[Sell, int]], list[tuple[Sell, int]]]:
        """The cheapest slots that `legs` legs need, ties by hash, and those that are left over."""
        asks = self._asks
        chosen: list[tuple[Sell, int]] = []
        rest: list[tuple[Sell, int]] = []
        of_provider: dict[str, int] = {}
        start = 0
        while legs > 0 and start < len(asks):
            price = asks[start].price
            end = start + 1
            while end < len(asks) and asks[end].price == price:
                end += 1
            if end - start > 1 and sum(min(sell.slots, lots) for sell in asks[start:end]) > legs:
                counts = self._shared(asks[start:end], legs, lots, of_provider)
            else:
                counts = []
                for sell in asks[start:end]:
                    used = of_provider.get(sell.provider, 0)
                    count = min(sell.slots, lots - used)
                    of_provider[sell.provider] = used + count
                    counts.append(count)
            for sell, count in zip(asks[start:end], counts, strict=True):
                legs -= count
                if count:
                    chosen.append((sell, count))
                if count < sell.slots:
                    rest.append((sell, sell.slots - count))
            start = end
        rest += [(sell, sell.slots) for sell in asks[start:]]
        return chosen, rest

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

    def _serve(self, queue: Sequence[Buy], stock: _Stock) -> list[Buy]:
        """Gives legs to lots in their order; the lots that found too few providers."""
        waiting = []
        filled = self._filled
        for buy in queue:
            legs = stock.take(buy)
            if legs is None:
                waiting.append(buy)
            elif buy.id in filled:
                filled[buy.id].append(legs)
            else:
                filled[buy.id] = [legs]
        return waiting


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

    __slots__ = ("_asks", "_at", "_used", "left", "provider")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.left = 0
        self._asks: list[tuple[bytes, int]] = []  # id and slots
        self._at = 0  # the first ask that is not used up
        self._used = 0  # how many of its slots are gone

    def add(self, ask: bytes, slots: int) -> None:
        self._asks.append((ask, slots))
        self.left += slots

    def one(self) -> bytes:
        """Takes a slot."""
        self.left -= 1
        ask, slots = self._asks[self._at]
        self._used += 1
        if self._used == slots:
            self._used = 0
            self._at += 1
        return ask


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
                elif slots.provider in avoided:
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

    def __init__(self, slots: Iterable[tuple[Sell, int]]) -> None:
        self._open: dict[str, _Slots] = {}
        self._reserved: dict[str, dict[str, _Slots]] = {}
        self._admitted: dict[frozenset[str] | None, _MostFirst] = {}
        self.add(slots)

    def add(self, slots: Iterable[tuple[Sell, int]]) -> None:
        """More slots, by price."""
        for sell, count in slots:
            kind = self._open if sell.customer is None else self._reserved.setdefault(sell.customer, {})
            provider = kind.get(sell.provider)
            if provider is None:
                provider = kind[sell.provider] = _Slots(sell.provider)
            provider.add(sell.id, count)
        self._admitted.clear()

    def take(self, buy: Buy) -> tuple[bytes, ...] | None:
        """The asks of distinct providers: first those that serve only this customer, then those that have
        most left. None, and nothing taken, when they are too few."""
        admitted = self._admitted.get(buy.providers)
        if admitted is None:
            admitted = self._admitted[buy.providers] = self._most_first(buy.providers)
        if buy.customer in self._reserved:
            own = self._reserved_for(buy)
            avoided = [buy.customer, *(slots.provider for slots in own)]
        else:
            own, avoided = [], [buy.customer]
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
