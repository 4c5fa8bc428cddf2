"""The depth of one product's book: how much is wanted and offered at each price, kept up to date by order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from itertools import chain, islice, takewhile
from typing import Final, Literal, NamedTuple, TypeAlias

_BLOCK: Final = 512  # prices
_KEPT: Final = 1024  # levels whose last change is remembered beside twice those that there are
Side: TypeAlias = Literal["bid", "ask"]


class Resting(NamedTuple):
    """An order in the book. price: of one leg of one task, token units: what a bid's leg may cost, what an
    ask's leg must. volume: legs of a bid's free lots, free slots of an ask."""

    side: Side
    price: int
    volume: int


class Level(NamedTuple):
    """All that rests at one price of one side."""

    side: Side
    price: int
    volume: int
    orders: int


class Depth:
    """Levels by price. An order more or less costs the same in a large book as in a small one, and so does
    what changed since somebody last looked."""

    def __init__(self, orders: Mapping[bytes, Resting] | None = None) -> None:
        self._orders: dict[bytes, Resting] = {}
        self._levels: dict[tuple[Side, int], list[int]] = {}  # volume and orders
        self._prices: dict[Side, _Prices] = {"bid": _Prices(), "ask": _Prices()}
        self._changed: dict[tuple[Side, int], int] = {}  # each level's last change, the newest last
        self._number = 0  # of changes so far
        self._forgotten = 0  # up to this change nobody is told what changed
        for order, resting in (orders or {}).items():
            self.put(order, resting)

    def __len__(self) -> int:
        return len(self._orders)

    def put(self, order: bytes, resting: Resting) -> None:
        """An order rests, in this form from now on."""
        if self._orders.get(order) == resting:
            return
        self.drop(order)
        self._orders[order] = resting
        self._move(resting, resting.volume, 1)

    def drop(self, order: bytes) -> None:
        """An order rests no more; nothing happens when it did not."""
        was = self._orders.pop(order, None)
        if was is not None:
            self._move(was, -was.volume, -1)

    def since(self, number: int | None) -> tuple[int, list[Level] | None]:
        """The number of the last change, and the levels that changed after `number` in their present form,
        one that is gone with no volume. None instead of them: too long ago to say, or never looked."""
        if number is None or number < self._forgotten:
            return self._number, None
        keys = takewhile(lambda key: self._changed[key] > number, reversed(self._changed))
        return self._number, [self._level(side, price) for side, price in sorted(keys)]

    def all_levels(self) -> list[Level]:
        """Every level of both sides."""
        return [self._level(side, price) for side, price in sorted(self._levels)]

    def levels(self, side: Side, most: int) -> list[Level]:
        """The best prices first: the highest bids, the lowest asks."""
        prices = self._prices[side]
        best = prices.lowest() if side == "ask" else prices.highest()
        return [self._level(side, price) for price in islice(best, most)]

    def _level(self, side: Side, price: int) -> Level:
        volume, orders = self._levels.get((side, price), (0, 0))
        return Level(side, price, volume, orders)

    def _move(self, resting: Resting, volume: int, orders: int) -> None:
        key = (resting.side, resting.price)
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = [0, 0]
            self._prices[resting.side].add(resting.price)
        level[0] += volume
        level[1] += orders
        if level[1] == 0:
            del self._levels[key]
            self._prices[resting.side].remove(resting.price)
        self._number += 1
        self._changed.pop(key, None)
        self._changed[key] = self._number
        if len(self._changed) > _KEPT + 2 * len(self._levels):
            for gone in list(islice(self._changed, len(self._changed) // 2)):
                self._forgotten = self._changed.pop(gone)


class _Prices:
    """Different prices in order, in blocks: one list would be moved as a whole for each new one."""

    def __init__(self) -> None:
        self._blocks: list[list[int]] = []
        self._highest: list[int] = []  # of each block

    def add(self, price: int) -> None:
        if not self._blocks:
            self._blocks.append([price])
            self._highest.append(price)
            return
        at = min(bisect_left(self._highest, price), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, price)
        if len(block) > _BLOCK:
            half = len(block) // 2
            self._blocks.insert(at, block[:half])
            self._highest.insert(at, block[half - 1])
            del block[:half]
            at += 1
        self._highest[at] = block[-1]

    def remove(self, price: int) -> None:
        at = bisect_left(self._highest, price)
        block = self._blocks[at]
        del block[bisect_left(block, price)]
        if block:
            self._highest[at] = block[-1]
        else:
            del self._blocks[at], self._highest[at]

    def lowest(self) -> Iterator[int]:
        return chain.from_iterable(self._blocks)

    def highest(self) -> Iterator[int]:
        return (price for block in reversed(self._blocks) for price in reversed(block))
