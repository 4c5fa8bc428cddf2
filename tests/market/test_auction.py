"""The call auction: what no batch may ever do, against random books and against a slow search of all
prices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.market.auction import Cleared, Collar, clear, leg_limit
from prixfixe.market.book import Buy, Sell

SEED = b"block hash"
CUSTOMERS = tuple(f"customer {number}" for number in range(4))
PROVIDERS = tuple(f"provider {number}" for number in range(5)) + CUSTOMERS[:1]  # one is both


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def buys(*, plain: bool) -> st.SearchStrategy[list[Buy]]:
    """plain: no conditions of their own, one replica."""
    each = st.builds(
        Buy,
        id=st.just(b""),
        customer=st.sampled_from(CUSTOMERS),
        limit=st.integers(0, 12),
        lots=st.integers(1, 4),
        replicas=st.just(1) if plain else st.integers(1, 3),
        whole=st.just(False) if plain else st.booleans(),
        providers=st.none() if plain else st.none() | st.frozensets(st.sampled_from(PROVIDERS)),
    )
    return st.lists(each, max_size=6).map(
        lambda all_: [replace(buy, id=number(position)) for position, buy in enumerate(all_)]
    )


def sells(*, plain: bool) -> st.SearchStrategy[list[Sell]]:
    each = st.builds(
        Sell,
        id=st.just(b""),
        provider=st.sampled_from(PROVIDERS[:5] if plain else PROVIDERS),
        price=st.integers(0, 12),
        slots=st.integers(1, 4),
        customer=st.none() if plain else st.none() | st.sampled_from(CUSTOMERS),
    )
    return st.lists(each, max_size=8).map(
        lambda all_: [replace(sell, id=number(1000 + position)) for position, sell in enumerate(all_)]
    )


collars = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda ends: Collar(min(ends), max(ends)))


@given(buys(plain=False), sells(plain=False), st.binary(max_size=4), collars)
def test_no_batch_breaks_a_promise(bids: list[Buy], asks: list[Sell], seed: bytes, collar: Collar) -> None:
    cleared = clear(bids, asks, seed, collar)
    by_id = {buy.id: buy for buy in bids}
    by_ask = {sell.id: sell for sell in asks}
    assert (cleared.price is None) == (cleared.fills == ())
    used: Counter[bytes] = Counter()
    lots: dict[bytes, list[int]] = {}
    for fill in cleared.fills:
        assert cleared.price is not None
        assert collar.low <= cleared.price <= collar.high
        buy, legs = by_id[fill.bid], [by_ask[each] for each in fill.asks]
        providers = {leg.provider for leg in legs}
        assert cleared.price <= buy.limit
        assert len(legs) == len(providers) == buy.replicas
        assert buy.customer not in providers
        assert buy.providers is None or providers <= buy.providers
        for leg in legs:
            assert leg.price <= cleared.price
            assert leg.customer in (None, buy.customer)
        used.update(fill.asks)
        lots.setdefault(fill.bid, []).append(fill.lot)
    assert all(count <= by_ask[each].slots for each, count in used.items())
    for bid, numbers in lots.items():
        assert numbers == list(range(len(numbers)))
        assert len(numbers) <= by_id[bid].lots
        assert not by_id[bid].whole or len(numbers) == by_id[bid].lots
    assert not set(cleared.excluded) & (set(used) | set(lots))


@given(buys(plain=False), sells(plain=False), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(bids: list[Buy], asks: list[Sell], random: object) -> None:
    before = clear(bids, asks, SEED)
    random.shuffle(bids)  # type: ignore[attr-defined]
    random.shuffle(asks)  # type: ignore[attr-defined]
    assert clear(bids, asks, SEED) == before


def traded(cleared: Cleared) -> int:
    return sum(len(fill.asks) for fill in cleared.fills)


def most_at(price: int, bids: list[Buy], asks: list[Sell]) -> int:
    """Legs that could trade at a price, each provider at most once a lot: plain orders only."""
    lots = sum(buy.lots for buy in bids)
    by_provider: Counter[str] = Counter()
    for sell in asks:
        if sell.price <= price:
            by_provider[sell.provider] += sell.slots
    supply = sum(min(slots, lots) for slots in by_provider.values())
    return min(supply, sum(buy.lots for buy in bids if buy.limit >= price))


@given(buys(plain=True), sells(plain=True))
def test_no_other_price_would_trade_more(bids: list[Buy], asks: list[Sell]) -> None:
    asks = [sell for sell in asks if sell.provider not in CUSTOMERS]
    cleared = clear(bids, asks, SEED)
    best = max((most_at(price, bids, asks) for price in range(13)), default=0)
    assert traded(cleared) == best


@given(buys(plain=True), sells(plain=True), sells(plain=True).filter(bool))
def test_another_ask_never_raises_the_price(bids: list[Buy], asks: list[Sell], more: list[Sell]) -> None:
    before = clear(bids, asks, SEED).price
    after = clear(bids, [*asks, replace(more[0], id=number(5000))], SEED).price
    assert before is None or after is None or after <= before


@given(st.integers(1, 6), st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 3))
def test_as_many_lots_are_served_as_any_spreading_can(lots: int, slots: list[int], replicas: int) -> None:
    bids = [Buy(number(0), "customer", 10, lots, replicas)]
    asks = [Sell(number(1 + each), f"p{each}", 5, count) for each, count in enumerate(slots)]
    served = len(clear(bids, asks, SEED).fills)
    possible = max(n for n in range(lots + 1) if sum(min(count, n) for count in slots) >= replicas * n)
    assert served == possible


@given(st.integers(0, 10**7), st.integers(1, 16), st.integers(0, 10_000))
def test_the_limit_of_a_leg_is_the_largest_that_the_bid_allows(price: int, replicas: int, fee: int) -> None:
    def total(leg: int) -> int:
        return leg * replicas + leg * replicas * fee // 10_000

    limit = leg_limit(price, replicas, fee)
    assert total(limit) <= price < total(limit + 1)


def test_the_price_is_the_middle_of_the_marginal_pair() -> None:
    bids = [Buy(number(0), "a", 10), Buy(number(1), "b", 8)]
    asks = [Sell(number(10), "p", 1), Sell(number(11), "q", 10)]
    assert clear(bids, asks, SEED).price == 9  # any price above 8 and up to 10 trades one: (8 + 10) / 2
    assert clear(bids, [*asks, Sell(number(12), "r", 8)], SEED).price == 8


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([], []), ([Buy(number(0), "a", 5)], []), ([Buy(number(0), "a", 5)], [Sell(number(1), "p", 6)])],
)
def test_where_nothing_crosses_there_is_no_price(bids: list[Buy], asks: list[Sell]) -> None:
    assert clear(bids, asks, SEED) == Cleared(None, (), {})


def test_the_margin_is_shared_by_slots_and_not_by_orders() -> None:
    # Eight slots for one asked lot each time: a provider with seven eighths of them is not favoured by
    # cutting its ask into seven, over many seeds.
    def wins(asks: list[Sell], name: str) -> int:
        bids = [Buy(number(0), "a", 5)]
        owner = {sell.id: sell.provider for sell in asks}
        seeds = (bytes([seed]) for seed in range(200))
        return sum(owner[clear(bids, asks, seed).fills[0].asks[0]] == name for seed in seeds)

    one = [Sell(number(1), "big", 5, 1), Sell(number(2), "small", 5, 1)]
    many = [Sell(number(10 + key), f"key {key}", 5, 1) for key in range(9)] + [one[1]]
    assert 70 <= wins(one, "small") <= 130
    assert wins(many, "small") <= 40  # a tenth of the slots, a tenth of the time: slots count, names do not


def test_a_whole_bid_that_cannot_be_filled_does_not_move_the_price() -> None:
    asks = [Sell(number(10), "p", 4, 2)]
    small = Buy(number(0), "a", 6, 1)
    wall = Buy(number(1), "b", 12, 50, whole=True)
    alone = clear([small], asks, SEED)
    assert clear([small, wall], asks, SEED) == replace(alone, excluded={wall.id: "could not be filled whole"})


def test_of_two_whole_bids_for_the_same_slots_one_is_filled() -> None:
    asks = [Sell(number(10), "p", 4, 3)]
    bids = [Buy(number(bid), f"c{bid}", 9, 3, whole=True) for bid in range(2)]
    assert len(clear(bids, asks, SEED).fills) == 3


def test_orders_that_admit_nobody_here_do_not_move_the_price() -> None:
    bids, asks = [Buy(number(0), "a", 10)], [Sell(number(10), "p", 6)]
    only_ghosts = Sell(number(11), "q", 0, 100, customer="not here")
    picky = Buy(number(1), "b", 99, 100, providers=frozenset({"not here"}))
    cleared = clear([*bids, picky], [*asks, only_ghosts], SEED)
    assert cleared.price == clear(bids, asks, SEED).price
    assert cleared.excluded == {
        only_ghosts.id: "admits no customer that is here",
        picky.id: "admits no provider that is here",
    }


@settings(max_examples=30)
@given(buys(plain=True), sells(plain=True), st.integers(1, 12))
def test_one_hundred_keys_gain_a_provider_nothing_where_one_replica_is_asked(
    bids: list[Buy], asks: list[Sell], price: int
) -> None:
    """A provider's slots under one key, or each under a key of its own: the same price."""
    lots = sum(buy.lots for buy in bids)
    if lots == 0:
        return
    one = [Sell(number(9000), "mine", price, min(3, lots))]
    many = [Sell(number(9000 + key), f"mine {key}", price, 1) for key in range(min(3, lots))]
    assert clear(bids, asks + one, SEED).price == clear(bids, asks + many, SEED).price
