"""With how much a newcomer takes part in a batch, and what its cap keeps from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prixfixe.market.entering import Entered, Purse, RestingAsk, RestingBid, enter
from prixfixe.market.rules import CAPPED, Conditions, Offered
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Ask, Bid
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain

PRODUCT = Product.parse("cpu-2x4/10m").to_bytes()
CUSTOMER, NEW, PROVEN = ("0x" + str(number) * 40 for number in (1, 2, 3))
CONTRACT, MATCHER, NOW = "0x" + "7" * 40, "0x" + "8" * 40, 5_000
DOMAIN = Domain(31337, CONTRACT)
CONDITIONS = Conditions(NOW, CONTRACT, MATCHER, 10, 50, 3.0, newcomer_cap=100)
PURSES = {CUSTOMER: Purse(10**9, 0)}


def ask(provider: str, price: int, under_way: int | None, slots: int = 50, number: int = 0) -> RestingAsk:
    signed = Ask(provider, PRODUCT, price, slots, 3, ZERO_ADDRESS, CONTRACT, NOW + 600 + number, 0)
    offered = Offered(
        worker=provider[:-2] + f"{number:02d}",
        ask=signed,
        silent_seconds=0.0,
        draining=False,
        cooling=False,
        free_slots=slots,
        provider_free=50,
        provider_era=0,
        newcomer_open=under_way,
    )
    return RestingAsk(offered, bytes(65))


def bid(lot: int, nonce: int = 1) -> RestingBid:
    signed = Bid(CUSTOMER, PRODUCT, 50, lot, lot, 1, bytes(32), CONTRACT, NOW + 10**6, NOW + 10**6, 0, nonce)
    return RestingBid(signed, bytes(65), (0,))


def entered(asks: list[RestingAsk], sizes: tuple[int, ...] = (1,), last_price: int = 0) -> Entered:
    bids = [bid(size, number) for number, size in enumerate(sizes)]
    return enter(bids, asks, PURSES, CONDITIONS, DOMAIN, last_price)


@pytest.mark.parametrize(
    ("price", "under_way", "last_price", "lots"),
    [
        (10, 0, 0, 10),
        (10, 75, 0, 2),
        (10, None, 0, 50),  # it has a record
        (1, 0, 20, 5),  # who asks little is paid as the others were
        (0, 0, 0, 50),  # nothing was ever paid
    ],
)
def test_a_newcomer_takes_part_with_what_its_cap_leaves(
    price: int, under_way: int | None, last_price: int, lots: int
) -> None:
    found = entered([ask(NEW, price, under_way)], last_price=last_price)
    assert [each.slots for each in found.asks] == [lots]
    assert found.set_aside == ()


@pytest.mark.parametrize(("price", "under_way", "last_price"), [(10, 95, 0), (1, 90, 20), (101, 0, 0)])
def test_one_with_enough_under_way_is_set_aside_with_that_reason(
    price: int, under_way: int, last_price: int
) -> None:
    newcomer, proven = ask(NEW, price, under_way), ask(PROVEN, 10, None)
    found = entered([newcomer, proven], last_price=last_price)
    assert [each.ask.provider for each in found.asks] == [PROVEN]
    assert [(each.order, each.reason) for each in found.set_aside] == [
        (newcomer.offered.ask.digest(DOMAIN), CAPPED)
    ]


def test_workers_of_one_newcomer_share_its_cap() -> None:
    found = entered([ask(NEW, 10, 0, slots=6, number=number) for number in range(3)])
    assert [each.slots for each in found.asks] == [6, 4]
    assert [each.reason for each in found.set_aside] == [CAPPED]


def test_a_lot_that_is_too_much_for_a_newcomer_admits_only_the_others() -> None:
    newcomer, proven = ask(NEW, 10, 0), ask(PROVEN, 20, None)
    found = entered([newcomer, proven], sizes=(3, 11))
    assert [each.providers for each in found.bids] == [None, (PROVEN,)]
    assert [each.slots for each in found.asks] == [3, 4], "three lots of three; four of eleven"
    alone = entered([newcomer], sizes=(11,))
    assert [each.providers for each in alone.bids] == [()]
    assert [each.reason for each in alone.set_aside] == [CAPPED]


def test_without_a_cap_newcomers_are_as_all_others() -> None:
    free = replace(CONDITIONS, newcomer_cap=None)
    found = enter([bid(1)], [ask(NEW, 10, 10**6)], PURSES, free, DOMAIN, 10)
    assert [each.slots for each in found.asks] == [50]
