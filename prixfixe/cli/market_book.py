"""`prixfixe market book | orders | cancel`: what rests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, key_option, open_client
from prixfixe.cli.output import clean, emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.protocol.book import Book, OwnOrder


@click.command()
@click.argument("product")
@click.option("--levels", default=10, show_default=True, type=click.IntRange(1, 200), help="Of each side.")
@context_option
@json_option
def book(product: str, levels: int, context_name: str | None, as_json: bool) -> None:
    """Show the live order book of PRODUCT, such as cpu-2x4/10m.

    Prices are for one task and one replica, the market's fee left out. A bid's volume is lots times
    replicas, an ask's the lots that its worker can take now. An ask is live while its worker answers. Above
    them: the spread, the last batch, and when the next one closes, or how long it stays open once a bid is
    there. Below: why bids wait, as the last batch found it, with what would admit the nearest ask.
    """
    with open_client(chosen_context(context_name)) as client:
        found = client.book(product, levels)
    if as_json:
        spread = None if found.spread is None else str(found.spread)
        emit({**found.model_dump(mode="json"), "spread": spread})
        return
    click.echo("\n".join(_head(found)))
    rows = [("ask", each) for each in reversed(found.asks)] + [("bid", each) for each in found.bids]
    if rows:
        head = ("SIDE", "PRICE", "VOLUME", "ORDERS")
        lines = ((side, str(each.price), f"{each.volume:,}", f"{each.orders:,}") for side, each in rows)
        click.echo("\n" + table(lines, head=head))
    if not found.resting:
        say("nobody asks for this product; `prixfixe market index` lists those that are offered or were paid")
    if found.waiting:
        lines_of_reasons = ((f"{each.bids:,}", clean(each.reason)) for each in found.waiting)
        click.echo("\n" + table(lines_of_reasons, head=("BIDS", "WAIT BECAUSE")))


@click.command()
@key_option
@context_option
@json_option
def orders(key: str | None, context_name: str | None, as_json: bool) -> None:
    """List your resting bids and asks, and why each waits.

    A bid that its customer's account cannot pay is out of the book until it is funded; an ask, while its
    worker is silent or its provider below the surety.
    """
    with open_client(chosen_context(context_name, key)) as client:
        found = client.own_orders()
    if as_json:
        emit({"orders": [each.model_dump(mode="json") for each in found]})
    elif found:
        head = ("ORDER", "SIDE", "PRODUCT", "PRICE", "VOLUME", "UNTIL", "WAITS BECAUSE")
        click.echo(table((_order_row(each) for each in found), head=head))
    else:
        say("no order of yours rests")


@click.command()
@click.argument("order")
@key_option
@context_option
@json_option
def cancel(order: str, key: str | None, context_name: str | None, as_json: bool) -> None:
    """Take a resting bid or ask off the book, at once.

    Lots that were matched before stay matched. The service will not match the order again; so that nobody
    else can either, let it expire, or close its lots on the chain.
    """
    with open_client(chosen_context(context_name, key)) as client:
        gone = client.cancel_order(order)
    if as_json:
        emit(gone.model_dump(mode="json"))
    else:
        say(f"off the book: {gone.lots:,} lot{'' if gone.lots == 1 else 's'} of {gone.order}")


def _head(found: Book) -> list[str]:
    from prixfixe.protocol.money import Money

    spread = "-" if found.spread is None else str(Money(max(found.spread, 0)))
    if found.spread is not None and found.spread <= 0:
        spread = "none: the sides cross, and trade when the batch closes"
    last = "none yet"
    if found.batch is not None:
        last = f"number {found.batch.number} at {found.batch.price}, {found.batch.fills:,} lots"
    terms = found.terms
    stays = f"{terms.least_seconds:g} to {terms.most_seconds:g} s"
    closes = f"{stays} after a bid comes"
    if found.closes is not None:
        closes = f"closes in {found.closes.seconds:.1f} s ({moment(int(found.closes.at)).partition(',')[0]})"
    limits = f"reserve {terms.low}" + ("" if terms.high is None else f", at most {terms.high}")
    return [
        f"{found.product.name}   {found.live:,} live asks of {found.resting:,}",
        f"spread      {spread}",
        f"last batch  {last}",
        f"next batch  {closes}; {limits}",
    ]


def _order_row(each: OwnOrder) -> tuple[str, ...]:
    return (
        each.order,
        each.side,
        each.product.name,
        str(each.price),
        f"{each.volume:,}",
        moment(each.expiry, time.time()).partition(", ")[2],
        each.why or "-",
    )
