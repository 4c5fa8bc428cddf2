"""Files that are not what they seem: each is refused with its name, the place and the way out."""

from __future__ import annotations

import contextlib
import datetime
import io
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import xlsxwriter  # type: ignore[import-untyped]  # ships no types

from prixfixe.errors import InvalidInput
from prixfixe.tables import Preflight, preflight

Check = Callable[..., Preflight]
HEADER = b"account,year,amount\n"
PARAMETERS: dict[str, Any] = {
    "rows": ["account"],
    "values": [{"column": "amount", "aggregates": ["sum", "count"]}],
}


def refusal(path: Path, **changes: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        preflight(path, {**PARAMETERS, **changes})
    assert refused.value.file == path.name
    assert refused.value.hint
    return refused.value


def workbook(path: Path, sheets: dict[str, list[list[Any]]], **options: Any) -> Path:
    book = xlsxwriter.Workbook(str(path), options)
    dated = book.add_format({"num_format": "yyyy-mm-dd"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for line, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if isinstance(cell, datetime.date):
                    sheet.write_datetime(line, column, cell, dated)
                elif isinstance(cell, tuple):
                    sheet.write_formula(line, column, cell[0], None, cell[1])
                else:
                    sheet.write(line, column, cell)
    book.close()
    return path


GOOD: list[list[Any]] = [["account", "amount"], ["00123", 1.5], ["b", 2]]


# --- text


def test_a_nul_byte_in_a_used_cell_is_found(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\n" * 2000 + b"b\x00c,2024,1\n")
    assert (refused.value.row, refused.value.column, refused.value.value) == (2001, "account", "b\x00c")
    assert refused.value.hint == "remove the character from the cell"


def test_two_encodings_in_one_file_are_found_at_the_first_cell_of_the_second(check: Check) -> None:
    data = HEADER + "Müller,2024,1\n".encode() + "Möller,2024,1\n".encode("cp1252")
    with pytest.raises(InvalidInput) as refused:
        check(data)
    assert (refused.value.row, refused.value.column) == (2, "account")
    assert "cp1252" in str(refused.value.hint)


def test_a_byte_that_means_nothing_in_the_declared_encoding_is_found(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"\xe4,2024,1\nx\x81y,2024,1\n", encoding="cp1252")
    found = refused.value
    assert (found.row, found.column, found.values["line"]) == (2, "account", 3)
    assert "not cp1252" in found.message


def test_utf8_that_is_declared_as_something_else_is_not_read_wrongly(check: Check) -> None:
    with pytest.raises(InvalidInput, match="was declared latin-1, and it is UTF-8: 'Müller,2024,1'"):
        check(HEADER + "Müller,2024,1\n".encode(), encoding="latin-1")


def test_more_columns_than_a_sheet_has_are_refused(check: Check) -> None:
    def wide(count: int) -> bytes:
        names = ["account", "year", "amount", *(f"x{i}" for i in range(count - 3))]
        return (",".join(names) + "\n" + "a,2024,1" + "," * (count - 3) + "\n").encode()

    with pytest.raises(InvalidInput) as refused:
        check(wide(16_385))
    assert refused.value.message == "the header of table.csv has 16,385 columns, and a table may have 16,384"
    assert refused.value.column == "x16381"


def test_a_line_of_a_hundred_megabytes_is_refused(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\nb,2024," + b"7" * 100_000_000 + b"\n")
    assert (refused.value.row, refused.value.column) == (2, "amount")
    assert "longer than 2 MiB" in refused.value.message
    assert len(refused.value.value) == 80


def test_a_first_line_of_a_hundred_megabytes_is_no_header(check: Check) -> None:
    with pytest.raises(InvalidInput, match="longer than 1 MiB"):
        check(b"x" * 100_000_000)


@pytest.mark.parametrize("name", ["photo.csv", "photo.xlsx", "photo.parquet"])
def test_a_picture_is_no_table_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 40)
    refusal(path)


def test_a_full_disk_is_said_and_is_not_the_tables_fault(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("account,amount\n".encode("utf-16") + "a,1\n".encode("utf-16-le") * 200_000)
    code = (
        "import resource, sys; from prixfixe.tables import preflight\n"
        "from prixfixe.tables.table import NoRoom\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try:\n    preflight(sys.argv[1], {'rows': ['account'], 'encoding': 'utf-16', "
        "'values': [{'column': 'amount', 'aggregates': ['sum']}]})\n"
        "except NoRoom as error:\n    print(error.code, error.hint)\n"
    )
    assert resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("disk-full free some space")


# --- workbooks


def test_a_workbook_is_read_like_the_csv_of_it(tmp_path: Path) -> None:
    rows = [
        ["account", "amount", "day"],
        ["00123", 0.1 + 0.2, datetime.date(2024, 2, 29)],
        [],
        ["b", ("=1+1", 2), datetime.date(2024, 3, 1)],
        ["c", 1e-7, ""],
    ]
    path = workbook(tmp_path / "book.xlsx", {"Data": rows})
    found = preflight(path, {**PARAMETERS, "columns": ["day"], "types": {"day": "date"}})
    assert (found.rows, found.empty_rows, found.columns) == (3, 1, ("account", "amount", "day"))


def test_a_sheet_is_named_when_there_are_several(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx", {"Intro": [["hello"]], "Data": GOOD})
    found = refusal(path)
    assert found.message == "book.xlsx has 2 sheets"
    assert found.hint == "name one with --sheet: Intro, Data"
    assert preflight(path, {**PARAMETERS, "sheet": "Data"}).rows == 2
    assert refusal(path, sheet="data").value == "data"


def test_a_header_lower_down_and_of_two_rows_with_merged_cells(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("Data")
    sheet.write(0, 0, "Report of May")
    sheet.merge_range(2, 0, 3, 0, "account")
    sheet.merge_range(2, 1, 2, 2, "2024")
    sheet.write_row(3, 1, ["amount", "tax"])
    sheet.write_row(4, 0, ["a", 5, 1])
    book.close()
    values = [{"column": "2024 / amount", "aggregates": ["sum"]}]
    found = preflight(path, {"rows": ["account"], "values": values, "header_row": 3, "header_rows": 2})
    assert found.columns == ("account", "2024 / amount", "2024 / tax")
    assert "twice" in refusal(path, header_row=3).message


def test_a_formula_that_failed_is_refused_with_its_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx", {"Data": [*GOOD, ["c", ("=1/0", "#DIV/0!")]]})
    found = refusal(path)
    assert found.message == "book.xlsx has the error #DIV/0! in cell B4 of sheet 'Data'"
    assert (found.row, found.column, found.value) == (4, "B", "#DIV/0!")


def test_a_wrong_cell_is_named_with_the_sheets_own_row(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx", {"Data": [*GOOD, [], ["c", "soon"]]})
    found = refusal(path)
    assert (found.row, found.values["line"], found.column, found.value) == (3, 5, "amount", "soon")
    assert "sheet 'Data', row 5 there" in found.message


@pytest.mark.parametrize("serial", [60, 59, 1])
def test_days_before_march_1900_are_unsure_and_refused(tmp_path: Path, serial: int) -> None:
    path = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["account", "amount"])
    sheet.write_number(1, 0, serial, book.add_format({"num_format": "yyyy-mm-dd"}))
    sheet.write_number(1, 1, 1)
    book.close()
    found = refusal(path)
    assert "29 February 1900 that never was" in found.message
    assert (found.row, found.column) == (2, "account")


def test_a_number_that_the_workbook_has_shortened_already_is_refused(tmp_path: Path) -> None:
    found = refusal(workbook(tmp_path / "book.xlsx", {"Data": [*GOOD, ["c", 9007199254740993]]}))
    assert (found.row, found.column) == (4, "amount")
    assert "keeps 15 digits" in found.message


def test_a_workbook_with_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500 + "EncryptedPackage".encode("utf-16-le")
    )
    assert refusal(path).message == "book.xlsx is protected by a password"


def test_a_workbook_with_macros_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsm", {"Data": GOOD})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/vbaProject.bin", b"\xd0\xcf\x11\xe0")
    assert refusal(path).message == "book.xlsm has macros"


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_half_a_workbook_is_refused(tmp_path: Path, keep: float) -> None:
    path = workbook(tmp_path / "book.xlsx", {"Data": GOOD})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert "is not a whole workbook" in refusal(path).message


def test_bytes_changed_inside_a_workbook_are_found(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx", {"Data": GOOD * 500})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("xl/worksheets/sheet1.xml").header_offset + 80
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    assert "is not a whole workbook" in refusal(path).message


def test_a_small_archive_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prixfixe.tables import archive

    monkeypatch.setattr(archive, "MAX_XML_BYTES", 64 << 20)
    path = workbook(tmp_path / "book.xlsx", {"Data": GOOD})
    made = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, data + b" " * (80 << 20) if "sheet1" in info.filename else data)
    found = refusal(made)
    assert "unpacks to more than" in found.message
    assert found.value == "xl/worksheets/sheet1.xml"


def test_two_cells_far_apart_are_no_reason_to_take_all_memory(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["account", "amount"])
    sheet.write(1_048_575, 16_383, "x")
    book.close()
    assert refusal(path).column == "XFD"


# --- Parquet


def parquet(path: Path, sql: str) -> Path:
    duckdb.sql(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path


def test_parquet_is_read_by_its_own_types(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "table.parquet",
        "SELECT '00' || i AS account, i * 0.25::DECIMAL(9,2) AS amount, i::DOUBLE AS d, "
        "DATE '2024-01-01' + i::INT AS day FROM range(10) t(i)",
    )
    found = preflight(path, {**PARAMETERS, "columns": ["day"], "types": {"day": "date"}})
    assert (found.rows, found.column_keys) == (10, 10)
    assert (
        preflight(path, {"rows": ["account"], "values": [{"column": "d", "aggregates": ["sum"]}]}).rows == 10
    )


def test_a_stored_number_beyond_the_declared_decimal_is_refused(tmp_path: Path) -> None:
    amount = "CASE WHEN i = 3 THEN 1.005 ELSE 1 END::DECIMAL(9,3) AS amount"
    sql = f"SELECT 'a' AS account, {amount} FROM range(9) t(i)"
    found = refusal(parquet(tmp_path / "t.parquet", sql), types={"amount": "decimal(9,2)"})
    assert (found.row, found.column, found.value) == (4, "amount", "1.005")


def test_a_column_of_lists_is_refused_when_it_is_used(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", "SELECT [1,2] AS account, 1 AS amount")
    assert "not one value a row" in refusal(path).message


def test_parquet_cut_short_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", "SELECT 'a' AS account, 1 AS amount FROM range(1000)")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    refusal(path)
    path.write_bytes(data[:4] + data[-200:])
    refusal(path)


def test_a_footer_that_claims_other_rows_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", "SELECT 'a' AS account, 1 AS amount FROM range(1000)")
    data = path.read_bytes()
    # 1000 in the footer is the zigzag varint d0 0f; the file's own count comes first, the row group's later.
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    at = data.find(b"\xd0\x0f", start)
    while at >= 0:
        path.write_bytes(data[:at] + b"\xd2\x0f" + data[at + 2 :])
        try:
            assert preflight(path, PARAMETERS).rows == 1000
        except InvalidInput:
            refused += 1
        at = data.find(b"\xd0\x0f", at + 1)
    assert refused >= 1


def test_random_damage_never_passes_as_another_table(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", "SELECT 'k' || i AS account, i AS amount FROM range(50) t(i)")
    data = path.read_bytes()
    for at in range(4, len(data), 23):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :])
        with contextlib.suppress(InvalidInput):
            assert preflight(path, PARAMETERS).rows == 50


def test_an_empty_workbook_and_an_empty_parquet_are_refused(tmp_path: Path) -> None:
    assert "has nothing" in refusal(workbook(tmp_path / "book.xlsx", {"Data": []})).message
    assert "no rows" in refusal(workbook(tmp_path / "b.xlsx", {"Data": GOOD[:1]})).message
    sql = "SELECT 'a' AS account, 1 AS amount WHERE false"
    assert "no rows" in refusal(parquet(tmp_path / "t.parquet", sql)).message
    path = tmp_path / "none.xlsx"
    path.write_bytes(io.BytesIO().getvalue())
    refusal(path)
