"""Every mistake in a table is an error that names file, row, column and value, before any money moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables import CsvTable, Preflight, preflight

Check = Callable[..., Preflight]
HEADER = b"account,year,amount\n"


def test_a_missing_column_is_named_with_what_there_is_instead(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(b"account,Year,amount\na,2024,1\n")
    assert refused.value.message == "table.csv has no column 'year'"
    assert refused.value.hint == "did you mean 'Year'? its columns are: account, Year, amount"
    assert (refused.value.file, refused.value.column) == ("table.csv", "year")


def test_a_header_with_another_delimiter_is_met_with_that_delimiter(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(b"account;year;amount\na;2024;1\n")
    assert str(refused.value.hint).endswith("if they are separated by ';', say so: --delimiter ';'")


def test_text_in_a_decimal_column_is_named_with_row_column_and_value(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1.50\nb,2024,abc\nc,2024,xyz\n")
    found = refused.value
    assert (found.file, found.row, found.column, found.value) == ("table.csv", 2, "amount", "abc")
    assert found.values["line"] == 3
    assert "row 2 of table.csv (line 3): amount is 'abc'" in found.message
    assert "declare it as a null value" in str(found.hint)


def test_a_line_is_counted_by_eye_where_cells_have_line_breaks(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b'"a\nb\nc",2024,1\n\nd,2024,x\n')
    assert (refused.value.row, refused.value.values["line"]) == (2, 6)


@pytest.mark.parametrize(
    "cell",
    ["1,234.56", "1.234,56", "1e3", "1_000", "0x10", "$5", "5-", "--5", "inf", "NaN", "-", ".", "\t5", " "],
)
def test_what_is_not_plainly_a_number_is_never_taken_for_one(check: Check, cell: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + f'a,2024,"{cell}"\n'.encode())
    assert (refused.value.row, refused.value.column, refused.value.value) == (1, "amount", cell)


@pytest.mark.parametrize(
    "cell", ["0", "-0", "+5", "5.", ".5", "007", " 1.5 ", "1.50000000000000000000", "9" * 18]
)
def test_every_plain_way_to_write_a_number_is_read(check: Check, cell: str) -> None:
    assert check(HEADER + f"a,2024,{cell}\n".encode()).rows == 1


def test_a_number_beyond_the_declared_decimal_is_refused_and_never_rounded(check: Check) -> None:
    with pytest.raises(InvalidInput, match=r"decimal\(6,2\) is a number with a point, at most 4 digits"):
        check(HEADER + b"a,2024,1.005\n", types={"amount": "decimal(6,2)"})
    with pytest.raises(InvalidInput):
        check(HEADER + b"a,2024,10000.00\n", types={"amount": "decimal(6,2)"})
    assert check(HEADER + b"a,2024,9999.990\n", types={"amount": "decimal(6,2)"}).rows == 1


@pytest.mark.parametrize(
    "cell", ["2023-02-29", "2024-13-01", "0000-01-01", "24-01-01", "1.2.2024", "2024-1-1"]
)
def test_a_day_that_never_was_is_no_date(check: Check, cell: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + f"a,{cell},1\n".encode(), types={"year": "date"})
    assert (refused.value.column, refused.value.value) == ("year", cell)


def test_the_declared_types_hold_for_rows_and_columns_too(check: Check) -> None:
    with pytest.raises(InvalidInput, match="year is 'soon', and integer is a whole number"):
        check(HEADER + b"a,soon,1\n", types={"year": "integer"})


@pytest.mark.parametrize(("row", "cells"), [(b"b,2024", 2), (b"b,2024,1,9", 4)])
def test_a_ragged_row_is_found_with_the_number_of_its_cells(check: Check, row: bytes, cells: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\n" + row + b"\nc,2024,1\n")
    assert refused.value.message == f"row 2 of table.csv (line 3) has {cells} cells, and the header has 3"
    assert refused.value.row == 2


def test_a_ragged_row_is_found_although_its_columns_are_not_used(check: Check) -> None:
    with pytest.raises(InvalidInput, match=r"row 1 of table.csv"):
        check(b"account,year,amount,more,still\na,2024,1,x\n")


@pytest.mark.parametrize("row", [b'a,2024,"1\n', b'a,"20"24,1\n'])
def test_a_quote_out_of_place_is_refused(check: Check, row: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\n" + row + b"a,2024,1\n")
    assert refused.value.row == 2
    assert "quote" in refused.value.message


def test_an_empty_file_is_refused(check: Check) -> None:
    with pytest.raises(InvalidInput, match=r"table\.csv is empty"):
        check(b"")


@pytest.mark.parametrize("data", [HEADER, HEADER[:-1], b"\xef\xbb\xbf" + HEADER])
def test_a_header_alone_is_refused(check: Check, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="has a header and no rows"):
        check(data)


def test_an_empty_first_line_is_no_header(check: Check) -> None:
    with pytest.raises(InvalidInput, match="the first line of"):
        check(b"\n" + HEADER + b"a,2024,1\n")


def test_a_header_with_the_same_name_twice_is_refused(check: Check) -> None:
    with pytest.raises(InvalidInput, match="'amount' twice, as column 3 and column 4"):
        check(b"account,year,amount,amount\na,2024,1,2\n")


def test_names_that_differ_in_case_only_are_two_columns(check: Check) -> None:
    assert check(b"account,year,amount,Amount\na,2024,1,not a number\n").rows == 1


def test_bytes_that_are_no_utf8_are_found_in_a_used_column(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\n" + "Müller".encode("latin-1") + b",2024,1\n")
    found = refused.value
    assert (found.row, found.column, found.value) == (2, "account", r"M\xfcller")
    assert "not UTF-8" in found.message


def test_a_header_that_is_no_utf8_is_refused(check: Check) -> None:
    with pytest.raises(InvalidInput, match=r"the name of column 2 of table.csv is not UTF-8"):
        check(b"account,ye\xe4r,amount\na,2024,1\n")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xff\xd8\xff\xe0JFIF", "JPEG"),
        (b"PAR1....", "Parquet"),
        ("account,year,amount\n".encode("utf-16"), "not UTF-8 text"),
        (b"acc\x00ount,year\n", "holds a NUL character"),
    ],
)
def test_another_kind_of_file_is_called_by_its_name(check: Check, data: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        check(data)


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"away\.csv cannot be read: No such file"):
        preflight(tmp_path / "away.csv", {"rows": ["a"], "values": [{"column": "b", "aggregates": ["sum"]}]})


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(HEADER + b"a,2024,1\n")
    table = CsvTable.open(path)
    with pytest.raises(InvalidInput, match="changed while it was read"), table.explained(()):
        path.write_bytes(HEADER + b"a,2024,1\nb,2024,1\n")


def test_a_record_that_never_ends_is_refused(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\n" + b"x" * 3_000_000 + b",2024,1\n")
    assert refused.value.row == 2
    assert "longer than 2 MiB" in refused.value.message


def test_a_result_that_is_surely_too_wide_is_refused_before_payment(check: Check) -> None:
    rows = b"".join(b"a,%d,1\n" % number for number in range(12_000))
    with pytest.raises(InvalidInput, match="a sheet holds 16,384"):
        check(HEADER + rows)


def test_the_first_fault_is_named_whatever_the_size_of_the_file(check: Check) -> None:
    rows = [b"a,2024,1.25\n"] * 400_000
    rows[250_000], rows[300_000] = b"a,2024,oops\n", b"a,2024\n"
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"".join(rows))
    assert (refused.value.row, refused.value.value) == (250_001, "oops")


def test_further_cells_pass_when_they_are_empty_and_never_when_they_hold_something(check: Check) -> None:
    assert check(HEADER + b"a,2024,1,,\nb,2024,2,\n").rows == 2
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1,,\nb,2024,2,,x\n")
    assert refused.value.row == 2


def test_spaces_around_quoted_cells_are_no_fault(check: Check) -> None:
    assert check(HEADER + b'"a, b", "2024", "1" \n').rows == 1
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b'"a, b", "20,24", "1"\n"a", "2024", "x"\n')
    assert (refused.value.row, refused.value.value) == (2, "x")
