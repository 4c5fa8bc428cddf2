"""A declared type reads the same cells in Python and in SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prixfixe.tables.columns import ColumnUse, parse_type
from prixfixe.tables.narrow import narrowed
from prixfixe.tables.notation import PLAIN, Notation

TYPES = ("integer", "decimal", "decimal(18,2)", "decimal(4,4)", "decimal(5,0)", "date", "boolean", "text")
NOTATIONS = (PLAIN, Notation(decimal=","), Notation(",", "."), Notation(".", ","), Notation(",", " "))


@pytest.mark.parametrize("written", TYPES)
def test_a_type_is_written_as_it_was_read(written: str) -> None:
    assert str(parse_type(written)) == written


def test_case_and_spaces_of_a_type_do_not_matter() -> None:
    assert parse_type(" Decimal( 18, 2 ) ") == parse_type("decimal(18,2)")


@pytest.mark.parametrize(
    "written", ["", "money", "decimal(29,2)", "decimal(2,3)", "decimal(0,0)", "integer(3,1)", "float"]
)
def test_a_type_that_is_none_is_refused_with_its_name(written: str) -> None:
    with pytest.raises(ValueError, match=r"is no column type|digits in"):
        parse_type(written)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@given(
    written=st.sampled_from(TYPES),
    notation=st.sampled_from(NOTATIONS),
    cell=st.one_of(
        st.text("0123456789.-+eE_ ", max_size=12),
        st.text("01234.,-' \u202f", max_size=12),
        st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
        st.text("012.-+ ", max_size=40),
        st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True),
        st.dates().map(str),
        st.sampled_from(
            ["true", "FALSE", "True", "tRUE", "1", "0", "yes", "ſ", "falſe", "٣", "１", "NA", ""]
        ),
        st.text(max_size=6),
    ),
)
@example(written="boolean", notation=NOTATIONS[0], cell="0 ")
@example(written="boolean", notation=NOTATIONS[0], cell=" true ")
@settings(max_examples=400, deadline=None)
def test_python_and_sql_accept_the_same_cells(
    connection: duckdb.DuckDBPyConnection, written: str, notation: Notation, cell: str
) -> None:
    use = ColumnUse(0, "c", parse_type(written), ("NA",), notation)
    text = use.sql_text()
    value = use.sql_value(text)
    wanted = f"{use.sql_bad(text, value)}, {value} IS NULL, {text} IS NULL"
    answer = connection.execute(f"SELECT {wanted} FROM (SELECT nullif(?, '') AS c0)", [cell]).fetchone()
    assert answer is not None
    bad, no_value, blank = answer
    assert bool(bad) == use.bad(cell)
    if not bad and not blank:
        assert not no_value, "an accepted cell has a value"


@pytest.mark.parametrize(
    ("cell", "decimals"),
    [("5", 0), ("5.", 0), ("1.50", 2), (" 1.50 ", 2), (".5", 1), ("1.50000000000000", 10)],
)
def test_decimals_are_those_written(connection: duckdb.DuckDBPyConnection, cell: str, decimals: int) -> None:
    use = ColumnUse(0, "c", parse_type("decimal"))
    sql = f"SELECT {use.sql_decimals('c0')} FROM (SELECT CAST(? AS VARCHAR) AS c0)"
    assert connection.execute(sql, [cell]).fetchone() == (decimals,)


@given(
    decimals=st.integers(0, 10),
    cell=st.one_of(
        st.from_regex(r"-?[0-9]{1,19}(\.[0-9]{0,11})?", fullmatch=True), st.text("05.- ", max_size=24)
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_narrow_type_takes_the_cells_that_fit_it_and_keeps_their_value(
    connection: duckdb.DuckDBPyConnection, decimals: int, cell: str
) -> None:
    wide = ColumnUse(0, "c", parse_type("decimal"))
    narrow = narrowed(wide, decimals, 0)
    assert narrow.type.precision == 18
    wanted = []
    for use in (wide, narrow):
        value = use.sql_value("c0")
        wanted += [f"coalesce({use.sql_bad('c0', value)}, false)", value]
    sql = f"SELECT {', '.join(wanted)}, {wide.sql_decimals('c0')} FROM (SELECT nullif(?, '') AS c0)"
    answer = connection.execute(sql, [cell]).fetchone()
    assert answer is not None
    wide_bad, wide_value, narrow_bad, narrow_value, written = answer
    if wide_bad or wide_value is None:
        assert narrow_bad == wide_bad
    else:
        fits = written <= decimals and abs(wide_value) < 10 ** (18 - decimals)
        assert narrow_bad == (not fits)
        assert narrow_value == wide_value or narrow_bad


@pytest.mark.parametrize(
    ("written", "decimals", "whole", "narrow"),
    [
        ("decimal", 2, 16, "DECIMAL(18,2)"),
        ("decimal", 2, 17, "DECIMAL(20,2)"),
        ("decimal", 10, 9, "DECIMAL(28,10)"),
        ("integer", 0, 18, "DECIMAL(18,0)"),
        ("integer", 0, 19, "DECIMAL(28,0)"),
        ("decimal(20,4)", 4, 3, "DECIMAL(18,4)"),
        ("decimal(28,20)", 20, 1, "DECIMAL(28,20)"),
    ],
)
def test_sixty_four_bits_are_enough_or_not(written: str, decimals: int, whole: int, narrow: str) -> None:
    assert narrowed(ColumnUse(0, "c", parse_type(written)), decimals, whole).type.sql_type == narrow
