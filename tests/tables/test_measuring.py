"""A sheet is measured a piece at a time: what lies across the end of a piece is seen all the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.tables import archive

PART = "xl/worksheets/sheet1.xml"
PIECE_BYTES = 4096


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_PIECE_BYTES", PIECE_BYTES)


def measured(folder: Path, before: int, cell: str) -> InvalidInput | None:
    """What a sheet is refused with that holds a row with the cell, so many bytes after its beginning."""
    path = folder / "t.xlsx"
    body = b"<worksheet><sheetData>".ljust(before) + f'<row r="9">{cell}</row>'.encode() + b" " * PIECE_BYTES
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(PART, body)
    try:
        with zipfile.ZipFile(path) as made:
            archive.measure(path, made, PART, "one")
    except InvalidInput as refused:
        return refused
    return None


@pytest.mark.parametrize("value", ["#DIV/0!", "&#35;N/A", "<![CDATA[#REF!]]>", "&amp;other"])
def test_an_error_is_found_wherever_a_piece_ends(tmp_path: Path, value: str) -> None:
    cell = f'<c r="B9" t="e"><f>1/0</f><v>{value}</v></c>'
    for before in range(PIECE_BYTES - len(cell) - 14, PIECE_BYTES + 2):
        refused = measured(tmp_path, before, cell)
        assert refused is not None, before
        assert (refused.values["column"], refused.values["row"]) == ("B", 9)


def test_the_last_column_and_row_are_found_wherever_a_piece_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_CELLS", 28 * 9 - 1)
    cell = '<c r="AB9"><v>1</v></c>'
    for before in range(PIECE_BYTES - len(cell) - 14, PIECE_BYTES + 2):
        refused = measured(tmp_path, before, cell)
        assert refused is not None, before
        assert (refused.values["column"], refused.values["row"]) == ("AB", 9)
    assert measured(tmp_path, 100, '<c r="AA9"><v>1</v></c>') is None


def test_text_that_looks_like_a_wide_column_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_CELLS", 26 * 9)
    assert measured(tmp_path, 100, '<c r="A9" t="inlineStr"><is><t>r="XFD</t></is></c>') is None
