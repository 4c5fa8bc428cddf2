"""What travels is smaller, says the same, and tells nobody what a pseudonym stands for."""

from __future__ import annotations

import csv
import hashlib
import hmac
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.tables import Engine, PivotRequest, narrow, open_table, preflight
from prixfixe.tables import survey as counting
from prixfixe.tables.convert import Conversion, convert
from prixfixe.tables.reader import CsvTable
from prixfixe.tables.survey import Survey, survey

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


def surveyed(path: Path, parameters: dict[str, Any]) -> Survey:
    request = PivotRequest.from_parameters(parameters)
    with open_table(path, request.source) as opened, ENGINE.connect() as connection:
        return survey(connection, opened, request)


def test_only_the_used_columns_travel_and_the_survey_is_the_same(table: Path, tmp_path: Path) -> None:
    target, done = made(table, tmp_path)
    assert done.columns == ("account", "year", "day", "amount", "note", "kind")
    assert done.bytes_after < done.bytes_before // 10
    assert done.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    assert surveyed(table, PARAMETERS) == surveyed(target, PARAMETERS)
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
    sent = {row[0] for row in duckdb.execute(f"SELECT DISTINCT account FROM '{target}'").fetchall()}
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


def test_a_table_of_one_piece_makes_the_same_bytes_whatever_the_threads(table: Path, tmp_path: Path) -> None:
    request, made = PivotRequest.from_parameters(PARAMETERS), []
    for threads in (1, 2, 4):
        target = tmp_path / f"{threads}.parquet"
        convert(table, request, target, engine=Engine(threads=threads, memory_mib=512))
        made.append(target.read_bytes())
    assert made[0] == made[1] == made[2]


def test_what_a_preflight_says_is_known_on_the_way(table: Path, tmp_path: Path) -> None:
    _, done = made(table, tmp_path)
    plain = preflight(table, PARAMETERS)
    assert (done.found.rows, done.found.filtered) == (plain.rows, plain.filtered)
    assert done.found.bytes == table.stat().st_size


def outcome(of: Callable[[], Survey]) -> Survey | tuple[str, dict[str, Any]]:
    """What is found, or what is refused."""
    try:
        return of()
    except InvalidInput as error:
        return error.message, error.values


def unsampled(table: CsvTable) -> Iterator[Sequence[str]]:
    """A sample that happens to show nothing new."""
    return iter(())


CELLS = st.one_of(
    st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"-?[0-9]{15,19}(\.[0-9]{8,11})?", fullmatch=True),
    st.sampled_from(
        ["", "NA", "007", " 1.5 ", "1.500", "5.", ".5", "+3", "-0", "1" + "0" * 17, "0.5" + "0" * 12]
    ),
    st.sampled_from(["1e3", "1_000", "1,5", "--1", ".", "\t5", "5\x00", "9007199254740993", "-"]),
)
NUMBERS: dict[str, Any] = {
    "rows": ["key"],
    "columns": [],
    "values": [{"column": "a", "aggregates": ["sum", "min"]}, {"column": "b", "aggregates": ["sum"]}],
    "null_values": ["NA"],
}


@given(
    lines=st.lists(st.tuples(st.sampled_from(["x", "y", "", "z\x00"]), CELLS, CELLS), min_size=1, max_size=4),
    declared=st.sampled_from(["decimal", "decimal(20,2)", "integer"]),
    seen=st.integers(0, 4),
    sampled=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_fast_way_and_the_slow_way_take_and_refuse_the_same_cells(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str, str]],
    declared: str,
    seen: int,
    sampled: bool,
) -> None:
    folder = tmp_path_factory.mktemp("ways")
    path, target = folder / "t.csv", folder / "t.parquet"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("key", "a", "b"), *lines])
    parameters = {**NUMBERS, "types": {"a": declared}}
    request = PivotRequest.from_parameters(parameters)

    def converted() -> Survey:
        convert(path, request, target, engine=ENGINE)
        return surveyed(target, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "FIRST_ROWS", seen)
        if not sampled:
            patch.setattr(CsvTable, "sample", unsampled)
        fast, slow = outcome(converted), outcome(lambda: surveyed(path, parameters))
    assert fast == slow
    assert target.exists() == isinstance(fast, Survey)
    assert not target.with_suffix(".part").exists()


@given(
    lines=st.lists(st.tuples(st.sampled_from(["x", "", "é" * 9, "z\x00"]), CELLS, CELLS), max_size=4),
    longest=st.integers(8, 20),
    wanted=st.sampled_from([counting._totals_wanted, counting._all_wanted]),
)
@settings(max_examples=20, deadline=None)
def test_what_is_counted_at_once_is_what_is_counted_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str, str]],
    longest: int,
    wanted: counting._Wanted,
) -> None:
    path = tmp_path_factory.mktemp("counts") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("key", "a", "b"), ("y", "1", "2.5"), *lines])
    request = PivotRequest.from_parameters(NUMBERS)
    with pytest.MonkeyPatch.context() as patch, ENGINE.connect() as connection:
        patch.setattr(counting, "MAX_SHEET_TEXT", longest)
        with open_table(path) as opened:
            uses = counting.all_uses(opened, request)
            once = counting._counted_at_once(connection, opened, request, uses, wanted)
            by_row = counting._counted_by_row(connection, opened, request, uses, wanted)
    if once is None:
        # A text of fewer letters than bytes may be doubted without need.
        assert by_row["rejected"] or any(len(key.encode()) > longest for key, *_ in lines)
    else:
        assert {**once, "doubt": None} == {**by_row, "doubt": None}


def test_decimals_that_only_a_late_row_has_are_kept(tmp_path: Path) -> None:
    path, target = tmp_path / "t.csv", tmp_path / "t.parquet"
    path.write_text("key,a,b\n" + "x,1,1\n" * 30_000 + "x,0.125,99999999999999999\n")
    done = convert(path, PivotRequest.from_parameters(NUMBERS), target, engine=ENGINE)
    assert done.found.rows == 30_001
    total = surveyed(target, NUMBERS).totals[0]
    assert (str(total.sum), total.decimals) == ("30000.125", 3)
    stored = dict(
        duckdb.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{target}')").fetchall()
    )
    assert stored == {"key": "VARCHAR", "a": "DECIMAL(18,3)", "b": "DECIMAL(18,0)"}


def written_with(few: int, path: Path, parameters: dict[str, Any], target: Path) -> bytes:
    """The Parquet of a table, where columns of up to so many texts are written the fast way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "FEW_TEXTS", few)
        convert(path, PivotRequest.from_parameters(parameters), target, engine=ENGINE)
    return target.read_bytes()


def test_few_texts_written_the_fast_way_are_the_same_texts(table: Path, tmp_path: Path) -> None:
    ways = [tmp_path / "fast.parquet", tmp_path / "slow.parquet"]
    fast, slow = (written_with(few, table, PARAMETERS, way) for few, way in zip((50, 0), ways, strict=True))
    assert fast != slow
    rows = [duckdb.execute(f"FROM '{way}'").fetchall() for way in ways]
    assert rows[0] == rows[1]
    assert {row[5] for row in rows[0]} == {"void", "sale", None}
    schema = "SELECT * EXCLUDE file_name FROM parquet_schema('{}')"
    schemas = [duckdb.execute(schema.format(way)).fetchall() for way in ways]
    assert schemas[0] == schemas[1]


def test_a_text_that_comes_late_is_written_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target = tmp_path / "t.csv", tmp_path / "t.parquet"
    path.write_text("key,a,b\n" + "x,1,1\ny,1,1\n" * 15_000 + "it's late,1,1\n,1,1\n")
    monkeypatch.setattr(CsvTable, "sample", unsampled)
    fast = written_with(2, path, NUMBERS, target)
    assert fast == written_with(0, path, NUMBERS, target)
    counts = dict(duckdb.execute(f"SELECT key, count(*) FROM '{target}' GROUP BY key").fetchall())
    assert counts == {"x": 15_000, "y": 15_000, "it's late": 1, None: 1}


@pytest.mark.parametrize(
    ("first", "later", "few"),
    [
        ("x", "", ("x",)),
        ("x", "y", ()),
        ("x\x00", "", ()),
        ("x" * 101, "", ()),
        ('"x\n,"",1"', "", ('x\n,",1',)),
    ],
)
def test_texts_are_few_when_no_place_of_the_table_shows_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, later: str, few: tuple[str, ...]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("key,a,b\n" + f"{first},1,1\n" * 50 + f"{later},1,1\n" * 50)
    monkeypatch.setattr(narrow, "FIRST_ROWS", 50)
    request = PivotRequest.from_parameters(NUMBERS)
    with open_table(path) as opened, ENGINE.connect() as connection:
        uses = narrow.guessed(connection, opened, counting.all_uses(opened, request))
    assert uses[0].few == few
