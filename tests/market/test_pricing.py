"""A price: the sum of its terms, tested on what was paid, frozen when the market says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.index import BPS, Trade
from prixfixe.market.pricing import (
    DAY_SECONDS,
    DEFAULT_FAILURE_BPS,
    DEFAULT_VERIFICATION_BPS,
    DEFAULT_VOLATILITY_BPS,
    Signs,
    Term,
    back_test,
    failure,
    spread_bps,
    stops,
    suggest,
    verification,
    volatility,
)

MARGINS = (Term("volatility", 1000, ""), Term("failure", 300, ""), Term("verification", 500, ""))
ASK, GAS = Term("ask", 1000, ""), Term("gas", 7, "")


def trade(price: int, tasks: int = 1, day: int = 0) -> Trade:
    return Trade(day * DAY_SECONDS + 5, price, tasks, "p", "c")


def test_a_price_is_asks_times_replicas_times_margins_plus_gas() -> None:
    made = suggest(3, ASK, MARGINS, GAS)
    assert made.price == 3 * 1000 * (10_000 + 1800) // 10_000 + 7
    assert made.max_cost == 3 * 1100
    assert [term.name for term in made.terms] == ["ask", "volatility", "failure", "verification", "gas"]


def test_what_does_not_divide_is_rounded_up() -> None:
    assert suggest(1, replace(ASK, value=1), MARGINS, GAS).price == 2 + 7


@given(st.integers(1, 10**9), st.integers(1, 16), st.integers(0, 20_000))
def test_a_suggested_price_is_never_below_what_the_asks_cost(ask: int, replicas: int, margin: int) -> None:
    made = suggest(replicas, replace(ASK, value=ask), (Term("failure", margin, ""),), GAS)
    assert made.price >= ask * replicas + GAS.value
    assert made.max_cost >= ask * replicas


def test_each_margin_says_whether_it_was_measured() -> None:
    assert volatility(100, 130, 40, "live") == Term("volatility", 3000, "P90 above P50 of the live index", 40)
    assert volatility(100, 130, 3, "fallback").value == DEFAULT_VOLATILITY_BPS
    assert failure(2, 98) == Term("failure", 205, "deals that failed in 30 days", 100)
    assert (failure(1, 3).value, failure(1, 3).samples) == (DEFAULT_FAILURE_BPS, 0)
    assert verification(1, None).value == DEFAULT_VERIFICATION_BPS
    assert verification(3, None).value == 0
    assert verification(3, 250) == Term("verification", 250, "chosen")


def test_a_back_test_buys_every_recorded_task_again() -> None:
    recorded = [trade(80, tasks=6), trade(110, tasks=2, day=1), trade(90, day=1), trade(500, tasks=1, day=2)]
    test = back_test(recorded, price=100, max_cost=120, gas=1)
    assert (test.tasks, test.losses, test.unfilled) == (10, 2, 1)
    assert test.loss_bps == 2000
    assert test.margin == 6 * 19 + 2 * -11 + 9
    assert test.worst is not None
    assert (test.worst.start, test.worst.margin, test.worst.tasks) == (DAY_SECONDS, -22 + 9, 3)
    assert back_test(recorded, price=200, max_cost=240, replicas=2).losses == 2
    nothing = back_test([], price=1, max_cost=1)
    assert (nothing.tasks, nothing.loss_bps, nothing.worst) == (0, 0, None)


CALM = Signs("live", 4000, 2500, 10)


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        (CALM, None),
        (replace(CALM, status="stale"), "stale"),
        (replace(CALM, spread=5000), "doubled"),
        (replace(CALM, spread=4999), None),
        (replace(CALM, spread_before=None), None),
        (replace(CALM, margin=-1), "cost more than they brought"),
        (replace(CALM, margin=0), None),
        # A market too young for an index has nothing that could have changed.
        (Signs("fallback", None, None, None), None),
    ],
)
def test_new_versions_are_frozen_when_the_market_says_so(signs: Signs, why: str | None) -> None:
    found = stops(signs)
    assert len(found) == (why is not None)
    assert why is None or why in found[0]


def test_a_spread_is_of_the_middle_four_fifths() -> None:
    assert spread_bps(80, 100, 140, "live") == 6000
    assert spread_bps(80, 100, 140, "fallback") is None
    assert spread_bps(None, None, None, "live") is None
    assert BPS == 10_000
