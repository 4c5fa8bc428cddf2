"""Data frames of pandas, polars and pyarrow: in as Parquet with declared types, out without loss.

A frame's columns have the types that they are sent with: text stays text (`00123`), whole numbers keep every
digit, decimals their scale. A float is refused, since a sum of floats is not what is on the invoice. Results
come back in the same way: decimals and whole numbers with gaps never become floats.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prixfixe.client.preparing import needed
from prixfixe.errors import InvalidInput
from prixfixe.tables.columns import ColumnType, parse_type

FRAME_NAME: Final = "frame.parquet"
_LIBRARIES: Final = ("pandas", "polars", "pyarrow")
_MOST_DIGITS: Final = 38


def library_of(data: object) -> str | None:
    """Which library's frame this is; None for anything else. Imports none of them."""
    for kind in type(data).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _LIBRARIES and kind.__name__ in ("DataFrame", "LazyFrame", "Table", "RecordBatch"):
            return library
    return None


def write_frame(data: object, path: Path) -> None:
    """The frame as Parquet. InvalidInput names the column that cannot be sent as it is. Equal frames give
    equal bytes, so that a second try is known to be the same order."""
    table = _arrow(data)
    names = table.column_names
    if not names:
        raise InvalidInput("the frame has no columns", code="bad-frame")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"the frame has two columns {twice[0]!r}", code="bad-frame", column=twice[0])
    needed("pyarrow.parquet", "a frame as input").write_table(
        _plain(table), path, compression="zstd", store_schema=False
    )


def _arrow(data: Any) -> Any:
    """The frame as a table of pyarrow."""
    arrow = needed("pyarrow", "a frame as input")
    library = library_of(data)
    if library == "pandas":
        pandas = needed("pandas", "a frame as input")
        if not isinstance(data.index, pandas.RangeIndex):
            raise InvalidInput(
                "the frame has an index of its own, which is no column and would be lost",
                code="bad-frame",
                hint="make it columns: `frame.reset_index()`, or drop it: `frame.reset_index(drop=True)`",
            )
        for name in data.columns:
            if not isinstance(name, str):
                raise InvalidInput(
                    f"column {name!r} has no text as its name",
                    code="bad-frame",
                    hint="`frame.columns = frame.columns.map(str)`",
                )
            if list(data.columns).count(name) > 1:
                raise InvalidInput(f"the frame has two columns {name!r}", code="bad-frame", column=name)
        try:
            return arrow.Table.from_pandas(data, preserve_index=False)
        except (arrow.ArrowException, TypeError, ValueError) as error:
            raise InvalidInput(
                f"a column of the frame mixes kinds of values: {str(error)[:200]}",
                code="bad-frame",
                hint="give it one type: `frame['x'].astype('string')`, or `.map(Decimal)` for money",
            ) from error
    if library == "polars":
        if type(data).__name__ == "LazyFrame":
            raise InvalidInput("a LazyFrame has no rows yet", code="bad-frame", hint="give `frame.collect()`")
        return data.to_arrow()
    if type(data).__name__ == "RecordBatch":
        return arrow.Table.from_batches([data])
    return data


def _plain(table: Any) -> Any:
    """Each column with a type that Parquet and the readers of tables agree on."""
    arrow = needed("pyarrow", "a frame as input")
    types = needed("pyarrow.types", "a frame as input")
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if types.is_null(kind):
            column, kind = column.cast(arrow.string()), arrow.string()
        if types.is_floating(kind):
            raise _float(name)
        whole = types.is_integer(kind) or types.is_boolean(kind)
        number = types.is_decimal(kind) and kind.precision <= _MOST_DIGITS
        words = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        time = types.is_date(kind) or types.is_timestamp(kind)
        if not (whole or number or words or time):
            raise InvalidInput(
                f"column {name!r} of the frame holds {kind}, which is no column of a table",
                code="bad-frame",
                hint="leave it out, or make it text, a number, a date or true and false",
                column=name,
            )
        columns.append(column.cast(arrow.string()) if words else column)
    return arrow.table(columns, names=table.column_names)


def _float(name: str) -> InvalidInput:
    return InvalidInput(
        f"column {name!r} of the frame holds floats, which are not exact: 0.1 + 0.2 is not 0.3",
        code="float-column",
        hint="money: make it decimal (pandas: `frame[c].map(lambda v: Decimal(str(v)), na_action='ignore')`; "
        "polars: `pl.col(c).cast(pl.Decimal(18, 2))`). Whole numbers with gaps: `astype('Int64')`. "
        "Not needed: leave it out",
        column=name,
    )


def read_table(path: Path, types: Mapping[str, str]) -> Any:
    """A result's CSV or Parquet file as a table of pyarrow. types: of a CSV's columns, written as in an order
    (`decimal(18,2)`); a column without one is text, as it is written. Parquet has its own."""
    if path.suffix.lower() == ".parquet":
        return needed("pyarrow.parquet", "a result as a table").read_table(path)
    if path.suffix.lower() != ".csv":
        raise InvalidInput(
            f"{path.name} is no table that can be read here", hint="name an output that is CSV or Parquet"
        )
    arrow = needed("pyarrow", "a result as a table")
    reader = needed("pyarrow.csv", "a result as a table")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header = next(csv.reader(stream), [])
    kinds = {name: _arrow_type(arrow, types[name]) if name in types else arrow.string() for name in header}
    try:
        return reader.read_csv(
            path,
            parse_options=reader.ParseOptions(newlines_in_values=True),
            convert_options=reader.ConvertOptions(column_types=kinds, strings_can_be_null=False),
        )
    except arrow.ArrowException as error:
        raise InvalidInput(f"{path.name} is not what its types say: {str(error)[:200]}") from error


def _arrow_type(arrow: Any, written: str) -> Any:
    try:
        declared: ColumnType = parse_type(written)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    match declared.kind:
        case "integer":
            return arrow.int64()
        case "decimal":
            return arrow.decimal128(_MOST_DIGITS, declared.scale)
        case "date":
            return arrow.date32()
        case "boolean":
            return arrow.bool_()
        case _:
            return arrow.string()


def to_pandas(table: Any) -> Any:
    """A pandas frame of Arrow types, in which decimals and whole numbers with gaps stay what they are."""
    return table.to_pandas(types_mapper=needed("pandas", "a result as a frame").ArrowDtype)


def to_polars(table: Any) -> Any:
    """A polars frame."""
    return needed("polars", "a result as a frame").from_arrow(table)
