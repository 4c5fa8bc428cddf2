"""`prixfixe run --preview`: what would be read, what would come out and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from prixfixe.cli.form import Typed
from prixfixe.cli.output import clean, emit, table

if TYPE_CHECKING:
    from prixfixe.cli.running import Order
    from prixfixe.protocol.bundle import BundleDefinition
    from prixfixe.protocol.wire import Quote
    from prixfixe.tables.table import Table

_ROWS, _WIDTH = 5, 40


def show_preview(
    definition: BundleDefinition, typed: Typed, order: Order, quote: Quote, *, as_json: bool
) -> None:
    """Print the first rows with the types they are read as, the shape of the result and the price."""
    if definition.inputs.preflight == "table":
        shape = _pivot_shape(typed, order)
    elif definition.inputs.preflight == "rows":
        shape = _split_shape(typed, quote)
    else:
        shape = _Shape([], {}, {"units": quote.units}, f"{quote.units:,} {quote.unit}")
    if as_json:
        price = {"tier": quote.tier, "price": str(quote.total.units)}
        emit({"first_rows": shape.first, "types": shape.kinds, **shape.figures, **price})
        return
    names = list(shape.kinds)
    if names:
        heads = [f"{clean(name)} ({shape.kinds[name]})" for name in names]
        click.echo(table([heads, *([line[name] for name in names] for line in shape.first)]) + "\n")
    click.echo(shape.sentence)


@dataclass(frozen=True, slots=True)
class _Shape:
    """First rows, each column's type in the table's order, figures for programs, a sentence for people."""

    first: list[dict[str, str]]
    kinds: Mapping[str, str]
    figures: Mapping[str, int]
    sentence: str


def _pivot_shape(typed: Typed, order: Order) -> _Shape:
    from prixfixe.tables.request import PivotRequest
    from prixfixe.tables.source import open_table
    from prixfixe.tables.survey import preflight

    request = PivotRequest.from_parameters(typed.parameters)
    found = preflight(order.inputs[0][1], typed.parameters)
    kinds = {request.column_of(f): str(request.column_type(f)) for f in (*request.rows, *request.columns)}
    kinds |= {value.column: str(value.type) for value in request.values}
    with open_table(typed.files[0], request.source, wanted=request.used_columns) as opened:
        names = sorted(kinds, key=opened.index)
        first = _first(opened, names)
    columns = len(request.rows) + max(1, found.column_keys) * len(request.measures)
    return _Shape(
        first,
        {name: kinds[name] for name in names},
        {
            "rows": found.rows,
            "rows_filtered": found.filtered,
            "rows_rejected": found.rejected,
            "result_rows_about": found.row_keys,
            "result_columns_about": columns,
        },
        f"{found.rows:,} rows, {found.filtered:,} filtered out; the result: about {found.row_keys:,} rows by "
        f"{columns:,} columns",
    )


def _split_shape(typed: Typed, quote: Quote) -> _Shape:
    from prixfixe.tables.source import open_table
    from prixfixe.tables.splitting import SplitRequest, count_rows

    request = SplitRequest.from_parameters(typed.parameters)
    with open_table(typed.files[0], request.source) as opened:
        names = opened.names
        first = _first(opened, names)
    if request.by:
        # A value may be in several files: each part is in one of them at least.
        counts = [count_rows(path, typed.parameters).parts for path in typed.files]
        parts, about = max(counts), "at least " if len(counts) > 1 else ""
    else:
        parts, about = -(-quote.units // request.rows), ""
    files = "1 table" if len(typed.files) == 1 else f"{len(typed.files)} tables"
    return _Shape(
        first,
        dict.fromkeys(names, "text"),
        {"rows": quote.units, "columns": len(names), "result_parts_at_least": parts},
        f"{quote.units:,} rows of {len(names):,} columns in {files}; the result: {about}{parts:,} "
        f"part{'' if parts == 1 else 's'}, each a workbook and a CSV",
    )


def _first(opened: Table, names: Sequence[str]) -> list[dict[str, str]]:
    from prixfixe.tables.survey import first_rows

    return [
        {name: clean(cell)[:_WIDTH] for name, cell in line.items()}
        for line in first_rows(opened, names, _ROWS)
    ]
