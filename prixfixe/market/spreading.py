"""Which lots get which slots, once the price is known: second half of `auction`, which tells the rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

from prixfixe.market.book import Buy, Sell


class Spreading:
    """Gives lots their legs, at a price that all of them accept."""

    def __init__(self, bids: list[Buy], asks: list[Sell], seed: bytes) -> None:
        self._bids = {buy.id: buy for buy in bids}
        self._tie = _Tie(seed)
        self._asks = asks
        self._filled: dict[bytes, list[tuple[bytes, ...]]] = {}
        self._line: list[bytes] = []

    def short(self) -> list[bytes]:
        """The bids marked `whole` that are not, in the order in which they were served."""
        bids = (self._bids[each] for each in dict.fromkeys(self._line))
        return [buy.id for buy in bids if buy.whole and len(self._filled.get(buy.id, ())) < buy.lots]

    def fills(self) -> dict[bytes, list[tuple[bytes, ...]]]:
        """For each bid the asks of each of its lots that found enough providers."""
        queue = self._line = self._queue()
        legs = sum(self._bids[bid].replicas for bid in queue)
        chosen, rest = self._chosen(legs, len(queue))
        stock = _Stock(chosen)
        waiting = self._serve(queue, stock)
        if waiting and rest:
            stock.add(rest)
            self._serve(waiting, stock)
        return self._filled

    def _queue(self) -> list[bytes]:
        """Every lot that is asked for, by its bid's id: highest limit first, then by hash."""
        levels: dict[int, list[Buy]] = {}
        for buy in self._bids.values():
            levels.setdefault(buy.limit, []).append(buy)
        queue: list[bytes] = []
        for limit in sorted(levels, reverse=True):
            level = levels[limit]
            if len(level) == 1:
                queue += [level[0].id] * level[0].lots
            else:
                queue += self._tie.order((buy.id, buy.lots, buy.whole) for buy in level)
        return queue

    def _chosen(self, legs: int, lots: int) -> tuple[list[tuple[Sell, int]], list[tuple[Sell, int]]]:
        """The cheapest slots that `legs` legs need, ties by hash, and those that are left over."""
        levels: dict[int, list[Sell]] = {}
        for sell in self._asks:
            levels.setdefault(sell.price, []).append(sell)
        chosen: list[tuple[Sell, int]] = []
        rest: list[tuple[Sell, int]] = []
        of_provider: dict[str, int] = {}
        for price in sorted(levels):
            level = levels[price]
            slots_here = sum(min(sell.slots, lots) for sell in level)
            if legs <= 0:
                rest += [(sell, sell.slots) for sell in level]
                continue
            if len(level) > 1 and slots_here > legs:
                counts: dict[bytes, int] = {}
                by_id = {sell.id: sell for sell in level}
                for each in self._tie.order((sell.id, min(sell.slots, lots), False) for sell in level):
                    provider = by_id[each].provider
                    if legs > 0 and of_provider.get(provider, 0) < lots:
                        of_provider[provider] = of_provider.get(provider, 0) + 1
                        counts[each] = counts.get(each, 0) + 1
                        legs -= 1
                taken = [(sell, counts.get(sell.id, 0)) for sell in level]
            else:
                taken = []
                for sell in level:
                    used = of_provider.get(sell.provider, 0)
                    count = min(sell.slots, lots - used, legs)
                    of_provider[sell.provider] = used + count
                    legs -= count
                    taken.append((sell, count))
            for sell, count in taken:
                if count:
                    chosen.append((sell, count))
                if count < sell.slots:
                    rest.append((sell, sell.slots - count))
        return chosen, rest

    def _serve(self, queue: Sequence[bytes], stock: _Stock) -> list[bytes]:
        """Gives legs to lots in their order; the lots that found too few providers."""
        waiting = []
        for bid in queue:
            legs = stock.take(self._bids[bid])
            if legs is None:
                waiting.append(bid)
            else:
                self._filled.setdefault(bid, []).append(legs)
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

    __slots__ = ("_asks", "_next", "left", "provider", "rank")

    def __init__(self, provider: str, rank: int) -> None:
        self.provider = provider
        self.rank = rank
        self.left = 0
        self._asks: list[tuple[bytes, int]] = []  # id and slots
        self._next = 0  # how many slots of the first ask are gone

    def add(self, ask: bytes, slots: int) -> None:
        self._asks.append((ask, slots))
        self.left += slots

    def one(self) -> bytes:
        """Takes a slot."""
        self.left -= 1
        ask, slots = self._asks[0]
        self._next += 1
        if self._next == slots:
            self._next = 0
            del self._asks[0]
        return ask


_Heap: TypeAlias = list[tuple[int, int, _Slots]]


class _Stock:
    """The slots that can still be taken, and for each kind of bid its providers by how many they have left.

    A heap's entry may be out of date, but only by saying too much: slots are only taken. So the entry on top
    is looked at again, and goes back with what is true when it was not.
    """

    def __init__(self, slots: Iterable[tuple[Sell, int]]) -> None:
        self._open: dict[str, _Slots] = {}
        self._reserved: dict[str, dict[str, _Slots]] = {}
        self._heaps: dict[frozenset[str] | None, _Heap] = {}
        self.add(slots)

    def add(self, slots: Iterable[tuple[Sell, int]]) -> None:
        """More slots, by price."""
        for sell, count in slots:
            kind = self._open if sell.customer is None else self._reserved.setdefault(sell.customer, {})
            provider = kind.get(sell.provider)
            if provider is None:
                provider = kind[sell.provider] = _Slots(sell.provider, len(kind))
            provider.add(sell.id, count)
        self._heaps.clear()

    def take(self, buy: Buy) -> tuple[bytes, ...] | None:
        """The asks of distinct providers: first those that serve only this customer, then those that have
        most left. None, and nothing taken, when they are too few."""
        customer, replicas = buy.customer, buy.replicas
        legs: list[_Slots] = []
        used: set[str] = {customer}
        for provider, slots in self._reserved.get(customer, {}).items():
            admitted = buy.providers is None or provider in buy.providers
            if slots.left and admitted and provider != customer and len(legs) < replicas:
                legs.append(slots)
                used.add(provider)
        heap = self._heap(buy.providers)
        seen: list[_Slots] = []
        while heap and len(legs) < replicas:
            minus_left, rank, slots = heap[0]
            left = slots.left
            if left == -minus_left:
                heappop(heap)
                seen.append(slots)
                if slots.provider not in used:
                    legs.append(slots)
            elif left:
                heapreplace(heap, (-left, rank, slots))
            else:
                heappop(heap)
        taken = tuple([slots.one() for slots in legs]) if len(legs) == replicas else None
        for slots in seen:
            if slots.left:
                heappush(heap, (-slots.left, slots.rank, slots))
        return taken

    def _heap(self, providers: frozenset[str] | None) -> _Heap:
        heap = self._heaps.get(providers)
        if heap is None:
            known = self._open
            all_ = (
                known.values() if providers is None else [known[each] for each in providers if each in known]
            )
            heap = [(-slots.left, slots.rank, slots) for slots in all_ if slots.left]
            heapify(heap)
            self._heaps[providers] = heap
        return heap
