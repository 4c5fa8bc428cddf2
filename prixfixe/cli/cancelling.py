"""`prixfixe jobs cancel`: give up what no worker has started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.jobview import job_json
from prixfixe.cli.options import (
    JOB,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    open_signer,
    whole_id,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say
from prixfixe.client.endings import money_sentence

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Context
    from prixfixe.client.refund import LotState
    from prixfixe.keys import Signer
    from prixfixe.protocol.orders import Order


@click.command()
@JOB
@click.option("--on-chain", is_flag=True, help="Also close its free lots on the chain: final, for everybody.")
@click.option("--rpc", metavar="URL", help="The chain node for --on-chain; else the context's.")
@yes_option
@context_option
@key_option
@json_option
def cancel(
    job: str,
    on_chain: bool,
    rpc: str | None,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Cancel what no worker has started of a job.

    What no worker has is off the book at once, its money is free, and nothing is charged for it; what is
    matched and not started, its worker refuses, and the contract gives its price back. What a worker has
    started goes on and stays sold. The service will not match it again. The signed order itself stays valid
    until its end, or until --on-chain closes each free lot in a transaction, which costs a little of the
    chain's own coin.

    \b
    Examples:
      prixfixe jobs cancel 0x3fa9
      prixfixe jobs cancel 0x3fa9 --on-chain
    """
    job = whole_id(job)
    context = chosen_context(context_name, key)
    with open_client(context) as client:
        found = client.cancel(job)
    if not as_json:
        some = "" if found.ended_at is not None else "what no worker has started; "
        say(f"cancelled: {some}{money_sentence(found)}")
    closed = _close(context, rpc, job, yes) if on_chain else []
    if as_json:
        emit({**job_json(found), "transactions": closed})


def close_lots(
    market: MarketClient, signer: Signer, order: Order, states: Iterable[LotState]
) -> Iterable[tuple[int, str]]:
    """Cancel free lots on the chain, and say each; its index and its transaction's hash."""
    from prixfixe.client.refund import close_free

    for index, sent in close_free(market, signer, order, states):
        say(f"lot {index}: closed, it can never be matched (transaction {sent})")
        yield index, sent


def _close(context: Context, rpc: str | None, job: str, yes: bool) -> list[dict[str, Any]]:
    from prixfixe.client.keeping import kept_order
    from prixfixe.client.onchain_reader import NodeEvidence
    from prixfixe.client.refund import lot_states
    from prixfixe.errors import ConfigurationError
    from prixfixe.protocol.typed_data import parse_bytes32

    order = kept_order(job)
    if order is None:
        raise ConfigurationError(
            f"job {job} was not bought from this machine, so its signed order is not here",
            code="no-order",
            hint="close it where it was bought, or let it expire; the service will not match it",
        )
    market = open_market(context, rpc)
    chain = NodeEvidence(market.rpc, context.contract)
    states = lot_states(chain, parse_bytes32(job, name="job"), order.order.lots)
    free = [lot for lot in states if lot.state == "free"]
    if not free:
        say("no lot of it is free on the chain")
        return []
    if not yes:
        until = moment(order.order.expiry, chain.now())
        click.confirm(
            f"Send {len(free)} transaction(s)? Without them the order ends {until}", abort=True, err=True
        )
    return [
        {"lot": index, "transaction": sent}
        for index, sent in close_lots(market, open_signer(context), order.order, free)
    ]
