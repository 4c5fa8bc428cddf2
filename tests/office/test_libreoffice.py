"""The same tables through LibreOffice, where it can hold them: it adds up what we add up, and reads what we
write."""

from __future__ import annotations

import csv
import datetime
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]  # ships no types

from prixfixe.tables import Engine

PIVOT = Path(__file__).parents[2] / "bundles" / "pivot"
SOFFICE = shutil.which("soffice")
pytestmark = pytest.mark.skipif(
    SOFFICE is None, reason="LibreOffice is not installed: `scripts/test office` installs it and runs these"
)

HEAD = ("account", "day", "amount")
PARAMETERS: dict[str, Any] = {
    "rows": ["account"],
    "columns": ["day.year"],
    "values": [{"column": "amount", "aggregates": ["sum", "count", "average", "min", "max"]}],
    "types": {"day": "date", "amount": "decimal(18,2)"},
    "average_decimals": 6,
}
ACCOUNTS = ("North", "South", "O'Hara & sons", "ümlaut", "x=y")
YEARS = (2022, 2023, 2024)
# Formulas are reckoned anew when a workbook is opened, whoever wrote it.
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>
"""
# Commas, quotes, UTF-8, values as they are stored, every sheet a file of its own.
AS_CSV = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"

Office = Callable[..., Path]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Converts files; returns the folder of what was made."""
    profile = tmp_path_factory.mktemp("profile")
    (profile / "user").mkdir()
    (profile / "user" / "registrymodifications.xcu").write_text(PROFILE)

    def convert(to: str, *files: Path, options: Sequence[str] = ()) -> Path:
        made = tmp_path_factory.mktemp("made")
        command = [str(SOFFICE), f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore"]
        command += [*options, "--convert-to", to, "--outdir", str(made), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        return made

    return convert


@pytest.fixture(scope="module")
def records() -> list[tuple[str, datetime.date, Decimal]]:
    source = random.Random(11)
    return [
        (
            source.choice(ACCOUNTS),
            datetime.date(source.choice(YEARS), source.randrange(1, 13), source.randrange(1, 29)),
            Decimal(source.randrange(-(10**7), 10**7)).scaleb(-2),
        )
        for _ in range(3_000)
    ]


@pytest.fixture(scope="module")
def table(
    records: list[tuple[str, datetime.date, Decimal]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *records])
    return path


@pytest.fixture(scope="module")
def pivot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Runs the bundle's application; returns the folder of its outputs."""
    sys.path.insert(0, str(PIVOT))
    try:
        from pivot.job import run
    finally:
        sys.path.remove(str(PIVOT))

    def start(path: Path) -> Path:
        folder = tmp_path_factory.mktemp("pivot")
        run(path, PARAMETERS, folder, engine=Engine(threads=2, memory_mib=256, spill=folder.parent))
        return folder

    return start


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_libreoffice_adds_up_the_same_table_to_the_same_cells(
    office: Office,
    pivot: Callable[[Path], Path],
    records: list[tuple[str, datetime.date, Decimal]],
    table: Path,
    tmp_path: Path,
) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "asked.xlsx"))
    asked, data = book.add_worksheet("Asked"), book.add_worksheet("Data")
    for row, (account, day, amount) in enumerate(records):
        data.write_string(row, 0, account)
        data.write_number(row, 1, day.year)
        data.write_number(row, 2, float(amount))
    a, b, c = (f"Data!${letter}$1:${letter}${len(records)}" for letter in "ABC")
    for row, account in enumerate(sorted(ACCOUNTS, key=str.encode)):
        asked.write_string(row, 0, account)
        for block, year in enumerate(YEARS):
            given = f'{a},"={account}",{b},{year}'
            formulas = [f"=SUMIFS({c},{given})", f"=COUNTIFS({given})", f"=AVERAGEIFS({c},{given})"]
            formulas += [f"=_xlfn.MINIFS({c},{given})", f"=_xlfn.MAXIFS({c},{given})"]
            for i, formula in enumerate(formulas):
                asked.write_formula(row, 1 + block * len(formulas) + i, formula)
    book.close()
    theirs = lines(office(AS_CSV, tmp_path / "asked.xlsx") / "asked-Asked.csv")
    ours = lines(pivot(table) / "pivot.csv")[1:]
    assert [line[0] for line in ours] == [line[0] for line in theirs]
    places = [Decimal(1).scaleb(-n) for n in (2, 0, 6, 2, 2)]
    for mine, other in zip(ours, theirs, strict=True):
        rounded = [Decimal(cell).quantize(places[i % 5]) for i, cell in enumerate(other[1:])]
        assert [Decimal(cell) for cell in mine[1:]] == rounded, mine[0]


def test_libreoffice_opens_the_workbook_and_finds_the_cells_of_the_csv(
    office: Office, pivot: Callable[[Path], Path], table: Path
) -> None:
    result = pivot(table)
    seen = lines(office(AS_CSV, result / "pivot.xlsx") / "pivot-Pivot.csv")
    written = lines(result / "pivot.csv")
    assert seen[0][1::5] == [str(year) for year in YEARS]
    assert seen[1][1:6] == ["sum(amount)", "count(amount)", "average(amount)", "min(amount)", "max(amount)"]
    for cells, expected in zip(seen[2:], written[1:], strict=True):
        assert cells[0] == expected[0]
        assert [Decimal(cell) for cell in cells[1:]] == [Decimal(cell) for cell in expected[1:]]


def test_a_workbook_that_libreoffice_wrote_is_read_as_the_csv_of_it(
    office: Office, pivot: Callable[[Path], Path], table: Path
) -> None:
    made = office("xlsx", table, options=("--infilter=CSV:44,34,76,1,,1033,false,true",))
    assert (pivot(made / "table.xlsx") / "pivot.csv").read_bytes() == (
        pivot(table) / "pivot.csv"
    ).read_bytes()
