"""Tables through every real part: what is sent is hidden, what comes back is whole, and a second run needs no
option."""

from __future__ import annotations

import csv
import json
import os
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import openpyxl

from tests.support.devnet import Devnet

NAMES = ("Alice Example", "Bob Sample", "Zoë Muster")
PIVOT = ("--rows", "name", "--columns", "day.year", "--values", "amount:sum,count", "--types", "day:date")
WRITTEN = ("--delimiter", ";", "--decimal", ",", "--date-format", "DD.MM.YYYY")


def test_a_pivot_of_pseudonyms_says_at_home_whose_sums_they_are(devnet: Devnet, tmp_path: Path) -> None:
    table, result = tmp_path / "sales.csv", tmp_path / "sales-pivot.xlsx"
    records = [(NAMES[n % 3], f"{1 + n % 28}.{1 + n % 12}.{2023 + n % 2}", n) for n in range(600)]
    lines = "".join(f"{name};{day};{n},25;secret {n}\n" for name, day, n in records)
    table.write_text("name;day;amount;note\n" + lines, encoding="utf-8")
    run = ("run", "pivot", str(table), *PIVOT, *WRITTEN, "--totals", "rows", "--yes", "--json")
    told = json.loads(devnet.types(*run, "--pseudonymise", "name").stdout)
    assert (told["state"], told["input_rows"], told["receipt_valid"]) == ("settled", 600, True)
    assert (told["result"], told["receipt"]) == (str(result), str(tmp_path / "receipt.json"))

    with (tmp_path / "sales-pivot-pseudonyms.csv").open(encoding="utf-8", newline="") as file:
        meaning = {line["pseudonym"]: line["value"] for line in csv.DictReader(file)}
    assert sorted(meaning.values()) == sorted(NAMES)
    rows = list(openpyxl.load_workbook(result)["Pivot"].iter_rows(min_row=3, values_only=True))
    found = {meaning[str(row[0])]: Decimal(repr(row[1])) + Decimal(repr(row[3])) for row in rows[:-1]}
    assert found == {
        name: sum(Decimal(n) + Decimal("0.25") for who, _, n in records if who == name) for name in NAMES
    }
    assert (rows[-1][0], rows[-1][2] + rows[-1][4]) == ("(total)", 600)
    looked = 0
    # A worker tidies its runs up meanwhile: what is gone is passed over, and so does `walk`.
    for path in (Path(folder, name) for folder, _, names in os.walk(devnet.folder.root) for name in names):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_size < 5_000_000:
                data = path.read_bytes()
                assert not [word for word in (*NAMES, "secret 1") if word.encode() in data], path
                looked += 1
    assert looked > 5, "the images apart, everything that the market keeps is looked at"

    again = json.loads(devnet.types(*run, "--as-is").stdout)
    assert again["result"] == str(tmp_path / "sales-pivot-2.xlsx")
    assert again["receipt"] == str(tmp_path / "receipt-2.json")
    plain = openpyxl.load_workbook(again["result"])["Pivot"]
    assert {row[0] for row in plain.iter_rows(min_row=3, values_only=True)} == {*NAMES, "(total)"}
    assert devnet.types("verify", told["receipt"], told["result"], "--json").returncode == 0
