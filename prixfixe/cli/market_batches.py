"""`prixfixe market batches | replay`: what the auction did, and whether it was honest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, named_market, open_client
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.replay import Replayed


@click.command()
@click.argument("product", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="How many.")
@context_option
@json_option
def batches(product: str | None, limit: int, context_name: str | None, as_json: bool) -> None:
    """List the auction's batches, newest first.

    Every lot of a batch is paid one price for each replica. The digest names the publication, which holds
    every order, every exclusion with its reason, the price, the seed and the fills; the contract emitted the
    same digest. `prixfixe market replay` checks all of it.
    """
    with open_client(chosen_context(context_name)) as client:
        found = client.batches(product, limit)
    if as_json:
        emit({"batches": [each.model_dump(mode="json") for each in found]})
    elif found:
        head = ("CLOSED", "PRODUCT", "NUMBER", "PRICE", "LOTS", "BIDS", "ASKS", "OUT", "DIGEST")
        lines = (
            (
                moment(each.closed_at).partition(",")[0],
                each.product.name,
                str(each.number),
                str(each.price),
                f"{each.fills:,}",
                f"{each.bids:,}",
                f"{each.asks:,}",
                f"{each.set_aside:,}",
                each.digest,
            )
            for each in found
        )
        click.echo(table(lines, head=head))
    else:
        say("no batch was cleared yet")


@click.command()
@click.argument("batch")
@click.option("--product", help="When BATCH is a number: of which product.")
@click.option("--rpc", metavar="URL", help="A chain node that you trust; else the context's.")
@click.option("--contract", metavar="ADDRESS", help="The market's contract; else the context's.")
@context_option
@json_option
def replay(
    batch: str,
    product: str | None,
    rpc: str | None,
    contract: str | None,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Compute a batch again, and say whether it was honest.

    BATCH is the digest, the number with --product, or a file with the publication. Checked are: that the
    contract emitted this very digest; that the seed is the hash of the block that it names; every order's
    signature; that the auction of these orders with this seed gives these exclusions, fills and this price;
    and that each fill has its deal on the chain, with these providers at this price. A file and a node
    suffice: with --rpc and --contract no service is asked. The exit code is 0 when the batch is honest and 10
    when it is not.

    \b
    Examples:
      prixfixe market replay 12 --product cpu-2x4/10m
      prixfixe market replay batch.json --rpc https://node.example \\
          --contract 0x5FbDB2315678afecb367f032d93F642f64180aa3
    """
    from prixfixe.chain.replay import replay as compute
    from prixfixe.errors import VerificationFailed
    from prixfixe.market.batch import Batch

    published = Batch.from_json(_publication(batch, product, context_name))
    found = compute(published, named_market(rpc, contract, context_name))
    if as_json and found.honest:
        emit(found.to_json())
    elif not as_json:
        click.echo("\n".join(_told(found)))
    if not found.honest:
        count = len(found.faults)
        raise VerificationFailed(
            f"the batch is not honest: {found.faults[0]}" + (f" (and {count - 1} more)" if count > 1 else ""),
            hint="keep the publication; with the chain it proves the fault to anyone",
            **found.to_json(),
        )


def _publication(batch: str, product: str | None, context_name: str | None) -> Any:
    from prixfixe.errors import InvalidInput

    path = Path(batch)
    if path.is_file():
        content = path.read_bytes()
    elif batch.startswith("0x") and len(batch) == 66:
        with open_client(chosen_context(context_name)) as client:
            content = client.publication(batch)
    elif batch.isascii() and batch.isdigit() and len(batch) < 10:
        if product is None:
            raise click.UsageError("a batch's number needs --product, which says of what")
        with open_client(chosen_context(context_name)) as client:
            content = client.publication(client.batch_digest(product, int(batch)))
    else:
        raise InvalidInput(
            f"{batch[:80]!r} is no file, no digest and no number",
            hint="`prixfixe market batches` lists the digests",
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{batch[:80]!r} is not JSON", code="bad-batch") from error


def _told(found: Replayed) -> list[str]:
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.product import Product

    batch = found.batch
    price = "-" if batch.cleared.price is None else str(Money(batch.cleared.price))
    rows = [
        ("batch", f"{batch.number} of {Product.from_bytes(batch.product).name}"),
        ("digest", "0x" + found.digest.hex()),
        ("price", price),
        (
            "orders",
            f"{len(batch.bids):,} bids, {len(batch.asks):,} asks, {len(batch.set_aside):,} kept out",
        ),
        ("fills", f"{len(batch.cleared.fills):,}, with {found.opened:,} deals on the chain"),
        *(("transaction", each) for each in found.transactions),
        *(("left out", each) for each in found.skipped),
        *(("note", each) for each in found.notes),
        *(("FAULT", each) for each in found.faults),
    ]
    return [table(rows), "", "The batch is honest." if found.honest else "The batch is NOT honest."]
