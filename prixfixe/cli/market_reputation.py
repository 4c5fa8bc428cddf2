"""`prixfixe market reputation`: what their deals say of providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, named_market, open_client
from prixfixe.cli.output import emit, say, table

if TYPE_CHECKING:
    from prixfixe.protocol.reputation import ProviderRecord, Reputation


@click.command()
@click.argument("provider", required=False)
@click.option("--from-chain", is_flag=True, help="Compute it here from the node's events.")
@click.option("--rpc", metavar="URL", help="The node for that; else the context's.")
@click.option("--contract", metavar="ADDRESS", help="The market's contract; else the context's.")
@context_option
@json_option
def reputation(
    provider: str | None,
    from_chain: bool,
    rpc: str | None,
    contract: str | None,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Show what the deals of the last 30 days say of PROVIDER, or of all.

    It decides between equal prices when a bundle or a flat bid is matched. Paid legs speak for a provider;
    legs that expired or were settled without its signature against it, refused ones a quarter of that. What
    is a week old counts half. proven comes before new, new before doubtful; a guilty one, whatever it asks,
    after everybody. The arithmetic is on the page about the market.

    With --from-chain it is computed from the contract's events through a node that you choose, and the
    service is not asked.

    \b
    Examples:
      prixfixe market reputation
      prixfixe market reputation 0x90F79bf6EB2c4f870365E785982E1f101E93b906 --from-chain
    """
    from prixfixe.protocol.addresses import parse_address

    if provider is not None:
        provider = parse_address(provider, name="PROVIDER")
    if from_chain:
        found = _computed(provider, rpc, contract, context_name)
    elif rpc is not None or contract is not None:
        raise click.UsageError("--rpc and --contract belong to --from-chain")
    else:
        with open_client(chosen_context(context_name)) as client:
            found = client.reputation(provider)
    if as_json:
        emit(found.model_dump(mode="json"))
    elif found.items:
        head = ("PROVIDER", "GRADE", "SCORE", "PAID", "UNSIGNED", "REFUSED", "EXPIRED", "GUILTY")
        click.echo(table((_row(each) for each in found.items), head=head))
    else:
        say("no provider has had a deal in the last 30 days")


def _computed(
    provider: str | None, rpc: str | None, contract: str | None, context_name: str | None
) -> Reputation:
    from prixfixe.chain.conduct import conduct_at
    from prixfixe.market.reputation import ranked

    conduct, block, time = conduct_at(named_market(rpc, contract, context_name))
    named = conduct.providers() if provider is None else [provider]
    return ranked((conduct.record(each, time) for each in named), block, time)


def _row(each: ProviderRecord) -> tuple[str, ...]:
    score = "-" if each.score is None else f"{each.score / 100:.1f} %"
    counts = (each.paid, each.unsigned, each.refused, each.expired, each.guilty)
    return (each.provider, each.grade, score, *(f"{count:,}" for count in counts))
