"""A declared type reads the same cells in Python and in SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.tables.columns import ColumnUse, parse_type

TYPES = ("integer", "decimal", "decimal(18,2)", "decimal(4,4)", "decimal(5,0)", "date", "boolean", "text")


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
    cell=st.one_of(
        st.text("0123456789.-+eE_ ", max_size=12),
        st.text("012.-+ ", max_size=40),
        st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True),
        st.dates().map(str),
        st.sampled_from(
            ["true", "FALSE", "True", "tRUE", "1", "0", "yes", "ſ", "falſe", "٣", "１", "NA", ""]
        ),
        st.text(max_size=6),
    ),
)
@settings(max_examples=400, deadline=None)
def test_python_and_sql_accept_the_same_cells(
    connection: duckdb.DuckDBPyConnection, written: str, cell: str
) -> None:
    use = ColumnUse(0, "c", parse_type(written), ("NA",))
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
