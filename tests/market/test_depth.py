"""The depth of a book, against a plain count of what rests."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.depth import Depth, Level, Resting

orders = st.dictionaries(
    st.integers(0, 9).map(lambda number: bytes([number])),
    st.builds(Resting, st.sampled_from(["bid", "ask"]), st.integers(0, 5), st.integers(1, 9)),
)


def counted(resting: dict[bytes, Resting], side: str) -> list[Level]:
    volume: Counter[int] = Counter()
    number: Counter[int] = Counter()
    for each in resting.values():
        if each.side == side:
            volume[each.price] += each.volume
            number[each.price] += 1
    prices = sorted(volume, reverse=side == "bid")
    return [Level(side, price, volume[price], number[price]) for price in prices]  # type: ignore[arg-type]


@given(orders, orders, st.integers(1, 4))
def test_the_levels_are_what_rests_however_it_came_there(
    before: dict[bytes, Resting], after: dict[bytes, Resting], most: int
) -> None:
    depth = Depth(before)
    shown = {(level.side, level.price): level for side in ("bid", "ask") for level in counted(before, side)}
    number, _ = depth.since(None)
    for order in before.keys() - after.keys():
        depth.drop(order)
    for order, resting in after.items():
        depth.put(order, resting)
    newest, changed = depth.since(number)
    assert changed is not None
    assert depth.since(newest) == (newest, [])
    for level in changed:
        shown[level.side, level.price] = level
    for side in ("bid", "ask"):
        assert depth.levels(side, 99) == counted(after, side)
        assert depth.levels(side, most) == counted(after, side)[:most]
        # Whoever saw the book before and the changes since has the same picture.
        told = [level for level in shown.values() if level.side == side and level.volume]
        assert sorted(told) == sorted(counted(after, side))


def test_who_looked_too_long_ago_is_told_so() -> None:
    depth = Depth()
    first, nothing = depth.since(None)
    assert nothing is None
    for price in range(5000):
        depth.put(b"only", Resting("ask", price, 1))
    assert depth.since(first)[1] is None
    assert depth.all_levels() == [Level("ask", 4999, 1, 1)]


def test_an_order_that_is_replaced_counts_once_and_one_that_leaves_takes_its_level_along() -> None:
    depth = Depth()
    depth.put(b"a", Resting("ask", 5, 3))
    depth.put(b"a", Resting("ask", 5, 1))
    depth.put(b"b", Resting("ask", 7, 2))
    assert depth.levels("ask", 9) == [Level("ask", 5, 1, 1), Level("ask", 7, 2, 1)]
    depth.drop(b"a")
    depth.drop(b"a")
    assert depth.levels("ask", 9) == [Level("ask", 7, 2, 1)]
    assert len(depth) == 1


def test_many_prices_stay_in_order_when_they_come_and_go() -> None:
    depth = Depth()
    prices = [(number * 7919) % 5003 for number in range(5000)]
    for number, price in enumerate(prices):
        depth.put(number.to_bytes(2, "big"), Resting("bid", price, 1))
    assert [level.price for level in depth.levels("bid", 6000)] == sorted(prices, reverse=True)
    for number in range(0, 5000, 2):
        depth.drop(number.to_bytes(2, "big"))
    assert [level.price for level in depth.levels("bid", 6000)] == sorted(prices[1::2], reverse=True)
    assert [level.price for level in depth.levels("bid", 3)] == sorted(prices[1::2], reverse=True)[:3]
