"""A CSV in any common dialect reads the same once its dialect is declared; a guess is said, never used."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables import Engine, PivotRequest, Preflight, open_table, original
from prixfixe.tables import guess as guessing
from prixfixe.tables.guess import guess
from prixfixe.tables.notation import DATE_FORMATS, Notation
from prixfixe.tables.survey import survey

Check = Callable[..., Preflight]
HEADER = b"account,year,amount\n"
GUESSABLE = ("encoding", "delimiter", "decimal", "thousands", "date_format")
DECLARED = {"rows": ["account"], "values": [{"column": "amount", "aggregates": ["sum"]}]}


def total(path: Path, **declared: Any) -> Decimal | None:
    request = PivotRequest.from_parameters({**DECLARED, **declared})
    with (
        open_table(path, request.source, wanted=request.used_columns) as table,
        Engine(threads=2, memory_mib=256).connect() as connection,
    ):
        return survey(connection, table, request).totals[0].sum


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("latin-1", "latin-1"),
        ("cp1252", "cp1252"),
        ("iso-8859-15", "iso-8859-15"),
        ("cp850", "cp850"),
        ("mac-roman", "mac-roman"),
        ("utf-8-sig", "utf-8"),
    ],
)
def test_a_declared_encoding_is_read(tmp_path: Path, encoding: str, declared: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("account,amount\nMüller,1.50\nÅse,2\n".encode(encoding))
    assert total(path, encoding=declared, filters=["account=Müller"]) == Decimal("1.50")


@pytest.mark.parametrize(
    ("decimal", "thousands", "cell", "value"),
    [
        (",", "", "1234,5", "1234.5"),
        (",", ".", "1.234.567,89", "1234567.89"),
        (",", ".", "-1234567,89", "-1234567.89"),
        (".", ",", "1,234.50", "1234.50"),
        (",", " ", "1 234,50", "1234.50"),
        (",", " ", "1\u00a0234\u202f567,50", "1234567.50"),
        (".", "'", "1'234.50", "1234.50"),
        (",", "", ",5", "0.5"),
        (",", ".", "+7", "7"),
    ],
)
def test_declared_numbers_are_read_exactly(
    tmp_path: Path, decimal: str, thousands: str, cell: str, value: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"account;amount\na;{cell}\n", encoding="utf-8")
    assert total(path, delimiter=";", decimal=decimal, thousands=thousands) == Decimal(value)


@pytest.mark.parametrize("cell", ["1.2,5", "12.34", "1.234.56,7", ".123", "1,2,3", "1,234.5", "1e3"])
def test_thousands_in_the_wrong_place_are_refused(check: Check, cell: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + f'a,2024,"{cell}"\n'.encode(), decimal=",", thousands=".")
    assert (refused.value.row, refused.value.column, refused.value.value) == (1, "amount", cell)
    assert "a number with a comma" in refused.value.message


def test_one_mark_cannot_mean_two_things(check: Check) -> None:
    with pytest.raises(InvalidInput, match="both the decimal and the thousands"):
        check(HEADER + b"a,2024,1\n", decimal=",", thousands=",")


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        ("YYYY-MM-DD", "2024-02-29"),
        ("YYYY/MM/DD", "2024/02/29"),
        ("YYYYMMDD", "20240229"),
        ("DD.MM.YYYY", "29.2.2024"),
        ("DD/MM/YYYY", "29/02/2024"),
        ("DD-MM-YYYY", "29-02-2024"),
        ("MM/DD/YYYY", "2/29/2024"),
    ],
)
def test_declared_dates_are_read_and_days_that_never_were_refused(
    check: Check, written: str, cell: str
) -> None:
    assert set(DATE_FORMATS) >= {written}
    dated = {"types": {"year": "date"}, "date_format": written}
    assert check(HEADER + f"a,{cell},1\n".encode(), **dated).rows == 1
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + f"a,{cell.replace('2024', '2023')},1\n".encode(), **dated)
    assert (refused.value.row, refused.value.column) == (1, "year")
    assert f"a date written {written}" in refused.value.message


def test_lines_above_the_header_are_passed_over_when_they_are_declared(check: Check) -> None:
    data = b"Report of May\n\n" + HEADER + b"a,2024,1\nb,2024,x\n"
    with pytest.raises(InvalidInput) as refused:
        check(data, header_row=3)
    assert (refused.value.row, refused.value.values["line"], refused.value.value) == (2, 5, "x")
    assert check(data.replace(b",x", b",2"), header_row=3).rows == 2


def guessed(path: Path, **declared: Any) -> dict[str, str | int]:
    return {one.parameter: one.value for one in guess(path, {**DECLARED, **declared}, GUESSABLE)}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"account,amount\na,1.5\n", {}),
        (b"account;amount\na;1.5\nb;2\n", {"delimiter": ";"}),
        (b"account\tamount\na\t1.5\n", {"delimiter": "\t"}),
        (b"account;amount\na;1.234,50\n", {"delimiter": ";", "decimal": ",", "thousands": "."}),
        (b'account,amount\na,"1,234.50"\n', {"thousands": ","}),
        ("account,amount\nMüller,1\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("account;amount\na;1\n".encode("utf-16"), {"encoding": "utf-16", "delimiter": ";"}),
        ("account,amount\na,1\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
    ],
)
def test_a_guess_names_what_the_file_seems_to_ask_for(
    tmp_path: Path, data: bytes, found: dict[str, str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    assert guessed(path) == found
    if found:
        assert total(path, **found) is not None, "the guess reads the file"


def test_what_is_declared_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"account;amount\na;1,5\n")
    assert guessed(path, delimiter=";", decimal=",", thousands="") == {}


def test_an_ambiguous_guess_says_so(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"account;amount;day\na;1,234;01/02/2024\n")
    reasons = {
        one.parameter: one.reason for one in guess(path, {**DECLARED, "types": {"day": "date"}}, GUESSABLE)
    }
    assert reasons["decimal"] == "amount has '1,234', which could also mean thousands"
    assert reasons["date_format"] == "day has '01/02/2024', which could also be MM/DD/YYYY"


def test_a_notation_reads_alike_in_python_and_in_words() -> None:
    notation = Notation(",", ".")
    assert notation.plain("1.234,5") == "1234.5"
    assert notation.plain("1.23,5") is None


@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("a,b\né,1\n日本,2\n".encode(), None),
        (b"a,b\nx,1\n\xe9,2\n", "line 3 is not UTF-8 (byte 0xe9)"),
        ("a,b\né,1\n".encode() + b"y,\xc3", "line 3 is not UTF-8 (byte 0xc3)"),
    ],
)
def test_the_first_byte_that_is_no_utf8_is_found_wherever_pieces_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, data: bytes, place: str | None
) -> None:
    monkeypatch.setattr(original, "_PIECE_BYTES", piece)
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    found = guessing.guess(path, {}, ("encoding",))
    assert [one.reason for one in found] == ([] if place is None else [place])
