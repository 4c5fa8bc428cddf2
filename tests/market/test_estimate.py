"""What a bid would cost: never less than the contract takes for those asks, and exact when there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prixfixe.market.auction import leg_limit
from prixfixe.market.estimate import MOST_TASKS_A_LOT, estimate, lot_size, with_fee
from prixfixe.market.rules import Offered
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import KIND_BOTH, Ask
from prixfixe.protocol.product import Product

PRODUCT = Product(1000, 1024).to_bytes()


def ask(price: int, provider: int, slots: int = 1) -> Offered:
    return Offered(
        worker=f"0x{provider:040x}",
        ask=Ask(
            provider=f"0x{provider:040x}",
            product=PRODUCT,
            price=price,
            slots=1,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=ZERO_ADDRESS,
            expiry=2**39,
            era=0,
        ),
        silent_seconds=0,
        draining=False,
        cooling=False,
        free_slots=slots,
        provider_free=10**9,
        provider_era=0,
    )


def test_each_lot_takes_the_best_asks_that_are_left() -> None:
    found = estimate([10, 10, 5], 1, [ask(300, 1), ask(100, 2), ask(200, 3)], 0)
    assert found is not None
    assert (found.price, found.total, found.at_once) == (300, 10 * 100 + 10 * 200 + 5 * 300, 3)


def test_what_finds_no_room_now_is_priced_like_the_last_that_did() -> None:
    found = estimate([1] * 5, 1, [ask(100, 1, slots=2)], 0)
    assert found is not None
    assert (found.price, found.total, found.at_once) == (100, 500, 2)


def test_replicas_are_of_distinct_providers_and_the_fee_is_on_all_of_them() -> None:
    found = estimate([1], 2, [ask(100, 1, slots=9), ask(250, 2)], 100)
    assert found is not None
    assert found.price == 350 + 3
    assert estimate([1], 3, [ask(100, 1, slots=9), ask(250, 2)], 100) is None


def test_busy_asks_still_tell_a_price() -> None:
    found = estimate([4], 1, [ask(100, 1, slots=0)], 0)
    assert found is not None
    assert (found.price, found.total, found.at_once) == (100, 400, 0)


@given(cost=st.integers(0, 2**60), fee=st.integers(0, 10_000))
def test_a_limit_of_a_cost_with_its_fee_admits_that_cost(cost: int, fee: int) -> None:
    """What was quoted as flat is matched at exactly that."""
    assert leg_limit(with_fee(cost, fee), 1, fee) >= cost


@given(tasks=st.integers(1, 65_536), slots=st.integers(0, 500), replicas=st.integers(1, 16))
def test_lots_are_shared_out_and_never_too_long(tasks: int, slots: int, replicas: int) -> None:
    size = lot_size(tasks, slots, replicas)
    assert 1 <= size <= min(tasks, MOST_TASKS_A_LOT)
