"""`prixfixe pricing suggest`, `history` and `exposure`: what the desk looks at."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prixfixe.cli.options import (
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
)
from prixfixe.cli.output import clean, emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.cli.suggesting import Choices
    from prixfixe.client import Client
    from prixfixe.protocol.bundle import BundleDefinition
    from prixfixe.protocol.desk import OfferExposure, PriceNote
    from prixfixe.protocol.product import Product

F = TypeVar("F", bound=Callable[..., Any])
RPC = click.option("--rpc", metavar="URL", help="The chain node; else the context's.")


class Percent(click.ParamType[Any]):
    """A percentage to two decimals, as ten-thousandths."""

    name = "PERCENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            scaled = Decimal(str(value).removesuffix("%").strip()) * 100
        except InvalidOperation:
            self.fail(f"{value!r} is not a percentage such as 12.5", param, ctx)
        if scaled != int(scaled) or not 0 <= scaled <= 1_000_000:
            self.fail(f"{value!r} is not 0 to 10000 % with two decimals at most", param, ctx)
        return int(scaled)


class Dollars(click.ParamType[Any]):
    """A price of something that is not a task, to any precision."""

    name = "DOLLARS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            found = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            self.fail(f"{value!r} is not dollars such as 2500", param, ctx)
        if not found.is_finite() or found < 0:
            self.fail(f"{value!r} is below zero or no number", param, ctx)
        return found


_MARGIN_OPTIONS = (
    click.option("--volatility", type=Percent(), help="Margin for moving prices; else P90 above P50."),
    click.option("--verification", type=Percent(), help="Margin for tasks bought twice to check them."),
    click.option("--coin-price", type=Dollars(), default="0", help="One coin of the chain; 0: gas is free."),
    click.option("--gas-price", type=click.IntRange(0), metavar="WEI", help="Else what the node says."),
    click.option(
        "--back",
        "days",
        type=click.IntRange(1, 366),
        default=30,
        show_default=True,
        help="Days of recorded trades that prices are tested on.",
    ),
)


def margin_options(command: F) -> F:
    """What a person may decide about a suggestion."""
    for option in reversed(_MARGIN_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("what")
@click.option(
    "--replicas", type=click.IntRange(1, 16), multiple=True, help="Else those the bundle sells, or 1."
)
@margin_options
@RPC
@context_option
@key_option
@json_option
def suggest(
    what: str,
    replicas: tuple[int, ...],
    volatility: int | None,
    verification: int | None,
    coin_price: Decimal,
    gas_price: int | None,
    days: int,
    rpc: str | None,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Say what a task should cost, and test prices on what was paid.

    WHAT is a bundle's folder, a published bundle's name, or a product such as cpu-2x4/10m.

    A price is expected asks x replicas x (1 + volatility + failure + verification) + gas. Each term is shown
    with its source and its number of samples. The back-test buys every recorded task again at each price:
    LOSSES are tasks whose providers cost more than it, UNFILLED those whose asks were above the most that
    the offer may cost. Nothing is changed.

    \b
    Examples:
      prixfixe pricing suggest bundles/pivot --key dev:1
      prixfixe pricing suggest cpu-2x4/10m --replicas 1 --replicas 3 --coin-price 2500 --key dev:1
    """
    from prixfixe.cli import suggesting

    context = chosen_context(context_name, key)
    market = open_market(context, rpc)
    choices = choices_of(volatility, verification, coin_price, gas_price, days)
    with open_client(context) as client:
        product, definition = _meant(client, what)
        counts = replicas or (definition.replicas if definition is not None else (1,))
        advice = suggesting.advise(client, market, product, counts, choices, definition)
    if as_json:
        emit(advice.to_json())
    else:
        click.echo(suggesting.text(advice))


@click.command()
@click.argument("bundle", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1))
@context_option
@key_option
@json_option
def history(bundle: str | None, limit: int, context_name: str | None, key: str | None, as_json: bool) -> None:
    """List publications and retirements, newest first: who, when, why.

    --json adds the inputs that each price rested on, and why a stop rule was overridden. Nothing is ever
    taken out.
    """
    with open_client(chosen_context(context_name, key)) as client:
        found = client.perform(client.operations.price_history(bundle, limit))
    if as_json:
        emit({"history": [each.model_dump(mode="json") for each in found]})
    elif found:
        head = ("AT", "BUNDLE", "VERSION", "ACT", "BY", "WHY")
        click.echo(table((_note_row(each) for each in found), head=head))
    else:
        say("nothing was published yet")


@click.command()
@RPC
@context_option
@key_option
@json_option
def exposure(rpc: str | None, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Show what bundles can cost the treasury.

    FLOAT is the treasury's money behind an offer, as the chain has it: the most that the offer can lose.
    ABOVE is the part of it that running deals take if all succeed. AT MOST is how much a single task may
    cost beyond its price. The last lines add up by product.
    """
    context = chosen_context(context_name, key)
    market = open_market(context, rpc)
    with open_client(context) as client:
        found = client.perform(client.operations.exposure())
    floats = {each.offer_id: _float(market, each) for each in found.offers}
    totals: dict[str, list[int]] = {}
    for each in found.offers:
        sums = totals.setdefault(each.product.name, [0, 0, 0])
        sums[0] += floats[each.offer_id]
        sums[1] += each.open
        sums[2] += each.above.units
    treasury = market.account(market.contract).free
    if as_json:
        emit(
            {
                "offers": [
                    {**each.model_dump(mode="json"), "float": str(floats[each.offer_id])}
                    for each in found.offers
                ],
                "products": {
                    name: {"float": str(sums[0]), "open": sums[1], "above": str(sums[2])}
                    for name, sums in totals.items()
                },
                "treasury": str(treasury.units),
            }
        )
        return
    from prixfixe.protocol.money import Money

    rows = [_exposure_row(each, floats[each.offer_id]) for each in found.offers]
    head = ("OFFER", "PRODUCT", "PRICE", "AT MOST", "OPEN", "ABOVE", "FLOAT")
    click.echo(table(rows, head=head))
    for name, (float_, open_, above) in sorted(totals.items()):
        click.echo(f"{name}: {Money(float_)} at risk, {open_} open, {Money(above)} of it above the price")
    click.echo(f"treasury beside that: {treasury} free, which no bundle can touch")


def choices_of(
    volatility: int | None, verification: int | None, coin_price: Decimal, gas_price: int | None, days: int
) -> Choices:
    from prixfixe.cli.suggesting import Choices

    return Choices(volatility, verification, coin_price, gas_price, days)


def _meant(client: Client, what: str) -> tuple[Product, BundleDefinition | None]:
    """The product that is meant, and the bundle when it is one."""
    from prixfixe.errors import InvalidInput
    from prixfixe.protocol.bundle import load, parse
    from prixfixe.protocol.product import Product

    if (Path(what) / "bundle.toml").is_file():
        definition = load(Path(what))
    elif "/" in what or what.startswith("0x"):
        try:
            return Product.read(what), None
        except InvalidInput as error:
            raise InvalidInput(
                f"{what!r} is no product, and {Path(what).absolute()} is no bundle's folder",
                code="not-sold",
                hint=f"outside of its folder name the published bundle (`{Path(what).name}`), or a product "
                "such as cpu-2x4/10m",
            ) from error
    else:
        definition = parse(client.bundle(what).definition, f"bundle {what}")
    if definition.image is None:  # an offer's hash needs one, its price does not
        definition = definition.with_image("sha256:" + "0" * 64)
    return definition.limits.product, definition


def _note_row(note: PriceNote) -> tuple[str, ...]:
    why = note.note + (f" [overridden: {note.override}]" if note.override else "")
    return (
        moment(note.at).partition(",")[0],
        note.bundle,
        note.version,
        note.act,
        note.by,
        clean(why.replace("\n", " ")) or "-",
    )


def _float(market: MarketClient, offer: OfferExposure) -> int:
    from prixfixe.protocol.typed_data import parse_bytes32

    return market.bundle(parse_bytes32(offer.offer_id)).float_.units


def _exposure_row(offer: OfferExposure, float_: int) -> tuple[str, ...]:
    from prixfixe.protocol.money import Money

    several = f" x{offer.replicas}" if offer.replicas > 1 else ""
    more = max(offer.max_cost.units - offer.price.units, 0)
    return (
        f"{offer.bundle} {offer.version} {offer.tier}{several}" + (" (retired)" if offer.retired else ""),
        offer.product.name,
        str(offer.price),
        str(Money(more)),
        str(offer.open),
        str(offer.above),
        str(Money(float_)),
    )
