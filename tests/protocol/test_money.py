"""Money is exact, never negative, and never mistaken for a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.money import MAX_UINT64, MAX_UINT96, Money

amounts = st.integers(0, MAX_UINT96).map(Money)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("12.34", 12_340_000),
        ("$12.34", 12_340_000),
        ("0", 0),
        ("0.000001", 1),
        ("1,234,567.5", 1_234_567_500_000),
        (" 3 ", 3_000_000),
    ],
)
def test_text_is_read_to_the_last_unit(text: str, units: int) -> None:
    assert Money.parse(text) == Money(units)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$",
        "1.2345678",
        "-1",
        "1e3",
        "1.",
        ".5",
        "1,23",
        "01",
        "NaN",
        "٣",
        "1 2",
        "79228162514264337593543.950337",
    ],
)
def test_text_that_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Money.parse(text)
    assert refused.value.code == "bad-money"


@pytest.mark.parametrize("value", [1.5, True, "1", None, -1, MAX_UINT96 + 1])
def test_only_whole_units_in_range_are_money(value: object) -> None:
    with pytest.raises(InvalidInput):
        Money(value)  # type: ignore[arg-type]


@given(amounts)
def test_what_is_shown_reads_back(amount: Money) -> None:
    assert Money.parse(str(amount)) == amount
    assert Money.parse(amount.plain) == amount


@pytest.mark.parametrize(
    ("units", "shown"),
    [(0, "$0.00"), (10_000, "$0.01"), (1, "$0.000001"), (1_234_500_000, "$1,234.50"), (2_500, "$0.0025")],
)
def test_shown_with_two_decimals_or_as_many_as_it_has(units: int, shown: str) -> None:
    assert str(Money(units)) == shown


@given(amounts, st.integers(0, 2**32))
def test_arithmetic_is_that_of_the_units(amount: Money, count: int) -> None:
    if amount.units * count <= MAX_UINT96:
        assert (amount * count).units == amount.units * count == (count * amount).units
    assert amount - amount == Money(0)
    assert (amount // (count + 1)).units == amount.units // (count + 1)
    assert sum([amount], start=Money(0)) == amount


def test_a_difference_below_zero_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\$1\.00 is less than \$2\.00"):
        Money.parse("1") - Money.parse("2")


def test_money_mixes_with_no_bare_number_and_no_float() -> None:
    one = Money.parse("1")
    for wrong in (lambda: one + 1, lambda: one * 1.5, lambda: one * one, lambda: one / 2, lambda: one < 1):
        with pytest.raises(TypeError):
            wrong()  # type: ignore[no-untyped-call]
    assert one != 1_000_000


def test_an_account_holds_no_more_than_64_bits() -> None:
    assert Money(MAX_UINT64).require_uint64() == MAX_UINT64
    with pytest.raises(InvalidInput, match="the deposit"):
        Money(MAX_UINT64 + 1).require_uint64("the deposit")
