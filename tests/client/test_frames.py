"""Frames of pandas, polars and pyarrow: in without a float, out without a loss."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from prixfixe.client import frames
from prixfixe.errors import ConfigurationError, InvalidInput

MONEY = [Decimal("0.10"), Decimal("12345678901234567.89"), None]
COLUMNS: dict[str, list[Any]] = {
    "account": ["00123", "0", None],
    "whole": [2**53 + 1, -(2**62), 0],
    "amount": MONEY,
    "day": [date(2026, 1, 31), None, date(1999, 12, 31)],
    "open": [True, False, None],
}


def of_pandas(columns: dict[str, list[Any]]) -> Any:
    return pandas.DataFrame({name: pandas.Series(values, dtype=object) for name, values in columns.items()})


MAKERS: list[Callable[[dict[str, list[Any]]], Any]] = [
    of_pandas,
    lambda columns: polars.DataFrame(columns),
    lambda columns: pyarrow.table(columns),
    lambda columns: pyarrow.RecordBatch.from_pydict(columns),
]


@pytest.mark.parametrize("made", MAKERS, ids=["pandas", "polars", "pyarrow", "batch"])
def test_text_whole_numbers_and_money_are_sent_as_they_are(
    made: Callable[[dict[str, list[Any]]], Any], tmp_path: Path
) -> None:
    path, again = tmp_path / "a.parquet", tmp_path / "b.parquet"
    frames.write_frame(made(COLUMNS), path)
    frames.write_frame(made(COLUMNS), again)
    assert pyarrow.parquet.read_table(path).to_pydict() == COLUMNS
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"x": [0.1, 0.2]}),
        pandas.DataFrame({"x": [1, None]}),  # which pandas makes floats
        pandas.DataFrame({"x": pandas.Series([1, 0.5], dtype=object)}),
        polars.DataFrame({"x": [0.1]}),
        pyarrow.table({"x": pyarrow.array([0.1], pyarrow.float32())}),
    ],
    ids=["pandas", "gap", "mixed", "polars", "pyarrow"],
)
def test_floats_are_refused_and_the_column_is_named(frame: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="column 'x' of the frame holds floats") as caught:
        frames.write_frame(frame, tmp_path / "x.parquet")
    assert caught.value.code == "float-column"
    assert "Decimal" in str(caught.value.hint)
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pandas.DataFrame({"x": ["a"]}, index=["k"]), "index of its own"),
        (pandas.DataFrame({1: ["a"]}), "no text as its name"),
        (pandas.DataFrame([["a", "b"]], columns=["x", "x"]), "two columns 'x'"),
        (pandas.DataFrame({"x": pandas.Series(["a", 1], dtype=object)}), "mixes kinds"),
        (pandas.DataFrame(), "no columns"),
        (polars.LazyFrame({"x": ["a"]}), "no rows yet"),
        (pyarrow.table([["a"], ["b"]], names=["x", "x"]), "two columns 'x'"),
        (pyarrow.table({"x": [[1]]}), "no column of a table"),
        (pyarrow.table({"x": [b"a"]}), "no column of a table"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_be_lost_or_changed_is_refused(frame: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        frames.write_frame(frame, tmp_path / "x.parquet")
    assert caught.value.code == "bad-frame"


def test_categories_become_their_texts_and_a_column_of_nothing_is_text(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"x": pandas.Categorical(["b", "a", "b"]), "y": [None, None, None]})
    frames.write_frame(frame, tmp_path / "x.parquet")
    written = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert written.to_pydict() == {"x": ["b", "a", "b"], "y": [None, None, None]}


def test_a_csv_is_read_by_its_declared_types_and_else_as_text(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text('account,sum(amount),n,note\n00123,0.30,9007199254740993,"two\nlines"\n1,,,\n', "utf-8")
    read = frames.read_table(path, {"sum(amount)": "decimal(18,2)", "n": "integer"})
    assert read.to_pydict() == {
        "account": ["00123", "1"],
        "sum(amount)": [Decimal("0.30"), None],
        "n": [9007199254740993, None],
        "note": ["two\nlines", ""],
    }
    with pytest.raises(InvalidInput, match="not what its types say"):
        frames.read_table(path, {"note": "integer"})
    with pytest.raises(InvalidInput, match="no column type"):
        frames.read_table(path, {"note": "money"})


def test_results_come_as_frames_without_floats(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"n": [2**53 + 1, None], "sum": pyarrow.array(MONEY[:2], pyarrow.decimal128(38, 2))}),
        path,
    )
    table = frames.read_table(path, {})
    in_pandas, in_polars = frames.to_pandas(table), frames.to_polars(table)
    assert in_pandas["n"].sum() == 2**53 + 1
    assert list(in_pandas["sum"]) == MONEY[:2]
    assert in_polars["n"].to_list() == [2**53 + 1, None]
    assert in_polars["sum"].to_list() == MONEY[:2]


def test_what_is_not_installed_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return real(name, *rest)

    monkeypatch.setattr("prixfixe.client.preparing.import_module", lambda name: without(name))
    with pytest.raises(ConfigurationError, match="needs the package 'pyarrow'") as caught:
        frames.write_frame(polars.DataFrame({"x": ["a"]}), tmp_path / "x.parquet")
    assert caught.value.code == "extra-missing"
    assert caught.value.hint == "install it: pip install pyarrow"


def test_no_library_of_frames_is_loaded_by_the_client() -> None:
    import subprocess
    import sys

    code = (
        "import sys, prixfixe.client.runs, prixfixe.client.progress\n"
        "from prixfixe import Client, Result\n"
        "print([name for name in ('pandas', 'polars', 'pyarrow', 'tqdm', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
