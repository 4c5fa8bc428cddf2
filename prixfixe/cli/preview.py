"""`prixfixe run --preview`: what would be read, what would come out and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.form import Typed
from prixfixe.cli.output import clean, emit, table

if TYPE_CHECKING:
    from prixfixe.cli.running import Order
    from prixfixe.protocol.wire import Quote

_ROWS, _WIDTH = 5, 40


def show_preview(typed: Typed, order: Order, quote: Quote, *, as_json: bool) -> None:
    """Print the first rows with the types they are read as, the shape of the result and the price."""
    from prixfixe.tables.request import PivotRequest
    from prixfixe.tables.source import open_table
    from prixfixe.tables.survey import first_rows, preflight

    if "values" not in typed.parameters:
        if as_json:
            emit({"units": quote.units, "tier": quote.tier, "price": str(quote.total.units)})
        return
    request = PivotRequest.from_parameters(typed.parameters)
    found = preflight(order.inputs[0][1], typed.parameters)
    kinds = {request.column_of(f): str(request.column_type(f)) for f in (*request.rows, *request.columns)}
    kinds |= {value.column: str(value.type) for value in request.values}
    with open_table(typed.files[0], request.source, wanted=request.used_columns) as opened:
        first = [
            {name: clean(cell)[:_WIDTH] for name, cell in line.items()}
            for line in first_rows(opened, sorted(kinds, key=opened.index), _ROWS)
        ]
    names = sorted(kinds, key=lambda name: list(first[0]).index(name)) if first else list(kinds)
    across = max(1, found.column_keys) * len(request.measures)
    if as_json:
        emit(
            {
                "first_rows": first,
                "types": kinds,
                "rows": found.rows,
                "rows_filtered": found.filtered,
                "rows_rejected": found.rejected,
                "result_rows_about": found.row_keys,
                "result_columns_about": len(request.rows) + across,
                "tier": quote.tier,
                "price": str(quote.total.units),
            }
        )
        return
    click.echo(
        table([[f"{name} ({kinds[name]})" for name in names], *([line[n] for n in names] for line in first)])
    )
    click.echo(
        f"\n{found.rows:,} rows, {found.filtered:,} filtered out; the result: about {found.row_keys:,} "
        f"rows by {len(request.rows) + across:,} columns"
    )
