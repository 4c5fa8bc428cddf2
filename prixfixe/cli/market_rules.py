"""`prixfixe market rules`: how the auction of a product runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.protocol.book import ProductListing
    from prixfixe.protocol.money import Money


@click.command()
@click.argument("product", required=False)
@click.option("--least", type=click.FloatRange(0.001, 86_400), help="A batch stays open this many seconds.")
@click.option("--most", type=click.FloatRange(0.001, 86_400), help="And no more than this many.")
@click.option("--reserve", type=MoneyType(), help="No batch clears below this price.")
@click.option("--ceiling", type=MoneyType(), help="No batch clears above this price.")
@click.option("--no-ceiling", is_flag=True, help="Clear at any price above the reserve.")
@click.option("--note", help="Why; kept and shown.")
@key_option
@context_option
@json_option
def rules(
    product: str | None,
    least: float | None,
    most: float | None,
    reserve: Money | None,
    ceiling: Money | None,
    no_ceiling: bool,
    note: str | None,
    key: str | None,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Show the products and the terms of their auctions, or change them.

    A batch opens when both sides are there, and the more orders came lately the longer it stays open,
    between --least and --most. Prices are for one task and replica. Whoever changes terms needs the
    contract's pricing role and gives a --note; the next batch is the first under the new terms, and every
    batch's publication repeats its limits.

    \b
    Examples:
      prixfixe market rules
      prixfixe market rules cpu-2x4/10m --reserve 0.02 --most 10 --note "floor" --key dev:1
    """
    from prixfixe.protocol.book import TermsChange

    changes: dict[str, float | Money | None] = {
        name: value
        for name, value in (
            ("least_seconds", least),
            ("most_seconds", most),
            ("low", reserve),
            ("high", ceiling),
        )
        if value is not None
    }
    if no_ceiling:
        changes["high"] = None
    with open_client(chosen_context(context_name, key)) as client:
        listed = client.products()
        if changes:
            if product is None or not note:
                raise click.UsageError("a change needs PRODUCT and --note, which says why")
            terms = client.terms(product).model_copy(update=changes)
            listed = (client.change_terms(product, TermsChange(terms=terms, note=note)),)
        elif product is not None:
            from prixfixe.protocol.product import Product

            wanted = Product.read(product)
            listed = tuple(each for each in listed if each.product == wanted)
    if as_json:
        emit({"products": [each.model_dump(mode="json") for each in listed]})
    elif listed:
        head = ("PRODUCT", "LEAST", "MOST", "RESERVE", "CEILING", "CHANGED", "NOTE")
        click.echo(table((_row(each) for each in listed), head=head))
    else:
        say("no such product is traded here")


def _row(each: ProductListing) -> tuple[str, ...]:
    terms = each.terms
    return (
        each.product.name,
        f"{terms.least_seconds:g} s",
        f"{terms.most_seconds:g} s",
        str(terms.low),
        "-" if terms.high is None else str(terms.high),
        "-" if each.changed_at is None else moment(each.changed_at).partition(",")[0],
        each.note or "-",
    )
