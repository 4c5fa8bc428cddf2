"""`prixfixe market replace`: a waiting bid at another price."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import (
    JOB,
    MoneyType,
    chosen_context,
    context_option,
    deadline_option,
    json_option,
    key_option,
    open_client,
    price_option,
    wait_option,
    whole_id,
    yes_option,
)
from prixfixe.cli.output import emit, say

if TYPE_CHECKING:
    from prixfixe.protocol.money import Money


@click.command()
@JOB
@price_option
@click.option("--budget", type=MoneyType(), help="The most for all of it; above, nothing is replaced.")
@wait_option
@deadline_option
@yes_option
@context_option
@key_option
@json_option
def replace(
    job: str,
    price: Money | None,
    budget: Money | None,
    wait: str,
    deadline: str | None,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Put a new bid for the same tasks in the place of JOB, a bid that waits.

    You see its price first. The old one leaves the book in the moment in which the new one stands there; if
    the new one is refused, the old one stays, and if the old one was matched meanwhile, the new one is
    refused. Only the new one's money is kept back. Without --price an auction offers what it did, and a flat
    bid what the asks say now.

    The service will not match the old one again. Its signature stays valid until its end; so that nobody else
    can match it either, close its lots on the chain: `prixfixe jobs cancel JOB --on-chain`.

    \b
    Examples:
      prixfixe market replace 0x3fa9 --price 0.02
      prixfixe market replace 0x3fa9 --price 0.02 --deadline 2h --yes --json
    """
    from prixfixe.cli import buying
    from prixfixe.cli.jobview import job_json
    from prixfixe.cli.submit import offer
    from prixfixe.devnet.duration import parse_duration

    job = whole_id(job)
    with open_client(chosen_context(context_name, key)) as client:
        quote = client.perform(
            client.operations.quote_replacement(
                job,
                price=price,
                wait_seconds=parse_duration(wait),
                deliver_seconds=None if deadline is None else parse_duration(deadline),
            )
        )
        say(offer(quote))
        say(f"  in the place of job {job[:12]}")
        buying.agree(client, quote, budget, f"Replace it, for at most {quote.total}?", yes)
        new = buying.buy(client, quote, (), {"result": None, "receipt": None, "replaces": job})
    if as_json:
        emit({**job_json(new), "replaced": job})
        return
    say(f"off the book: {job}")
    say(f"so that nobody else can match it before its end: prixfixe jobs cancel {job[:12]} --on-chain")
    buying.detached(new, secrets=quote.manifest.secrets)
