"""What a cage tells of a file that was sent from a page: proposals, and refusals in words."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables.convert import convert
from prixfixe.tables.looked import FOUND, TABLE
from prixfixe.tables.looking import look, make, work
from prixfixe.tables.reader import Engine
from prixfixe.tables.request import PivotRequest

PARAMETERS: dict[str, Any] = {
    "rows": ["region"],
    "values": [{"column": "amount", "aggregates": ["sum"]}],
    "types": {"amount": "decimal"},
}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(threads=1, memory_mib=512, spill=tmp_path)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(path: Path, query: str) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def types(found: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["type"] for each in found["columns"]}


def uses(found: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["use"] for each in found["columns"]}


def test_a_german_table_is_read_as_it_is_written(tmp_path: Path, engine: Engine) -> None:
    text = "account;region;day;amount\n00123;North;03.04.2024;1.234,50\n00124;South;24.05.2024;-2,25\n"
    found = look(written(tmp_path, "sales.csv", text), {}, engine)
    assert found["rows"] == 2
    assert types(found) == {"account": "text", "region": "text", "day": "date", "amount": "decimal"}
    assert uses(found)["amount"] == "sum"
    assert found["source"] == {
        "delimiter": ";",
        "decimal": ",",
        "thousands": ".",
        "date_format": "DD.MM.YYYY",
    }
    assert found["first"][0] == ["00123", "North", "03.04.2024", "1.234,50"]


def test_what_somebody_declared_is_not_guessed_again(tmp_path: Path, engine: Engine) -> None:
    path = written(tmp_path, "sales.csv", "a,b\n1,2\n3,4\n")
    found = look(path, {"delimiter": "|"}, engine)
    assert [each["name"] for each in found["columns"]] == ["a,b"]


def test_numbers_that_name_something_are_no_amounts(tmp_path: Path, engine: Engine) -> None:
    text = "card,order id,year,paid\n4111111111111111,17,2023,5\n5500000000000004,18,2024,7\n"
    found = look(written(tmp_path, "cards.csv", text), {}, engine)
    assert types(found)["card"] == "text"
    assert uses(found) == {"card": "rows", "order id": "", "year": "", "paid": "sum"}


def test_a_table_without_amounts_is_counted(tmp_path: Path, engine: Engine) -> None:
    found = look(written(tmp_path, "names.csv", "name,town\nAda,Rome\nBob,Rome\n"), {}, engine)
    assert uses(found) == {"name": "rows", "town": "count"}


def test_types_that_a_parquet_file_has_are_kept(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "t.parquet"
    parquet(path, "SELECT 'x' AS k, 7::BIGINT AS n, 1.50::DECIMAL(9,2) AS d, DATE '2024-01-02' AS day")
    found = look(path, {}, engine)
    assert types(found) == {"k": "text", "n": "integer", "d": "decimal", "day": "date"}


def test_what_travels_is_what_the_client_makes_to_the_last_byte(tmp_path: Path, engine: Engine) -> None:
    path = written(
        tmp_path,
        "long.csv",
        "region,amount,note\n" + "".join(f"r{i % 7},{i}.25,{'n' * 40}\n" for i in range(30_000)),
    )
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    assert make(path, PARAMETERS, "table", outputs, engine) == {"units": 30_000, "converted": True}
    convert(path, PivotRequest.from_parameters(PARAMETERS), tmp_path / "own.parquet", engine=engine)
    assert (outputs / TABLE).read_bytes() == (tmp_path / "own.parquet").read_bytes()


def test_rows_of_tables_that_stay_as_they_are_are_counted(tmp_path: Path, engine: Engine) -> None:
    path = written(tmp_path, "a.csv", "region;amount\nNorth;1\nSouth;2\n")
    declared = {"by": "region", "delimiter": ";"}
    assert make(path, declared, "rows", tmp_path, engine) == {"units": 2, "converted": False}
    with pytest.raises(InvalidInput, match="place"):
        make(path, {**declared, "by": "place"}, "rows", tmp_path, engine)


def test_a_small_table_travels_as_it_is(tmp_path: Path, engine: Engine) -> None:
    path = written(tmp_path, "s.csv", "region,amount\nN,1.5\n")
    assert make(path, PARAMETERS, "table", tmp_path, engine) == {"units": 1, "converted": False}
    assert not (tmp_path / TABLE).exists()


def bomb() -> bytes:
    """A workbook of 50 MB of zeros in a few KB, which says that it is small."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", b"0" * 50_000_000)
    return content.getvalue()


def lying_parquet(folder: Path) -> bytes:
    """Its footer claims other rows than its parts have."""
    path = folder / "true.parquet"
    parquet(path, "SELECT range AS n FROM range(1000)")
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    # The thrift varint of 1000, the first of which is the file's.
    return content[: -8 - length] + footer.replace(b"\xd0\x0f", b"\xd2\x0f", 1) + content[-8:]


def test_what_is_no_table_is_refused_in_words(tmp_path: Path, engine: Engine) -> None:
    wide = ",".join(f"c{i}" for i in range(16_385))
    for name, content, words in (
        ("photo.csv", b"\xff\xd8\xff\xe0" + b"JFIF" * 500, "is a JPEG picture, not CSV"),
        ("wide.csv", f"{wide}\n{wide}\n".encode(), "16,385 columns"),
        ("bomb.xlsx", bomb(), "bomb.xlsx"),
        ("lying.parquet", lying_parquet(tmp_path), "lying.parquet"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("header.csv", b"a,b\n", "has a header and no rows"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "row 2 of ragged.csv"),
    ):
        with pytest.raises(InvalidInput, match=words):
            look(written(tmp_path, name, content), {}, engine)


def test_more_columns_than_a_page_shows_are_refused(tmp_path: Path, engine: Engine) -> None:
    names = ",".join(f"{'column' * 120}{i}" for i in range(800))
    path = written(tmp_path, "wide.csv", f"{names}\n{names}\n")
    with pytest.raises(InvalidInput, match="800 columns, more than a page can show"):
        work([path], {"step": "look", "parameters": {}, "preflight": "table"}, tmp_path, engine, None)
    assert not (tmp_path / FOUND).exists()


def test_names_and_values_are_data(tmp_path: Path, engine: Engine) -> None:
    path = written(tmp_path, "x.csv", '<b>n</b>,"a""b\'c"\n<script>alert(1)</script>,2\n')
    work([path], {"step": "look", "parameters": {}, "preflight": "table"}, tmp_path, engine, None)
    found = json.loads((tmp_path / FOUND).read_text())
    assert [each["name"] for each in found["columns"]] == ["<b>n</b>", "a\"b'c"]
    assert found["first"] == [["<script>alert(1)</script>", "2"]]
