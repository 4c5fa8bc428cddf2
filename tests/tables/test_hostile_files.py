"""Files made to do harm, and machines that fail: what is delivered is right, or refused with its place."""

from __future__ import annotations

import json
import os
import struct
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
from prixfixe.tables import Engine, PivotRequest, Preflight, open_table, preflight
from prixfixe.tables import archive as archives
from prixfixe.tables.survey import survey

Check = Callable[..., Preflight]
HEADER = b"account,year,amount\n"
BUNDLES = Path(__file__).parents[2] / "bundles"
PARAMETERS: dict[str, Any] = {
    "rows": ["account"],
    "values": [{"column": "amount", "aggregates": ["sum", "count"]}],
}
# Runs an application that may write files of so many bytes, as on a disk that is nearly full.
LIMITED = """
import resource, sys
from importlib import import_module
from pathlib import Path
from prixfixe.tables.container import main
work = import_module(sys.argv[1]).work
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
sys.exit(main(work, Path(sys.argv[2])))
"""


def refusal(path: Path, **changes: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        preflight(path, {**PARAMETERS, **changes})
    assert refused.value.file == path.name
    assert refused.value.hint
    return refused.value


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.xlsx"
    made = xlsxwriter.Workbook(str(path))
    sheet = made.add_worksheet("Data")
    for line, cells in enumerate([["account", "amount"], ["a", 1], ["b", 2]]):
        sheet.write_row(line, 0, cells)
    made.close()
    return path


def rewritten(book: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """The workbook with one part changed."""
    target = book.with_name("changed.xlsx")
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, change(data) if info.filename == part else data)
    return target


# --- text


def test_a_nul_near_the_top_is_a_cells_fault_and_not_the_files(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,2024,1\nb\x00c,2024,2\n")
    assert (refused.value.row, refused.value.column, refused.value.value) == (2, "account", "b\x00c")
    with pytest.raises(InvalidInput) as refused:
        check(b"account,ye\x00ar,amount\na,2024,1\n")
    assert (refused.value.row, refused.value.column) == (0, "ye\x00ar")


def test_the_29_february_1900_is_no_day_in_a_text_either(check: Check) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + b"a,1900-02-28,1\na,1900-02-29,1\n", types={"year": "date"})
    assert (refused.value.row, refused.value.column, refused.value.value) == (2, "year", "1900-02-29")


@pytest.mark.parametrize("cell", ["1.005", "12345.00", "-12345"])
def test_a_number_beyond_the_declared_decimal_has_its_place(check: Check, cell: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(HEADER + f"a,2024,1.5\na,2024,{cell}\n".encode(), types={"amount": "decimal(6,2)"})
    found = refused.value
    assert (found.file, found.row, found.column, found.value) == ("table.csv", 2, "amount", cell)
    assert found.hint


# --- workbooks


def test_a_workbook_that_excel_would_ask_a_password_for_is_refused() -> None:
    found = refusal(Path(__file__).parent / "files" / "password.xlsx")
    assert found.message == "password.xlsx is protected by a password"


@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/styles.xml", "xl/worksheets/sheet1.xml"])
def test_every_part_that_is_unpacked_is_measured(
    book: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(archives, "MAX_XML_BYTES", 32 << 20)
    found = refusal(rewritten(book, part, lambda data: data + b" " * (40 << 20)))
    assert "unpacks to more than" in found.message
    assert found.value == part


def test_an_archive_of_many_parts_is_listed_a_fixed_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    real = zipfile.ZipFile.namelist

    def namelist(archive: zipfile.ZipFile) -> list[str]:
        listed.append(archive)
        return real(archive)

    monkeypatch.setattr(zipfile.ZipFile, "namelist", namelist)
    with zipfile.ZipFile(tmp_path / "many.xlsx", "w") as archive:
        for number in range(50):
            archive.writestr(f"docProps/{number}.xml", b"<x/>")
        archives.measure(tmp_path / "many.xlsx", archive, "xl/worksheets/sheet1.xml", "Data")
    assert len(listed) == 1


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/sharedStrings.xml", "xl/worksheets/sheet1.xml"])
def test_entities_neither_grow_nor_vanish(book: Path, part: str) -> None:
    tens = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    entities = f'<!DOCTYPE x [<!ENTITY e0 "lol">{tens}]>'.encode()

    def change(data: bytes) -> bytes:
        head, _, rest = data.partition(b"?>")
        for old in (b'name="Data"', b"<t>account</t>", b"<v>0</v>"):
            rest = rest.replace(
                old, old.replace(b"Data", b"&e9;").replace(b"account", b"&e9;").replace(b"0", b"&e9;")
            )
        return head + b"?>" + entities + rest

    refusal(rewritten(book, part, change))


def test_an_error_is_found_however_its_cell_is_written(book: Path) -> None:
    def change(data: bytes) -> bytes:
        return data.replace(b'<c r="B3"><v>2</v>', b'<c t="e" r="B3"><v>#REF!</v>')

    found = refusal(rewritten(book, "xl/worksheets/sheet1.xml", change))
    assert (found.row, found.column, found.value) == (3, "B", "#REF!")


# --- Parquet


def test_what_a_footer_says_of_its_columns_changes_no_total(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    duckdb.sql(
        "COPY (SELECT 'k' || i % 3 AS account, i AS amount, if(i % 2 = 0, i, NULL) AS half "
        f"FROM range(1000) t(i)) TO '{path}' (ROW_GROUP_SIZE 2048)"
    )
    honest = path.read_bytes()
    footer = len(honest) - 8 - int.from_bytes(honest[-8:-4], "little")
    lies = {
        "a smaller maximum": (struct.pack("<q", 999), struct.pack("<q", 50)),
        "no blanks": (b"\xe8\x07", b"\x80\x00"),  # 500 as a varint, then nought in as many bytes
    }
    request = PivotRequest.from_parameters(
        {
            "rows": ["account"],
            "values": [{"column": name, "aggregates": ["sum", "count"]} for name in ("amount", "half")],
            "types": {"amount": "integer", "half": "integer"},
            "filters": ["amount>=100"],
        }
    )
    found = []
    for old, new in [(b"", b""), *lies.values()]:
        body = honest[footer:].replace(old, new) if old else honest[footer:]
        assert len(body) == len(honest) - footer
        assert (body != honest[footer:]) == bool(old), "the lie is in the footer"
        path.write_bytes(honest[:footer] + body)
        with open_table(path) as table, Engine(threads=2, memory_mib=256).connect() as connection:
            found.append(survey(connection, table, request))
    assert found[0].used == 900
    assert [total.count for total in found[0].totals] == [900, 450]
    assert found[1].totals == found[2].totals == found[0].totals
    assert found[1].used == found[2].used == 900


# --- the machine


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, book: Path, ending: str) -> None:
    path = tmp_path / f"table.{ending}"
    if ending == "xlsx":
        path.write_bytes(book.read_bytes())
    else:
        duckdb.sql(f"COPY (SELECT 'a' AS account, 1 AS amount) TO '{path}'")
    request = PivotRequest.from_parameters(PARAMETERS)
    with open_table(path) as table, Engine(threads=1, memory_mib=256).connect() as connection:
        assert survey(connection, table, request).rows
        with path.open("ab") as file:
            file.write(b"\n")
        with pytest.raises(InvalidInput, match=rf"table\.{ending} changed while it was read") as refused:
            survey(connection, table, request)
    assert refused.value.file == path.name
    assert "wait until nothing writes to it" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("bundle", "parameters"),
    [("pivot", {"rows": ["account"], "values": PARAMETERS["values"]}), ("split", {})],
)
@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_a_disk_that_fills_up_in_a_run_delivers_nothing_and_blames_nobody(
    tmp_path: Path, bundle: str, parameters: dict[str, Any], limit: int
) -> None:
    for name in ("inputs", "outputs"):
        (tmp_path / name).mkdir()
    rows = "".join(f"account {n},{n}\n" for n in range(30_000))
    (tmp_path / "inputs" / "table.csv").write_text("account,amount\n" + rows)
    (tmp_path / "parameters.json").write_text(json.dumps(parameters))
    (tmp_path / "task.json").write_text('{"index": 0, "count": 1}')
    # What Python itself may write is no part of it: a file of bytecode cut short would break later runs.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(BUNDLES / bundle), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, f"{bundle}.__main__", str(tmp_path), str(limit)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "the run needs more disk than its limit, nothing is delivered"
    )
    assert list((tmp_path / "outputs").iterdir()) == []
