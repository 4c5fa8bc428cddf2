"""What travels is smaller, says the same, and tells nobody what a pseudonym stands for."""

from __future__ import annotations

import csv
import hashlib
import hmac
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables import Engine, PivotRequest, open_table, preflight
from prixfixe.tables.convert import Conversion, convert
from prixfixe.tables.survey import survey

PARAMETERS: dict[str, Any] = {
    "rows": ["account", "day.month"],
    "columns": ["year"],
    "values": [
        {"column": "amount", "aggregates": ["sum", "count"]},
        {"column": "note", "aggregates": ["count"]},
    ],
    "types": {"year": "integer", "day": "date"},
    "null_values": ["NA"],
    "delimiter": ";",
    "decimal": ",",
    "date_format": "DD.MM.YYYY",
    "filters": ["kind!=void"],
}
ENGINE = Engine(threads=2, memory_mib=512)
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = random.Random(3)
    path = tmp_path_factory.mktemp("convert") / "sales of May.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(("account", "year", "day", "amount", "note", "kind", "long", "other"))
        for n in range(20_000):
            amount = source.choice(["NA", "", f"{source.randrange(-9999, 9999)},{source.randrange(100):02d}"])
            writer.writerow(
                (
                    f"{source.randrange(50):05d}",
                    source.choice(["2023", " 2024"]),
                    f"{source.randrange(1, 29)}.{source.randrange(1, 13)}.2024",
                    amount,
                    source.choice(["NA", "x", ""]),
                    source.choice(["void", "sale", ""]),
                    "x" * 60 + str(n),
                    n,
                )
            )
    return path


def made(table: Path, folder: Path, **options: Any) -> tuple[Path, Conversion]:
    target = folder / "table.parquet"
    request = PivotRequest.from_parameters(PARAMETERS)
    return target, convert(table, request, target, engine=ENGINE, **options)


def test_only_the_used_columns_travel_and_the_survey_is_the_same(table: Path, tmp_path: Path) -> None:
    target, done = made(table, tmp_path)
    assert done.columns == ("account", "year", "day", "amount", "note", "kind")
    assert done.bytes_after < done.bytes_before // 10
    assert done.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    request = PivotRequest.from_parameters(PARAMETERS)
    found = []
    for path in (table, target):
        with open_table(path, request.source) as opened, ENGINE.connect() as connection:
            found.append(survey(connection, opened, request))
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]


def test_the_original_is_named_in_what_travels(table: Path, tmp_path: Path) -> None:
    target, done = made(table, tmp_path)
    with open_table(target) as opened:
        assert opened.converted == {"from_sha256": done.sha256, "from_bytes": done.bytes_before}


def test_pseudonyms_are_hmacs_and_their_meaning_stays_here(table: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "meaning.csv"
    target, done = made(table, tmp_path, pseudonymise=("account",), key=KEY, mapping=mapping)
    assert done.pseudonymised == ("account",)
    assert mapping.stat().st_mode & 0o777 == 0o600
    with mapping.open(encoding="utf-8", newline="") as file:
        meaning = {line["pseudonym"]: line["value"] for line in csv.DictReader(file)}
    assert len(meaning) == 50
    for pseudonym, value in meaning.items():
        assert hmac.new(KEY, value.encode(), hashlib.sha256).hexdigest()[:32] == pseudonym
    sent = {row[0] for row in duckdb.sql(f"SELECT DISTINCT account FROM '{target}'").fetchall()}
    assert sent == set(meaning)
    assert b"00017" not in target.read_bytes()
    assert preflight(target, PARAMETERS).rows == 20_000


@pytest.mark.parametrize(
    ("column", "why"), [("long", "is not used"), ("year", "not as text"), ("kind", "filtered")]
)
def test_a_column_that_cannot_have_pseudonyms_is_refused(
    table: Path, tmp_path: Path, column: str, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        made(table, tmp_path, pseudonymise=(column,), key=KEY)


def test_a_wrong_cell_is_found_on_the_way_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "account;year;day;amount;note;kind\n" + "a;2024;1.1.2024;1,5;x;y\n" * 9 + "a;2024;1.1.2024;1.5;x;y\n"
    )
    with pytest.raises(InvalidInput) as refused:
        made(path, tmp_path)
    assert (refused.value.row, refused.value.column, refused.value.value) == (10, "amount", "1.5")
