"""`prixfixe run`: the main job. Price first, yes second, result and receipt last."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.jobview import past_words
from prixfixe.cli.options import (
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    yes_option,
)
from prixfixe.cli.output import Progress, emit, moment, say, size, table
from prixfixe.cli.times import reached
from prixfixe.late import uncollected

if TYPE_CHECKING:
    from prixfixe.cli.running import Order
    from prixfixe.client import Client
    from prixfixe.protocol.wire import Quote, QuotedIndex


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("bundle")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE... [BUNDLE'S OPTIONS]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the result goes; else beside the first file, under a name that is free.",
)
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(path_type=Path),
    help="Else receipt.json beside the result; receipt-2.json and so on when that exists.",
)
@click.option("--force", is_flag=True, help="Replace result and receipt if they exist.")
@click.option("--detach", is_flag=True, help="Buy, print the job's id, and leave.")
@click.option("--version", metavar="VERSION", help="This version of the bundle; else the newest.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 16),
    metavar="N",
    help="So many providers run it; a majority must agree.",
)
@click.option("--options", "show_options", is_flag=True, help="Show the bundle's own options and prices.")
@click.option(
    "--accept-guesses", is_flag=True, help="Take how the table is written as it is guessed, without asking."
)
@click.option("--as-is", is_flag=True, help="Upload the file as it is, with all its columns.")
@click.option(
    "--pseudonymise",
    metavar="COLUMN[,COLUMN...]",
    help="Send these columns as pseudonyms; their key and meaning stay on this machine.",
)
@click.option("--preview", is_flag=True, help="Show rows, types, shape and price, and leave.")
@yes_option
@context_option
@key_option
@json_option
def run(
    bundle: str,
    arguments: tuple[str, ...],
    out: Path | None,
    receipt_path: Path | None,
    force: bool,
    detach: bool,
    version: str | None,
    replicas: int | None,
    show_options: bool,
    accept_guesses: bool,
    as_is: bool,
    pseudonymise: str | None,
    preview: bool,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Run BUNDLE on your FILEs for a flat price.

    Your files are checked and counted on this machine first. Then you see the price, by when the result is
    due and what would be refunded when; nothing is uploaded or paid before you say yes. If there is no
    result in time, the contract gives the full price back. The result comes with a receipt that `prixfixe
    verify` checks.

    Each bundle has options of its own: `prixfixe run BUNDLE --options` shows them. Those of `pivot`:

    \b
      --rows region,city              columns whose values go down the side
      --columns year                  columns whose values go across the top
      --values amount:sum,average     what is in the cells: sum, count, average of a column
      --types year:integer            column types; else rows and columns are text, values decimal
      --null-values NA                cells that mean "no value"
      --filters 'amount>=100'         which rows are used
      --totals rows,columns           a last line and a last column with totals
      --delimiter ';' --decimal ,     how the table is written; else it is guessed, and you are asked

    \b
    Examples:
      prixfixe run pivot sales.csv --rows region --columns year --values amount:sum --out sales.xlsx
      prixfixe run pivot flights.csv --rows carrier --columns month --values arr_delay:average,count \\
          --types month:integer --types arr_delay:integer --null-values NA --yes
      prixfixe run pivot sales.csv --rows region --values amount:sum --detach --json
      prixfixe run pivot sales.csv --rows region --values amount:sum --replicas 3
    """
    reached("start")
    with uncollected():
        from concurrent.futures import ThreadPoolExecutor

        from prixfixe.cli import buying, running
        from prixfixe.cli.declaring import Travel, confirm_guesses
        from prixfixe.cli.preview import show_preview
        from prixfixe.client.conversions import Conversions
        from prixfixe.client.files import free_name
        from prixfixe.tables.original import NotUtf8

        context = chosen_context(context_name, key)
        opened = open_client(context)
    with (
        opened as client,
        tempfile.TemporaryDirectory(prefix="prixfixe-run-") as scratch,
    ):
        reached("asking for the bundle")
        listing = client.bundle(bundle, version)
        definition = running.definition_of(listing)
        if listing.retired and not show_options:
            raise running.not_for_sale(listing)
        if show_options:
            _show_options(definition, as_json)
            return
        typed = running.read(definition, arguments)
        places = running.places(bundle, typed.files, out, receipt_path, force=force, detach=detach)
        reached("guessing")
        accept = accept_guesses or preview
        given, typed = typed, confirm_guesses(definition, typed, yes=yes, accept=accept, whole=as_is)
        hidden = tuple(next(csv.reader([pseudonymise]))) if pseudonymise else ()
        mapping = None
        if hidden:
            beside = places.result or typed.files[0]
            mapping = free_name(beside.with_name(f"{beside.stem}-pseudonyms.csv"))
        travel = Travel(
            Path(scratch),
            as_is,
            hidden,
            None if preview else mapping,
            kept=Conversions(),
            undeclared="encoding" not in typed.declared,
        )
        reached("converting")
        if not preview and running.takes_long(typed):
            buying.get_ready(client, sign_in=yes)
        try:
            order = running.prepare(definition, typed, Progress(), travel)
        except NotUtf8:  # further on than was looked before
            typed = confirm_guesses(definition, given, yes=yes, accept=accept)
            order = running.prepare(definition, typed, Progress(), travel)
        reached("asking for the price")
        with ThreadPoolExecutor(1, "chain-time") as other:
            now = other.submit(_chain_time, client)
            quote = client.quote(
                listing,
                parameters=order.parameters,
                inputs=[file for file, _ in order.inputs],
                units=order.units,
                replicas=replicas,
            )
        say(_offer(quote, order, definition.service_level, now.result()))
        if preview:
            show_preview(definition, typed, order, quote, as_json=as_json)
            return
        buying.require_funds(client, quote)
        if not yes:
            buying.confirm(f"Buy for {quote.total}?")
        job = buying.buy(client, quote, order.inputs, places.kept())
        travel.bought(order.inputs)
        if detach:
            buying.detached(job, as_json)
            return
        logged = buying.watch(client, job)
        reached("downloading and verifying")
        delivery = running.deliver(client, job, places, Progress())
    if as_json:
        emit(delivery.to_json(order))
    else:
        say()
        for line in delivery.lines(logged):
            say(line)
    reached("leaving")


def _show_options(definition: Any, as_json: bool) -> None:
    from prixfixe.cli.form import option_rows

    if as_json:
        emit({"bundle": definition.id, "version": definition.version, "definition": definition.to_json()})
        return
    click.echo(f"{definition.id} {definition.version}: {definition.title}\n\n{definition.summary.strip()}\n")
    click.echo(table((("  " + flag, text) for flag, text in option_rows(definition.parameters))))
    click.echo()
    click.echo(
        table(
            (f"  up to {tier.up_to:,} {tier.unit}", str(tier.price * count), tier.name, _said(count))
            for tier in definition.tiers
            for count in definition.replicas
        )
    )


def _said(replicas: int) -> str:
    return "" if replicas == 1 else f"--replicas {replicas}"


def _chain_time(client: Client) -> int | None:
    """The chain's clock, by which deadlines are kept; None when the service does not tell."""
    told = client.health().get("chain_time")
    return told if isinstance(told, int) else None


def _market(index: QuotedIndex) -> str:
    """What providers are paid, beside the flat price."""
    if index.p50 is None:
        return "no price index for this product yet"
    return f"a provider is paid {index.p50} a task at the middle ({index.status} index)"


def _offer(quote: Quote, order: Order, service_level: int, now: int | None) -> str:
    """What the person decides on."""
    left = f"{quote.balance - quote.total}" if quote.balance >= quote.total else "not enough"
    enough = quote.live_asks >= quote.replicas
    others = ", ".join(f"{each.asks} {each.reason}" for each in quote.excluded)
    workers = f"{quote.live_asks or 'none'} " + (
        "can take it now" if enough else "right now; it waits, or is refunded"
    )
    replicas = f"{quote.replicas} providers run it, and {quote.offer.quorum} must give the same result"
    rows = [
        ("bundle", f"{quote.bundle} {quote.version}"),
        ("input", f"{order.described()}, {size(order.bytes)}"),
        *(("sent", sentence) for sentence in order.saved),
        ("tier", f"{quote.tier}: {quote.units:,} {quote.unit}"),
        ("price", f"{quote.total}, and nothing beside it"),
        *([("replicas", replicas)] if quote.replicas > 1 else []),
        *([("market", _market(quote.index))] if quote.index is not None else []),
        ("result by", moment(quote.deliver_by, now)),
        (
            "else",
            f"the contract gives the full {quote.total} back: no result, bad input, a worker that fails",
        ),
        ("workers", workers),
        *([("runs", past_words(quote.past, "a run"))] if quote.past is not None else []),
        *([("others", others)] if others and not enough else []),
        *([("nearest", quote.nearest)] if quote.nearest and not enough else []),
        ("balance", f"{quote.balance}, then {left}"),
    ]
    return table(("  " + name, text) for name, text in rows)
