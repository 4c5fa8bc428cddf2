"""Prices and asks: the same for the same machine, never above what it has, renewed in time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS, KIND_BOTH, KIND_BUNDLES
from prixfixe.protocol.product import Product
from tests.worker.orders import DOMAIN, PROVIDER
from worker.quoting import Standing, due_asks, make_ask, price, slot_fits
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings(
    service="http://127.0.0.1:1",
    rpc="http://127.0.0.1:2",
    provider=PROVIDER.address,
    key="dev:10",
    data=Path("nowhere"),
    memory_mib=8192,
    milli_vcpu=1000,
    rate=Decimal("0.06"),
    minimum=Money(100),
)
ONE = Product(milli_vcpu=1000, memory_mib=1024, disk_mib=100, max_seconds=3600)
STANDING = Standing(DOMAIN.verifying_contract, era=3, now=1_000_000, key="0x" + "0" * 38 + "64")  # 100


def test_an_hour_of_one_processor_costs_the_rate() -> None:
    assert price(SETTINGS, ONE) == Money.parse("0.06")


def test_memory_counts_when_it_is_more_than_the_processors_share() -> None:
    assert price(SETTINGS, replace(ONE, memory_mib=8192)) == Money.parse("0.12")


def test_a_short_task_costs_the_minimum() -> None:
    assert price(SETTINGS, replace(ONE, max_seconds=1)) == Money(100)


def test_a_price_is_rounded_up() -> None:
    settings = replace(SETTINGS, rate=Decimal("0.0000001"), minimum=Money(0))
    assert price(settings, ONE) == Money(1)


@given(st.integers(1, 4000), st.integers(1, 16384), st.integers(1, 86400))
def test_more_of_anything_never_costs_less(milli_vcpu: int, memory_mib: int, seconds: int) -> None:
    product = Product(milli_vcpu=milli_vcpu, memory_mib=memory_mib, disk_mib=1, max_seconds=seconds)
    for field in ("milli_vcpu", "memory_mib", "max_seconds"):
        more = replace(product, **{field: getattr(product, field) + 1})
        assert price(SETTINGS, more) >= price(SETTINGS, product)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"milli_vcpu": 1001}, "processor"),
        ({"memory_mib": 8193}, "memory"),
        ({"disk_mib": 4097}, "disk"),
        ({"gpu_count": 1, "gpu_model": "a100"}, "GPU"),
    ],
)
def test_what_a_slot_does_not_have_is_not_quoted_and_it_says_why(
    change: dict[str, object], what: str
) -> None:
    product = replace(ONE, **change)  # type: ignore[arg-type]
    assert what in str(slot_fits(SETTINGS, product))
    assert due_asks(SETTINGS, [product], STANDING, {}) == []


def test_slots_share_the_machine_evenly() -> None:
    assert slot_fits(replace(SETTINGS, slots=2), replace(ONE, milli_vcpu=500)) is None
    assert slot_fits(replace(SETTINGS, slots=2), ONE) is not None


def test_an_ask_goes_through_the_markets_scheduler_under_the_present_era() -> None:
    ask = make_ask(SETTINGS, ONE, STANDING)
    assert (ask.kinds, ask.matcher, ask.era) == (KIND_BOTH, DOMAIN.verifying_contract, 3)
    assert make_ask(replace(SETTINGS, sells="bundles"), ONE, STANDING).kinds == KIND_BUNDLES
    assert make_ask(replace(SETTINGS, sells="bids"), ONE, STANDING).kinds == KIND_BIDS
    assert (ask.provider, ask.expiry, ask.slots) == (PROVIDER.address, 1_000_300, 1)


def test_two_workers_of_a_provider_do_not_sign_the_same_ask_in_one_second() -> None:
    other = make_ask(SETTINGS, ONE, replace(STANDING, key="0x" + "0" * 38 + "65"))
    assert other != make_ask(SETTINGS, ONE, STANDING)
    shortest = make_ask(SETTINGS, ONE, replace(STANDING, key="0x" + "0" * 38 + "63"))
    assert shortest.expiry == 1_000_000 + 300 - 99


class TestRenewal:
    RESTING = make_ask(SETTINGS, ONE, STANDING)

    def due(self, now: int = 1_000_000, era: int = 3, settings: WorkerSettings = SETTINGS) -> int:
        standing = replace(STANDING, era=era, now=now)
        return len(due_asks(settings, [ONE], standing, {self.RESTING.product: self.RESTING}))

    def test_a_fresh_ask_rests(self) -> None:
        assert self.due() == 0
        assert self.due(now=1_000_100) == 0

    def test_one_past_half_of_its_life_is_renewed(self) -> None:
        assert self.due(now=1_000_151) == 1

    def test_one_of_another_era_or_price_is_replaced(self) -> None:
        assert self.due(era=4) == 1
        assert self.due(settings=replace(SETTINGS, rate=Decimal("0.07"))) == 1

    def test_a_chain_that_went_back_gets_a_new_ask(self) -> None:
        assert self.due(now=900_000) == 1
