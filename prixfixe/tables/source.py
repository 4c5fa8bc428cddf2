"""A file of any kind that is read, with what was declared about it: the one way in for client and image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.notation import DATE_FORMATS, DECIMAL_MARKS, PLAIN, THOUSANDS_MARKS, Notation
from prixfixe.tables.progress import Report, unheard
from prixfixe.tables.reader import DELIMITERS, CsvTable, Dialect
from prixfixe.tables.table import Table, stamp_of

QUOTES = ('"', "'")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb")
PARQUET = (".parquet", ".pq")


class BadParameters(InvalidInput):
    """The request itself is wrong, whatever the table; `parameter` names what is wrong in it."""

    default_code = "invalid-parameters"
    title = "The parameters are not valid"

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}", parameter=parameter)


@dataclass(frozen=True)
class Source:
    """How a table is written. What does not concern a file's kind is not looked at."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    notation: Notation = PLAIN
    sheet: str = ""
    header_row: int = 1
    header_rows: int = 1

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Source:
        """Read the parameters that concern the file; BadParameters names the one at fault."""
        from prixfixe.tables.encodings import ENCODINGS

        try:
            notation = Notation(
                _one_of(parameters, "decimal", DECIMAL_MARKS),
                _one_of(parameters, "thousands", THOUSANDS_MARKS),
                _one_of(parameters, "date_format", tuple(DATE_FORMATS)),
            )
        except ValueError as error:
            raise BadParameters("thousands", str(error)) from None
        sheet = parameters.get("sheet", "")
        if not isinstance(sheet, str):
            raise BadParameters("sheet", "a text")
        return cls(
            delimiter=_one_of(parameters, "delimiter", DELIMITERS),
            quote=_one_of(parameters, "quote", QUOTES),
            encoding=_one_of(parameters, "encoding", ENCODINGS),
            notation=notation,
            sheet=sheet,
            header_row=_whole(parameters, "header_row", 1, 1000),
            header_rows=_whole(parameters, "header_rows", 1, 10),
        )


PLAIN_SOURCE = Source()


def kind_by_name(path: Path) -> str:
    """csv, xlsx or parquet, by the ending: what a file claims to be is then checked."""
    suffix = path.suffix.lower()
    return "xlsx" if suffix in WORKBOOKS else "parquet" if suffix in PARQUET else "csv"


@contextmanager
def open_table(
    path: str | os.PathLike[str],
    source: Source = PLAIN_SOURCE,
    *,
    wanted: Collection[str] | None = None,
    spill: Path | None = None,
    report: Report = unheard,
) -> Iterator[Table]:
    """Open a table of any kind; what must be converted to be read lies in `spill` until the block ends.

    wanted: the columns that are needed, None for all of them. report: told the share that is converted.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="prixfixe-table-", dir=spill) as folder:
        kind = kind_by_name(path)
        if kind == "xlsx":
            from prixfixe.tables.sheets import open_sheet

            yield open_sheet(
                path,
                Path(folder) / "sheet.csv",
                sheet=source.sheet,
                header_row=source.header_row,
                header_rows=source.header_rows,
                wanted=wanted,
                report=report,
            )
        elif kind == "parquet":
            from prixfixe.tables.parquet import ParquetTable

            yield ParquetTable.open(path)
        else:
            yield _open_csv(path, source, Path(folder), report)


def _open_csv(path: Path, source: Source, folder: Path, report: Report) -> CsvTable:
    dialect = Dialect(source.delimiter, source.quote, source.header_row)
    if source.header_rows != 1:
        raise BadParameters("header_rows", "a header of several rows is read from workbooks only")
    if source.encoding == "utf-8":
        return CsvTable.open(path, dialect)
    from prixfixe.tables.encodings import to_utf8
    from prixfixe.tables.reader import kind_of

    stamp = stamp_of(path)
    with path.open("rb") as file:
        what = kind_of(file.read(8))
    if what is not None:
        raise InvalidInput(
            f"{path.name} is {what}, not CSV",
            hint="give it its own ending, or save the table as CSV",
            file=path.name,
        )
    target = folder / "table.csv"
    to_utf8(path, target, source.encoding, source.delimiter, source.quote, source.header_row, report)
    table = CsvTable.open(target, dialect, origin=path, stamp=stamp)
    table.require_unchanged()
    return table


def _one_of(parameters: Mapping[str, Any], field: str, choices: tuple[str, ...]) -> str:
    given = parameters.get(field, choices[0])
    if given not in choices:
        raise BadParameters(field, f"{given!r} is none of {', '.join(map(repr, choices))}")
    return str(given)


def _whole(parameters: Mapping[str, Any], field: str, default: int, most: int) -> int:
    given = parameters.get(field, default)
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise BadParameters(field, f"a whole number from 1 to {most}")
    return given
