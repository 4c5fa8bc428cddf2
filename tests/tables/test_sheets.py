"""Cells of a workbook become the texts that a CSV would hold, with the digits that a spreadsheet shows."""

from __future__ import annotations

import csv
import datetime
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prixfixe.tables import celltexts, loading
from prixfixe.tables.celltexts import ColumnTexts, NoText, cell_text, float_text, quoted

NUMBERS = (
    st.floats()
    | st.integers(-(10**16), 10**16).map(float)
    | st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)
    | st.sampled_from([0.0, -0.0, 1e15, -1e15, 999999999999999.0, 1e-7, 0.1 + 0.2, 1.5])
)
CELLS = (
    NUMBERS | st.text(max_size=5) | st.booleans() | st.dates() | st.datetimes() | st.times() | st.timedeltas()
)
COLUMNS = st.one_of(
    *(st.lists(kind, min_size=1, max_size=40) for kind in (NUMBERS, st.dates(), st.text(), st.booleans())),
    st.lists(st.integers(-(10**6), 10**6).map(float), min_size=1),
    st.lists(CELLS, min_size=1, max_size=40),
)


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


def slowly(cells: list[Any]) -> list[str] | None:
    """What `ColumnTexts` gives, cell by cell; None when a cell has no text."""
    try:
        return [cell_text(cell) for cell in cells]
    except NoText:
        return None


@pytest.mark.parametrize("remembered", [0, 10_000])
@given(pieces=st.lists(COLUMNS, min_size=1, max_size=3))
@example(pieces=[[1.0, 2.5, -0.0]])
@example(pieces=[[float("nan"), 1.0]])
@example(pieces=[[1.0, float("nan")]])
@example(pieces=[[1234567890123456.0]])
@example(pieces=[[0.1 + 0.2, 17.0]])
@example(pieces=[[datetime.date(1900, 2, 28)]])
def test_a_column_at_once_has_the_texts_of_its_cells(remembered: int, pieces: list[list[Any]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(celltexts, "_REMEMBERED", remembered)
        column = ColumnTexts()
        for cells in pieces:
            try:
                found: list[str] | None = list(column.of(tuple(cells)))
            except NoText:
                found = None
            assert found == slowly(cells)


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2), min_size=1))
def test_quoted_texts_are_read_again_as_they_were(rows: list[list[str]]) -> None:
    columns = [quoted(column) for column in zip(*rows, strict=True)]
    lines = [",".join(line) + "\n" for line in zip(*columns, strict=True)]
    assert [record for text in lines for record in csv.reader([text], strict=True)] == rows


def test_a_sheet_that_loads_tells_how_far_it_is_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_EVERY_SECONDS", 0.005)
    told: list[float] = []
    enough = threading.Event()

    def report(share: float) -> None:
        told.append(share)
        if len(told) >= 5:
            enough.set()

    with loading._estimated(0.01, report):
        assert enough.wait(20)
    assert told == sorted(told)
    assert 0.15 < told[0] <= told[-1] < 0.8
