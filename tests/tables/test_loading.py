"""A large sheet is loaded in a process of its own: the same texts, the same refusals, and nothing is left."""

from __future__ import annotations

import csv
import datetime
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]  # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.tables import archive as archives
from prixfixe.tables import loading, open_table, sheets
from prixfixe.tables.table import NoRoom, ReaderKilled

CELLS = st.one_of(
    st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=5),
    st.integers(-(10**17), 10**17),
    st.floats(-1e9, 1e9),
    st.booleans(),
    st.dates(datetime.date(1900, 2, 1)),
    st.none(),
)


def workbook(path: Path, rows: list[list[Any]]) -> Path:
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet("Data")
    dated = book.add_format({"num_format": "yyyy-mm-dd"})
    for line, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            if isinstance(cell, datetime.date):
                sheet.write_datetime(line, column, cell, dated)
            elif cell is not None:
                sheet.write(line, column, cell)
    book.close()
    return path


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[list[Any]] = [["account", "amount"], *([f"a{n}", n] for n in range(5000))]
    return workbook(tmp_path_factory.mktemp("book") / "book.xlsx", rows)


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "APART_BYTES", 0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Every process that was started; at the end none of their groups has anybody left."""
    found: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(real(*args, **options))
        return found[-1]

    monkeypatch.setattr("prixfixe.tables.loading.subprocess.Popen", popen)
    yield found
    assert found
    for process in found:
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def result_of(path: Path) -> tuple[Any, ...]:
    """What a sheet becomes: its texts, or its refusal."""
    try:
        with open_table(path) as table:
            assert isinstance(table, sheets.SheetTable)
            with table.path.open(encoding="utf-8", newline="") as file:
                records = list(csv.reader(file, strict=True))
            return table.names, table.empty_rows, records, os.listdir(table.path.parent)
    except InvalidInput as error:
        return error.message, error.hint, error.values


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=12))
def test_a_sheet_loaded_apart_is_the_sheet_loaded_here(rows: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        path = workbook(Path(folder) / "t.xlsx", [["a", "b"], *rows])
        apart = result_of(path)
        patched.setattr(sheets, "APART_BYTES", 1 << 40)
        assert apart == result_of(path)


def test_both_halves_keep_the_order_and_the_numbers_of_rows(book: Path, started: list[Any]) -> None:
    _, empty, records, files = result_of(book)
    assert empty == 0
    assert records == [["c0", "c1", "place"], *([f"a{n}", f"{n}", f"{n + 2}"] for n in range(5000))]
    assert files == ["sheet.csv"]


def test_a_fault_in_the_second_half_has_its_row(tmp_path: Path, started: list[Any]) -> None:
    rows: list[list[Any]] = [
        ["account", "amount"],
        *([f"a{n}", n if n != 4000 else 10**16] for n in range(5000)),
    ]
    with (
        pytest.raises(InvalidInput, match="keeps 15 digits") as found,
        open_table(workbook(tmp_path / "t.xlsx", rows)),
    ):
        pass
    assert (found.value.row, found.value.column, found.value.value) == (4002, "amount", "1" + "0" * 16)


def test_an_archive_that_is_refused_ends_the_process(
    book: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_XML_BYTES", 1000)
    with pytest.raises(InvalidInput, match="unpacks to more than"), open_table(book):
        pass
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_an_interrupt_ends_the_process(
    book: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sheets, "measure", interrupt)
    with pytest.raises(KeyboardInterrupt), open_table(book):
        pass
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_a_process_that_was_killed_is_told_as_that(
    book: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "measure", lambda *_: os.kill(started[0].pid, signal.SIGKILL))
    ended = pytest.raises(ReaderKilled, match=r"that read book\.xlsx was ended by SIGKILL")
    with ended as found, open_table(book):
        pass
    assert found.value.retryable
    assert "memory" in str(found.value.hint)


def test_a_process_that_waits_to_be_reaped_by_nobody_is_no_matter(book: Path, started: list[Any]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert len(result_of(book)[2]) == 5001
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_sheet_that_needs_too_much_memory_is_refused(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few bytes that pass every measure of the archive: each cell is a copy of one long text.
    monkeypatch.setattr(loading, "UNMEASURED_BYTES", 128 << 20)
    monkeypatch.setattr(loading, "MEASURED_BYTES", 256 << 20)
    path = workbook(tmp_path / "bomb.xlsx", [["a"], *[["x" * 32_000]] * 20_000])
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidInput) as found, open_table(path):
        pass
    assert found.value.message == "bomb.xlsx needs more than 256 MiB of memory to be opened"
    assert found.value.hint == "open it, delete what is not the table, and save it again"


def test_a_small_sheet_that_could_copy_a_long_text_very_often_is_loaded_apart(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "APART_BYTES", 16 << 20)
    monkeypatch.setattr(sheets, "HERE_BYTES", 10_000_000)
    few = workbook(tmp_path / "few.xlsx", [["a"], *[["x" * 2000]] * 100])
    assert len(result_of(few)[2]) == 101
    assert started == []
    many = workbook(tmp_path / "many.xlsx", [["a"], *[["x" * 20_000]] * 500])
    assert len(result_of(many)[2]) == 501
    assert len(started) == 1


def test_memory_that_ran_out_before_the_measure_was_done_is_tried_again(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "UNMEASURED_BYTES", 128 << 20)
    real = archives.measure

    def measure(*args: Any) -> None:
        started[0].wait(200)
        real(*args)

    monkeypatch.setattr(sheets, "measure", measure)
    path = workbook(tmp_path / "t.xlsx", [["a"], *[["x" * 32_000]] * 5_000])
    assert len(result_of(path)[2]) == 5001
    assert started[0].returncode != 0
    assert len(started) == 2


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, book: Path, started: list[Any]) -> None:
    target = tmp_path / "sheet.csv"
    target.symlink_to("/dev/full")
    with pytest.raises(NoRoom):
        sheets.open_sheet(book, target)


def test_a_caller_with_threads_is_served_as_any_other(book: Path, started: list[Any]) -> None:
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert result_of(book)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
