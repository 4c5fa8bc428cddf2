"""`prixfixe pricing`: the pricing desk."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.failures import Interrupted
from prixfixe.cli.market_trades import index
from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    open_signer,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table
from prixfixe.cli.pricing_desk import RPC, choices_of, exposure, history, margin_options, suggest
from prixfixe.cli.pricing_schedule import apply, run_schedule, schedule

if TYPE_CHECKING:
    from prixfixe.cli.publishing import Plan, TierPlan
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.wire import BundleListing


@click.group()
def pricing() -> None:
    """Set, test, schedule and explain flat prices.

    Each tier of a bundle's version is an offer of its own on chain, which never changes: another price,
    image or limit is another version. `publish` shows everything first, and asks. The key must have the
    contract's pricing role; on a devnet that is dev:1.

    \b
    Examples:
      prixfixe pricing suggest bundles/pivot --key dev:1
      prixfixe pricing publish bundles/pivot --key dev:1
      prixfixe pricing history --key dev:1
      prixfixe pricing list
      prixfixe pricing retire pivot --version 1.0.0 --key dev:1
    """


for command in (index, suggest, history, exposure, apply, schedule, run_schedule):
    pricing.add_command(command)


@pricing.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--days",
    "sold_days",
    default=365,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="How long it is sold.",
)
@click.option("--float", "float_", type=MoneyType(), default="0", help="Treasury money behind each new tier.")
@click.option("--note", default="", help="Why; kept with the publication.")
@click.option("--override", metavar="WHY", default="", help="Publish although a stop rule says no; kept.")
@click.option("--base", help="Image to build on.")
@click.option("--dry-run", is_flag=True, help="Show what would be published, and stop.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it down there, and stop: `pricing apply` does it later.",
)
@margin_options
@RPC
@yes_option
@context_option
@key_option
@json_option
def publish(
    folder: Path,
    sold_days: int,
    float_: Money,
    note: str,
    override: str,
    base: str | None,
    dry_run: bool,
    plan_file: Path | None,
    volatility: int | None,
    verification: int | None,
    coin_price: Decimal,
    gas_price: int | None,
    days: int,
    rpc: str | None,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Put a bundle up for sale.

    Builds the image of the bundle in FOLDER, puts its tiers on chain and lists it at the service. Shows
    tiers, prices and costs first, what prices would be suggested and how these would have done on the
    recorded market, and asks before it signs. What is done already is left as it is, so an interrupted
    publication is finished by running it again.

    New versions are frozen while the price index is stale, when the spread of prices doubled in a day, or
    when the bundle lost money in the last week; --override says why it goes out all the same. In two steps:
    --plan FILE writes everything down with a digest, `prixfixe pricing apply FILE` does just that.

    \b
    Examples:
      prixfixe pricing publish bundles/pivot --dry-run --key pricing
      prixfixe pricing publish bundles/pivot --plan plan.json --note "winter prices" --key pricing
    """
    from prixfixe.cli import publishing, suggesting
    from prixfixe.cli.price_plan import PricePlan, carry_out

    context = chosen_context(context_name, key)
    market = open_market(context, rpc)
    definition = publishing.built(folder, base=base, say=say)
    seconds = sold_days * publishing.DAY_SECONDS
    choices = choices_of(volatility, verification, coin_price, gas_price, days)
    with open_client(context) as client:
        product, counts = definition.limits.product, definition.replicas
        advice = suggesting.advise(client, market, product, counts, choices, definition)
    plan = PricePlan(
        chain_id=context.chain_id,
        contract=context.contract,
        definition=definition,
        seconds=seconds,
        float_=float_,
        note=note,
        inputs=advice.to_json(),
        override=override,
    )
    if dry_run or plan_file is not None:
        signer = open_signer(context)
        made = publishing.plan(market, signer.address, definition, seconds=seconds, float_=float_)
        say(plan_text(made))
        say(suggesting.text(advice))
        if plan_file is not None:
            plan.save(plan_file)
            say(f"written: {plan_file}\n  prixfixe pricing apply {plan_file} --digest {plan.digest}")
        if as_json:
            emit({**_plan_json(made), "advice": advice.to_json(), "digest": plan.digest})
        return
    say(suggesting.text(advice))
    try:
        done = carry_out(plan, context, rpc, ask=not yes)
    except KeyboardInterrupt:
        raise Interrupted(
            "the publication is not complete; what is on chain stays there",
            f"finish it: prixfixe pricing publish {folder}",
        ) from None
    if as_json:
        emit(done)
    else:
        say(f"{definition.id} {definition.version} is for sale: prixfixe run {definition.id} --options")


@pricing.command()
@click.argument("bundle")
@click.option("--version", metavar="VERSION", help="Which; needed when several are for sale.")
@click.option("--note", default="", help="Why; kept in the history.")
@RPC
@yes_option
@context_option
@key_option
@json_option
def retire(
    bundle: str,
    version: str | None,
    note: str,
    rpc: str | None,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Take a bundle off sale.

    The service quotes it no more; on chain it ends as soon as the notice and open quotes allow.

    \b
    Example:
      prixfixe pricing retire pivot --version 1.0.0 --note "1.1.0 is for sale" --key pricing
    """
    from prixfixe.cli import publishing

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    with open_client(context) as client:
        listing = publishing.listed(client, bundle, version)
        now = market.block().time
        if not yes:
            until = publishing.retired_until(market, listing)
            click.confirm(
                f"Retire {listing.id} {listing.version}? It ends {moment(until, now)}", abort=True, err=True
            )
        done = publishing.retire(client, market, signer, listing, note=note)
    if as_json:
        emit({**done.listing.model_dump(mode="json"), "transactions": done.transactions})
    else:
        said = f"{listing.id} {listing.version} is quoted no more"
        say(f"{said}; on chain it ends {moment(done.until, now)}")


@pricing.command(name="list")
@click.option("--all", "show_all", is_flag=True, help="Retired versions too.")
@context_option
@json_option
def list_prices(show_all: bool, context_name: str | None, as_json: bool) -> None:
    """List what is for sale, at which price."""
    with open_client(chosen_context(context_name)) as client:
        found = [each for each in client.bundles() if show_all or not each.retired]
    if as_json:
        emit({"bundles": [each.model_dump(mode="json") for each in found]})
    elif found:
        click.echo(table((row for each in found for row in _listing_rows(each)), head=_LIST_HEAD))
    else:
        say("nothing is for sale: `prixfixe pricing publish FOLDER` changes that")


_LIST_HEAD = ("BUNDLE", "VERSION", "TIER", "UP TO", "PRICE", "STATE", "UNTIL")


def _listing_rows(listing: BundleListing) -> list[tuple[str, ...]]:
    state = "retired" if listing.retired else "for sale"
    return [
        (
            listing.id,
            listing.version,
            tier.label,
            f"{tier.up_to:,} {tier.unit}",
            str(tier.price),
            state,
            moment(tier.until),
        )
        for tier in listing.tiers
    ]


def plan_text(made: Plan) -> str:
    from prixfixe.protocol.money import Money

    definition = made.definition
    head = (
        f"{definition.id} {definition.version}: {definition.title}\n"
        f"  image    {definition.image}\n"
        f"  product  {definition.limits.product.name}, replicas {definition.replica_choices}, "
        f"{definition.determinism}, {'disputable' if definition.disputable else 'not disputable'}\n"
        f"  promise  result within {definition.service_level} s, else the full price back\n"
        f"  until    {moment(made.until, made.now)}\n"
    )
    rows = [
        (
            "  " + tier.label,
            f"{tier.up_to:,} {tier.unit}",
            str(tier.price),
            str(Money(tier.offer.max_cost)),
            str(made.float_) if tier in made.new else "-",
            _standing(tier, made),
            tier.id[:12],
        )
        for tier in made.tiers
    ]
    return head + table(
        rows, head=("  TIER", "UP TO", "PRICE", "COSTS AT MOST", "FLOAT", "ON CHAIN", "OFFER")
    )


def _standing(tier: TierPlan, made: Plan) -> str:
    """What the contract has of a tier, and what happens to it."""
    if tier.until == 0:
        return "new"
    if tier.until <= made.now:
        return "ended; for sale again"
    return "live; extended" if tier in made.new else "live already"


def _plan_json(made: Plan) -> dict[str, object]:
    return {
        "bundle": made.definition.id,
        "version": made.definition.version,
        "image": made.definition.image,
        "definition_digest": made.definition.digest().hex(),
        "until": made.until,
        "float": str(made.float_.units),
        "tiers": [
            {
                "name": tier.name,
                "replicas": tier.replicas,
                "up_to": tier.up_to,
                "unit": tier.unit,
                "price": str(tier.price.units),
                "offer_id": tier.id,
                "live": tier.until > made.now,
            }
            for tier in made.tiers
        ],
    }
