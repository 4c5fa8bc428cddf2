"""Whatever is cut or merged, every row and cell comes out once, as it was, in the same bytes each time."""

from __future__ import annotations

import csv
import io
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import openpyxl
import pytest
import xlsxwriter  # type: ignore[import-untyped]  # ships no types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from split.job import Outcome, run

from prixfixe.errors import AboveTier, InvalidInput
from prixfixe.tables import Engine
from prixfixe.tables.form import run_preflight
from prixfixe.testing.determinism import same_bytes

FOLDER = Path(__file__).parents[1]
HEAD = ("account", "region", "amount")


def write(path: Path, rows: list[tuple[str, ...]], head: tuple[str, ...] = HEAD) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return path


def rows(count: int, seed: int = 1) -> list[tuple[str, ...]]:
    source = random.Random(seed)
    regions = ["EU", "US", "", "=1+1", "a/b", 'q"q\n2']
    return [
        (f"{source.randrange(900):05d}", source.choice(regions), f"{source.randrange(10**6)}")
        for _ in range(count)
    ]


def split(
    paths: list[Path], outputs: Path, *, threads: int = 2, limit: int | None = None, **parameters: Any
) -> Outcome:
    outputs.mkdir()
    engine = Engine(threads=threads, memory_mib=256, spill=outputs.parent)
    return run(paths, parameters, outputs, engine=engine, limit_units=limit)


def read(path: Path) -> list[tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(line) for line in csv.reader(file, strict=True)]


def test_many_tables_become_one_in_the_order_of_their_names(tmp_path: Path) -> None:
    made = {name: rows(500, seed) for seed, name in enumerate(["b.csv", "a.csv", "c.csv"])}
    paths = [write(tmp_path / name, data) for name, data in made.items()]
    outcome = split(paths, tmp_path / "out")
    assert read(tmp_path / "out" / "part-0001.csv") == [HEAD, *made["a.csv"], *made["b.csv"], *made["c.csv"]]
    assert outcome.sentences[0] == "Rows of the tables: 1,500 = rows in the parts: 1,500."


def test_a_part_for_each_value_and_blank_last(tmp_path: Path) -> None:
    data = rows(2_000)
    outcome = split([write(tmp_path / "t.csv", data)], tmp_path / "out", by="region")
    values = [part.value for part in outcome.parts]
    assert values == ["=1+1", "EU", "US", "a/b", 'q"q\n2', ""]
    for part in outcome.parts:
        expected = [row for row in data if row[1] == part.value]
        assert read(tmp_path / "out" / f"{part.name}.csv")[1:] == expected
        book = openpyxl.load_workbook(tmp_path / "out" / f"{part.name}.xlsx", read_only=True)
        cells = [tuple(cell or "" for cell in row) for row in book["Table"].iter_rows(values_only=True)]
        assert cells == [HEAD, *expected]


CELLS = st.one_of(
    st.sampled_from(["", "00123", "=1+1", " x ", 'q"q', "two\nlines", "9007199254740993", "NA", "ä", "a/b"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=4),
)


@given(
    tables=st.lists(
        st.lists(st.tuples(CELLS, st.sampled_from(["", "EU", "US", "eu"]), CELLS), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    ),
    by=st.sampled_from(["", "region", "account"]),
    most=st.integers(1, 9),
    threads=st.sampled_from([1, 4]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_cut_every_row_comes_out_once_and_in_order(
    tables: list[list[tuple[str, ...]]], by: str, most: int, threads: int
) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        paths = [write(folder / f"{n}.csv", data) for n, data in enumerate(tables)]
        outcome = split(paths, folder / "out", threads=threads, by=by, rows=most)
        whole = [row for data in tables for row in data]
        at = HEAD.index(by) if by else None
        values = (
            sorted({row[at] for row in whole}, key=lambda v: (v == "", v.encode()))
            if at is not None
            else [None]
        )
        expected = []
        for value in values:
            mine = [row for row in whole if at is None or row[at] == value]
            expected += [(value, mine[i : i + most]) for i in range(0, len(mine), most)]
        found = [(part.value, read(folder / "out" / f"{part.name}.csv")[1:]) for part in outcome.parts]
        assert found == expected
        assert outcome.rows == len(whole)


def test_a_long_part_is_cut_by_the_stated_rule(tmp_path: Path) -> None:
    data = rows(1_001)
    outcome = split([write(tmp_path / "t.csv", data)], tmp_path / "out", rows=400)
    assert [part.rows for part in outcome.parts] == [400, 400, 201]
    parts = sorted((tmp_path / "out").glob("*.csv"))
    assert [row for path in parts for row in read(path)[1:]] == data


def test_threads_memory_processor_and_place_change_no_byte(tmp_path: Path) -> None:
    # Small row groups, so that several threads share the table.
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    for seed, path in enumerate(paths):
        source = write(tmp_path / "t.csv", rows(6_000, seed))
        duckdb.sql(f"COPY (FROM read_csv('{source}', all_varchar=true)) TO '{path}' (ROW_GROUP_SIZE 2048)")
    found = same_bytes(FOLDER, paths, {"by": "region", "rows": 1_500})
    parts = [name for name in found if name.endswith(".csv")]
    assert (
        sum(len(list(csv.reader(io.StringIO(found[name].decode(), newline="")))) - 1 for name in parts)
        == 12_000
    )


def test_formats_may_be_mixed(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEAD)
    sheet.write_row(1, 0, ["00001", "EU", 5])
    book.close()
    split([tmp_path / "a.xlsx", write(tmp_path / "b.csv", [("2", "US", "6")])], tmp_path / "out")
    assert read(tmp_path / "out" / "part-0001.csv")[1:] == [("00001", "EU", "5"), ("2", "US", "6")]


def test_tables_with_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.csv", rows(2)),
        write(tmp_path / "b.csv", [("1", "2", "3")], ("account", "area", "amount")),
    ]
    with pytest.raises(InvalidInput) as refused:
        split(paths, tmp_path / "out")
    assert (refused.value.file, refused.value.column) == ("b.csv", "area")


def test_preflight_counts_what_the_run_counts_and_a_tier_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(20))
    assert run_preflight("rows", path, {}).units == 20
    with pytest.raises(AboveTier):
        split([path], tmp_path / "out", limit=19)
    with pytest.raises(InvalidInput, match="no column 'place'"):
        run_preflight("rows", path, {"by": "place"})


@pytest.mark.parametrize(
    "wrong",
    [("b", "x" * 32_768, "2"), ("b", "N\x00L", "2"), ("b", "US")],
    ids=["longer than a cell", "NUL", "ragged"],
)
def test_a_cell_that_no_part_could_hold_is_refused_at_the_preflight_and_in_the_run(
    tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    path = write(tmp_path / "a.csv", [("a", "EU", "1")] * 999 + [wrong])
    for attempt in (lambda: run_preflight("rows", path, {}), lambda: split([path], tmp_path / "out")):
        with pytest.raises(InvalidInput) as refused:
            attempt()
        assert (refused.value.file, refused.value.row, refused.value.column) == ("a.csv", 1_000, "region")
        assert refused.value.hint


def test_too_many_parts_are_refused_before_payment_and_as_many_as_may_be_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(str(n), "EU", "1") for n in range(1_001)])
    for parameters in ({"by": "account"}, {"rows": 1}):
        with pytest.raises(InvalidInput, match="the result would have 1,001 parts"):
            run_preflight("rows", path, parameters)
        with pytest.raises(InvalidInput, match="the result would have 1,001 parts"):
            split([path], tmp_path / f"out{len(parameters)}{next(iter(parameters))}", **parameters)
    counted = run_preflight("rows", path, {"by": "region", "rows": 500})
    assert (counted.units, counted.parts) == (1_001, 3)


def test_a_name_that_no_sheet_holds_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("1", "2", "3")], ("a", "b", "c" * 32_768))
    with pytest.raises(InvalidInput, match="a name of 32,768 characters"):
        run_preflight("rows", path, {})
