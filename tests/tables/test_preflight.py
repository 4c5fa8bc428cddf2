"""Preflight counts exactly what the image will count."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.tables import CsvTable, Engine, PivotRequest, Preflight, preflight
from prixfixe.tables.survey import survey

Check = Callable[..., Preflight]
HEADER = b"account,year,amount\n"


def test_rows_are_counted_and_units_are_rows(check: Check) -> None:
    found = check(HEADER + b"a,2023,1\nb,2024,2\na,2024,\n")
    assert (found.rows, found.units, found.row_keys, found.column_keys) == (3, 3, 2, 2)
    assert found.columns == ("account", "year", "amount")
    assert found.bytes == len(HEADER) + len(b"a,2023,1\nb,2024,2\na,2024,\n")


def test_line_breaks_in_quotes_start_no_row(check: Check) -> None:
    assert check(HEADER + b'"a\n\n""b"" ",2024,1\n"c",2024,2\n').rows == 2


def test_a_byte_order_mark_is_no_part_of_the_first_name(check: Check) -> None:
    assert check(b"\xef\xbb\xbf" + HEADER + b"a,2024,1\n").columns[0] == "account"


def test_the_last_line_needs_no_line_break(check: Check) -> None:
    assert check(HEADER + b"a,2024,1\na,2024,1").rows == 2


def test_carriage_returns_and_empty_lines_are_read_as_people_mean_them(check: Check) -> None:
    assert check(HEADER.replace(b"\n", b"\r\n") + b"a,2024,1\r\n\r\nb,2024,1\r\n").rows == 2


def test_another_delimiter_and_quote_are_read_when_declared(check: Check) -> None:
    data = b"account;year;amount\n'a;b';2024;1\n"
    assert check(data, delimiter=";", quote="'").rows == 1


def test_a_path_that_looks_like_a_pattern_is_one_file(check: Check) -> None:
    assert check(HEADER + b"a,2024,1\n", name="q[1]* {2024}.csv").rows == 1


def test_na_is_blank_only_where_it_is_declared_and_never_in_a_text_key(check: Check, tmp_path: Path) -> None:
    found = check(HEADER + b"NA,2024,NA\nDE,2024,1\n", null_values=["NA"])
    assert found.row_keys == 2


def test_a_column_that_is_only_counted_is_not_read_as_a_number(check: Check) -> None:
    found = check(HEADER + b"a,2024,yes\n", values=[{"column": "amount", "aggregates": ["count"]}])
    assert found.rows == 1


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12),
            st.text('ab,"\n ', max_size=8),
            st.decimals(
                allow_nan=False, allow_infinity=False, places=3, min_value=-(10**15), max_value=10**15
            ),
        ),
        min_size=1,
        max_size=60,
    ),
    threads=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_rows_and_sums_are_those_of_an_independent_reader(
    tmp_path: Path, rows: list[tuple[str, str, Decimal]], threads: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("key", "noise", "amount"))
    writer.writerows((key, noise, f"{amount:f}") for key, noise, amount in rows)
    path = tmp_path / "table.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    request = PivotRequest.from_parameters(
        {"rows": ["key"], "values": [{"column": "amount", "aggregates": ["sum"]}]}
    )
    with Engine(threads=threads, memory_mib=256).connect() as connection:
        found = survey(connection, CsvTable.open(path), request)
    assert found.rows == len(rows)
    assert found.totals[0].count == len(rows)
    assert found.totals[0].sum == sum((amount for _, _, amount in rows), Decimal(0))


def test_a_sum_of_many_widest_numbers_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    widest = "999999999999999999.9999999999"
    path.write_text("k,v\n" + f"a,{widest}\nb,-{widest}\n" * 20_000 + f"a,{widest}\n" * 5)
    request = PivotRequest.from_parameters(
        {"rows": ["k"], "values": [{"column": "v", "aggregates": ["sum"]}]}
    )
    with Engine(threads=4).connect() as connection:
        found = survey(connection, CsvTable.open(path), request)
    assert found.totals[0].sum == Decimal("4999999999999999999.9999999995")
    assert found.totals[0].decimals == 10


@pytest.mark.parametrize(("keys", "fits"), [(16_383, True), (16_384, False)])
def test_a_result_near_the_limit_is_counted_and_not_estimated(check: Check, keys: int, fits: bool) -> None:
    names = [b"", *(b"%d" % number for number in range(keys - 1))]
    rows = HEADER + b"".join(b"a,%s,1\n" % name for name in names)
    sums = [{"column": "amount", "aggregates": ["sum"]}]
    if fits:
        assert check(rows, values=sums).column_keys == keys
        return
    with pytest.raises(InvalidInput) as refused:
        check(rows, values=sums)
    assert refused.value.message == "the result would have 16,385 columns, and a sheet holds 16,384"
    assert (refused.value.column, refused.value.hint) == (
        "year",
        "move year to rows, or group by fewer distinct values",
    )


def test_a_part_of_a_date_is_counted_as_that_part(check: Check) -> None:
    days = b"".join(b"a,%d-%02d-%02d,1\n" % (1700 + n // 300, 1 + n % 12, 1 + n % 28) for n in range(60_000))
    found = check(HEADER + days, columns=["year.year"], types={"year": "date"})
    assert found.column_keys == pytest.approx(200, abs=10)


def test_preflight_leaves_nothing_behind(tmp_path: Path, check: Check) -> None:
    table = tmp_path / "in" / "table.csv"
    table.parent.mkdir()
    table.write_bytes(HEADER + b"a,2024,1\n")
    spill = tmp_path / "spill"
    spill.mkdir()
    values = [{"column": "amount", "aggregates": ["sum"]}]
    preflight(table, {"rows": ["account"], "values": values}, engine=Engine(spill=spill))
    assert list(spill.iterdir()) == []
    assert [path.name for path in table.parent.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"rows": []}, "rows"),
        ({"columns": ["account"]}, "columns"),
        ({"values": []}, "values"),
        ({"values": [{"column": "amount", "aggregates": ["median"]}]}, "values"),
        ({"types": {"amount": "money"}}, "types"),
        ({"types": {"amount": "text"}}, "types"),
        ({"types": {"amuont": "integer"}}, "types"),
        ({"delimiter": "::"}, "delimiter"),
        ({"average_decimals": 11}, "average_decimals"),
        ({"average_decimals": True}, "average_decimals"),
        ({"filter": "x"}, "filter"),
    ],
)
def test_a_wrong_request_names_its_parameter(
    check: Check, changes: dict[str, object], parameter: str
) -> None:
    from prixfixe.tables.request import BadParameters

    with pytest.raises(BadParameters) as refused:
        check(HEADER + b"a,2024,1\n", **changes)
    assert refused.value.values["parameter"] == parameter
    assert refused.value.code == "invalid-parameters"
