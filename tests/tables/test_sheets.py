"""Cells of a workbook become the texts that a CSV would hold, with the digits that a spreadsheet shows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prixfixe.tables.sheets import float_text


@given(st.floats(-1e15, 1e15, exclude_min=True, exclude_max=True))
@example(0.1 + 0.2)
@example(1e-7)
@example(-0.00001234)
@example(123456789012345.6)
def test_a_number_has_its_fifteen_digits_and_no_exponent(number: float) -> None:
    text = float_text(number)
    assert set(text) <= set("-.0123456789")
    assert Decimal(text) == Decimal(format(number, ".15g"))
    assert not text.endswith((".", ".0"))


@pytest.mark.parametrize(
    ("number", "text"),
    [(17.0, "17"), (-0.5, "-0.5"), (0.1 + 0.2, "0.3"), (1e-7, "0.0000001"), (999999999999999.0, "9" * 15)],
)
def test_a_number_is_written_as_people_write_it(number: float, text: str) -> None:
    assert float_text(number) == text
