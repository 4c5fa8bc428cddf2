"""The price index: exact, deaf to resting orders, and hard to move for one who trades with himself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.index import BPS, IndexRules, Trade, price_index

NOW = 2_000_000_000
RULES = IndexRules()


def trade(price: int, provider: int, customer: int, tasks: int = 1, age: int = 0) -> Trade:
    return Trade(NOW - age, price, tasks, f"provider {provider}", f"customer {customer}")


HONEST = [trade(100 + 10 * each, each, each % 7, tasks=3) for each in range(10)]  # 100, 110 ... 190


def test_among_equal_weights_it_is_the_plain_median() -> None:
    index = price_index(HONEST, NOW)
    assert (index.status, index.p10, index.p50, index.p90) == ("live", 100, 140, 180)
    assert (index.trades, index.makers, index.newest) == (10, 10, NOW)


def test_a_trade_loses_half_its_weight_each_half_life() -> None:
    new = [trade(200, each, each) for each in range(5)]
    for halves, old_tasks, median in ((1, 1, 200), (1, 3, 100), (2, 3, 200), (2, 5, 100)):
        old = [trade(100, each, each, old_tasks, age=halves * RULES.half_life) for each in range(5, 10)]
        assert price_index(new + old, NOW).p50 == median, (halves, old_tasks)


def test_what_nobody_traded_lately_is_stale_and_then_forgotten() -> None:
    old = [replace(each, time=NOW - 2 * RULES.live_seconds) for each in HONEST]
    assert price_index(old, NOW).status == "stale"
    gone = price_index([replace(each, time=NOW - RULES.memory - 1) for each in HONEST], NOW, fallback=77)
    assert (gone.status, gone.p50, gone.trades) == ("fallback", 77, 0)
    assert price_index([], NOW).p50 is None


def test_too_few_makers_are_no_market() -> None:
    assert price_index(HONEST[:4] * 10, NOW, fallback=120).status == "fallback"
    own = [trade(100, each, 1) for each in range(20)]  # one customer alone
    assert price_index(own, NOW).status == "fallback"


@given(st.integers(1, 10**6), st.sampled_from([1, 10**9]))
def test_one_account_that_trades_with_itself_moves_the_median_by_no_more_than_the_cap(
    tasks: int, price: int
) -> None:
    honest = price_index(HONEST, NOW)
    attack = [trade(price, 99, 98, tasks) for _ in range(5)]
    index = price_index(HONEST + attack, NOW)
    # At most a fifth of the weight is the attacker's: the median stays between the honest 37.5th and 62.5th.
    assert honest.p50 is not None
    assert index.p50 is not None
    assert 130 <= index.p50 <= 160


def highest_median(honest: list[Trade], share: Fraction) -> int:
    """The most that the median can be when so much of the weight is an attacker's and all of it lies above:
    then half of all is this part of what is honest."""
    part = Fraction(1, 2) / (1 - share)
    prices = sorted(each.price for each in honest for _ in range(each.tasks))
    return prices[min(-(-part.numerator * len(prices) // part.denominator), len(prices)) - 1]


@given(st.integers(1, 10**6), st.integers(1, 100), st.booleans())
def test_a_hundred_names_that_buy_of_each_other_through_one_customer_are_bounded_by_the_cap(
    tasks: int, names: int, honest_crowd: bool
) -> None:
    """Providers cost a surety each and can be many; who pays them is one, and weighs a fifth at most."""
    honest = HONEST if honest_crowd else [replace(each, tasks=1) for each in HONEST]
    attack = [trade(10**9, 1000 + each, 98, tasks) for each in range(names)]
    index = price_index(honest + attack, NOW)
    assert index.p50 is not None
    # Caps round down: an attacker's true share is never above it, the honest lose less than a millionth.
    assert index.p50 <= highest_median(honest, Fraction(RULES.cap_bps, BPS) + Fraction(1, 10**6))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=100))
def test_wash_trades_of_one_provider_are_bounded_by_the_cap_however_they_are_cut(volumes: list[int]) -> None:
    attack = [trade(10**9, 99, 200 + at, tasks) for at, tasks in enumerate(volumes)]
    honest = [trade(100 + each, each, each, tasks=3) for each in range(40)]
    index = price_index(honest + attack, NOW)
    assert index.p50 is not None
    assert index.p50 <= highest_median(honest, Fraction(RULES.cap_bps, BPS) + Fraction(1, 10**6))


trades = st.lists(
    st.builds(
        trade,
        st.integers(0, 50),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(1, 100_000),
        st.integers(-100, 8 * 24 * 3600),
    ),
    max_size=30,
)


@given(trades, st.randoms(use_true_random=False))
def test_the_order_of_trades_changes_nothing(all_: list[Trade], random: object) -> None:
    before = price_index(all_, NOW)
    random.shuffle(all_)  # type: ignore[attr-defined]
    assert price_index(all_, NOW) == before


@given(trades)
def test_percentiles_are_prices_that_were_paid_in_their_order(all_: list[Trade]) -> None:
    index = price_index(all_, NOW)
    if index.p50 is not None:
        assert index.p10 is not None
        assert index.p90 is not None
        assert index.p10 <= index.p50 <= index.p90
        assert {index.p10, index.p50, index.p90} <= {each.price for each in all_}


@given(st.lists(st.integers(1, 10**6), min_size=5, max_size=12), st.integers(2_000, 5_000))
def test_no_maker_weighs_more_than_the_cap(volumes: list[int], cap: int) -> None:
    rules = replace(RULES, cap_bps=cap)
    all_ = [trade(each, each, each % 2, tasks) for each, tasks in enumerate(volumes)]
    # The weight of the dearest maker is what lies above every other price: found by asking where it begins.
    weights = _shares(all_, rules)
    assert max(weights) <= Fraction(cap, BPS) + Fraction(1, 10**6)
    uncapped = [Fraction(tasks, sum(volumes)) for tasks in volumes]
    if max(uncapped) <= Fraction(cap, BPS):
        assert all(
            abs(mine - plain) < Fraction(1, 10**6) for mine, plain in zip(weights, uncapped, strict=True)
        )


def _shares(all_: list[Trade], rules: IndexRules) -> list[Fraction]:
    from prixfixe.market.index import _capped, faded

    weights = [each.tasks * faded(0, rules.half_life) for each in all_]
    weights = _capped(all_, weights, rules, lambda each: each.provider)
    return [Fraction(weight, sum(weights)) for weight in weights]


def test_rules_that_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="cap cannot hold"):
        IndexRules(cap_bps=1_000, least_makers=5)
