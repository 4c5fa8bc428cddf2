"""The archive that a workbook is: what it claims is not believed, and it is measured before it is opened."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from prixfixe.errors import InvalidInput
from prixfixe.tables.locate import shown
from prixfixe.tables.progress import Report, unheard

MAX_XML_BYTES = 4 << 30
"""Unpacked size of one part of a workbook: a full sheet of 16 columns has about 1 GB."""

MAX_CELLS = 60_000_000
"""Cells between the first and the last used one; they are held in memory, empty ones too."""

_SMALL_XML = 16 << 20
_PIECE_BYTES = 1 << 20
_KEPT_BYTES = 2000
_PLACE_BYTES = 40
"""Bytes in which a row or a cell says where it is."""
_CELL_BYTES = 16
"""Bytes of a sheet that a cell takes at least, when it points at a text: `<c t="s"><v>0</v>` and more."""

_ERROR = re.compile(rb'<c ([^>]*\bt="e"[^>]*)>(?:<f.*?(?:</f>|/>))?<v>([^<]{0,20})', re.S)
_PLACE = re.compile(rb'\br="([A-Z]+)([0-9]+)"')
_MAYBE_WIDE = re.compile(rb'r="[A-Z]{2}')
_WIDE = re.compile(rb'<c r="([A-Z]{2,3})')
_ROW = re.compile(rb'<row r="([0-9]+)')


def require_archive(path: Path) -> None:
    """InvalidInput unless the file begins as a workbook does."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        with path.open("rb") as file:
            locked = "EncryptedPackage".encode("utf-16-le") in file.read(1 << 22)
        if locked:
            raise refused(path, "is protected by a password", "save it without a password and run again")
        raise refused(path, "is an old Excel workbook (.xls)", "save it as .xlsx and run again")
    if not head.startswith(b"PK\x03\x04"):
        raise refused(path, "is not an Excel workbook", "give it its own ending, or save it as .xlsx")


def choose(path: Path, archive: zipfile.ZipFile, wanted: str) -> tuple[str, str]:
    """Name of the sheet and of its part in the archive."""
    names = archive.namelist()
    if len(names) != len(set(names)) or len(names) > 10_000:
        raise refused(path, "has parts twice or too many of them", "open it, save it again as .xlsx")
    if sum(info.compress_size for info in archive.infolist()) > path.stat().st_size:
        raise refused(path, "has parts that overlap, as archives made to do harm have", "save it again")
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise refused(path, "is protected by a password", "save it without a password and run again")
    if "xl/vbaProject.bin" in names:
        raise refused(
            path, "has macros", "save it as .xlsx, without macros, and run again", value="xl/vbaProject.bin"
        )
    if "xl/workbook.bin" in names:
        raise refused(path, "is a binary workbook (.xlsb)", "save it as .xlsx and run again")
    book = ElementTree.fromstring(_small(path, archive, "xl/workbook.xml"))
    links = ElementTree.fromstring(_small(path, archive, "xl/_rels/workbook.xml.rels"))
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    sheets: dict[str, str] = {}
    for element in book.iter():
        if element.tag.endswith("}sheet") or element.tag == "sheet":
            link = next((value for key, value in element.attrib.items() if key.endswith("}id")), "")
            target = targets.get(link, "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            if part in names and "worksheets/" in part:
                sheets[element.get("name", "")] = part
    if not sheets:
        raise refused(path, "has no sheet with cells", "save it as .xlsx and run again")
    if not wanted and len(sheets) == 1:
        return next(iter(sheets.items()))
    if wanted not in sheets:
        shown_names = ", ".join(sheets)
        said = f"has no sheet {wanted!r}" if wanted else f"has {len(sheets)} sheets"
        raise refused(
            path, said, f"name one with --sheet: {shown_names}", value=wanted or None, sheets=list(sheets)
        )
    return wanted, sheets[wanted]


def _small(path: Path, archive: zipfile.ZipFile, part: str) -> bytes:
    with archive.open(part) as file:
        data = file.read(_SMALL_XML + 1)
    if len(data) > _SMALL_XML:
        raise _bomb(path, part, len(data))
    return data


def measure(
    path: Path, archive: zipfile.ZipFile, sheet_part: str, sheet: str, report: Report = unheard
) -> None:
    """InvalidInput for what is too large to be opened, and for a cell that holds an error.

    Each part that the reader will unpack is unpacked without being kept: nobody else knows its size. report:
    told the share of the sheet that is done, by the size that the archive claims for it."""
    unpacked = {sheet_part, *_shared(archive)}
    for info in archive.infolist():
        name = info.filename
        other_sheet = name.startswith("xl/worksheets/") and name != sheet_part
        if not name.endswith((".xml", ".rels")) or other_sheet:
            continue
        if name not in unpacked and info.compress_size * 1032 < _SMALL_XML:
            continue  # deflate packs at most 1,032 to 1
        size, kept, found = 0, b"", _Cells()
        with archive.open(info) as file, _ahead(file) as chunks:
            for chunk in chunks:
                if not size and b"<!DOCTYPE" in chunk:
                    # No workbook has one, and the reader would call a cell empty whose entity it ignores.
                    raise refused(path, f"defines entities in its part {name}", "save it again", value=name)
                size += len(chunk)
                if size > MAX_XML_BYTES:
                    raise _bomb(path, name, size)
                if name == sheet_part:
                    _look(path, kept, chunk, sheet, found)
                    kept = chunk[-_KEPT_BYTES:]
                    report(min(1.0, size / max(1, info.file_size)))
        width, last = found.width, found.row
        columns = column_number(width.decode()) if width != b"A" else 26
        if columns * last > MAX_CELLS:
            raise refused(
                path,
                f"has cells as far as column {width.decode()} and row {last:,} on sheet {sheet!r}",
                "delete what lies beyond the table, or save the table as CSV or Parquet",
                row=last,
                column=width.decode(),
            )


@dataclass
class _Cells:
    """The place of the last cell, as far as a sheet was looked through. width: letters of its column; A for
    any with one letter."""

    width: bytes = b"A"
    row: int = 1


def _look(path: Path, kept: bytes, chunk: bytes, sheet: str, found: _Cells) -> None:
    """Look through a piece of a sheet and the end of the one before. Each look takes as long as unpacking
    does, so that the slow ones are for pieces in which the quick ones see something."""
    # An error's value has one of these: any other is one that the reader refuses.
    if any(sign in chunk for sign in (b"#", b"&", b"!")):
        window = kept + chunk
        if b't="e"' in window:
            _refuse_error(path, window, sheet)
    edge = kept[-_PLACE_BYTES:] + chunk[:_PLACE_BYTES]
    for part in (edge, chunk):
        if _MAYBE_WIDE.search(part):
            for place in _WIDE.finditer(part):
                if (len(place[1]), place[1]) > (len(found.width), found.width):
                    found.width = place[1]
        at = part.rfind(b'<row r="')
        if at >= 0 and (row := _ROW.match(part, at)):
            found.row = max(found.row, int(row[1]))


def most_bytes(archive: zipfile.ZipFile, sheet_part: str) -> int:
    """The most memory that a sheet's cells could take as texts, by the sizes that the archive claims: all of
    them could be copies of one shared text. `measure` finds out who claims wrongly."""
    size = archive.getinfo(sheet_part).file_size
    return size + size // _CELL_BYTES * sum(archive.getinfo(name).file_size for name in _shared(archive))


def _shared(archive: zipfile.ZipFile) -> list[str]:
    """The part of texts that cells point at, whichever way it is written."""
    return [name for name in archive.namelist() if name.lower().endswith("sharedstrings.xml")]


@contextmanager
def _ahead(file: IO[bytes]) -> Iterator[Iterator[bytes]]:
    """The file in pieces, the next of which is unpacked while one is looked at."""
    with ThreadPoolExecutor(1, "unpack") as pool:

        def pieces() -> Iterator[bytes]:
            coming = pool.submit(file.read, _PIECE_BYTES)
            while piece := coming.result():
                coming = pool.submit(file.read, _PIECE_BYTES)
                yield piece

        yield pieces()


def _refuse_error(path: Path, window: bytes, sheet: str) -> None:
    for found in _ERROR.finditer(window):
        value, place = found[2].decode("utf-8", "replace"), _PLACE.search(found[1])
        column, row = (place[1].decode(), int(place[2])) if place else (None, None)
        raise refused(
            path,
            f"has the error {value} in cell {column or '?'}{row or ''} of sheet {sheet!r}",
            "correct the formula, or clear the cell",
            row=row,
            column=column,
            value=value,
        )


def column_number(letters: str) -> int:
    """A is 1, Z is 26, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _bomb(path: Path, part: str, size: int) -> InvalidInput:
    return refused(
        path,
        f"unpacks to more than {size - 1:,} bytes in its part {part}",
        "open it, delete what is not the table, and save it again",
        value=part,
    )


def refused(path: Path, what: str, hint: str, **values: Any) -> InvalidInput:
    """The error that says what a workbook is or has."""
    text = f"{path.name} {what}" if not what.startswith("row ") else f"{path.name}, {what}"
    return InvalidInput(shown(text) if len(text) > 2000 else text, hint=hint, file=path.name, **values)
