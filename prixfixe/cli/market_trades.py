"""`prixfixe market trades`, `market index` and `pricing index`: what was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, open_client
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.prices import PriceIndex, Trade

_SOURCES = {
    "index": "",
    "trades": "too few makers: the plain percentiles of these trades",
    "asks": "nothing was paid lately: what is asked now",
    "none": "nothing was paid lately, and nothing is asked",
}


@click.command()
@click.argument("product", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@context_option
@json_option
def trades(product: str | None, limit: int, context_name: str | None, as_json: bool) -> None:
    """List what providers were paid, newest first.

    Only settled lots are trades: a refused or expired deal paid nobody. A lot that several providers ran is
    a line for each. PRODUCT is a name such as cpu-2x4/10m; all products when it is left out.
    """
    with open_client(chosen_context(context_name)) as client:
        found = client.trades(product, limit)
    if as_json:
        emit({"trades": [each.model_dump(mode="json") for each in found]})
    elif found:
        head = ("TIME", "PRODUCT", "KIND", "PRICE", "TASKS", "PROVIDER", "CUSTOMER")
        click.echo(table((_trade_row(each) for each in found), head=head))
    else:
        say("nothing was traded yet")


@click.command()
@click.argument("product", required=False)
@context_option
@json_option
def index(product: str | None, context_name: str | None, as_json: bool) -> None:
    """Show the price index of PRODUCT, or of all.

    What a task has cost lately, from settled lots only: newer ones weigh more, and no provider or customer
    more than a fifth. P10, P50 and P90: a tenth, half and nine tenths of what was paid cost at most that.
    live: paid for within a day. stale: not. fallback: fewer than five providers, which is no market; the
    prices then come from where the last column says.
    """
    with open_client(chosen_context(context_name)) as client:
        found = client.indexes() if product is None else (client.index(product),)
    if as_json:
        emit({"indexes": [each.model_dump(mode="json") for each in found]})
    elif found:
        head = ("PRODUCT", "STATUS", "P10", "P50", "P90", "TRADES", "MAKERS", "NEWEST", "FROM")
        click.echo(table((_index_row(each) for each in found), head=head))
    else:
        say("no product is offered or asked for yet")


def _trade_row(trade: Trade) -> tuple[str, ...]:
    return (
        moment(trade.time).partition(",")[0],
        trade.product.name,
        trade.kind,
        str(trade.price),
        f"{trade.tasks:,}",
        trade.provider,
        trade.customer,
    )


def _index_row(found: PriceIndex) -> tuple[str, ...]:
    return (
        found.product.name,
        found.status,
        *(_price(each) for each in (found.p10, found.p50, found.p90)),
        f"{found.trades:,}",
        str(found.makers),
        "-" if found.newest is None else moment(found.newest, found.time).partition(", ")[2],
        _SOURCES[found.source],
    )


def _price(price: Money | None) -> str:
    return "-" if price is None else str(price)
