"""`prixfixe worker status` and `withdraw`: how a worker and its provider's money stand.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.options import (
    contract_option,
    data_option,
    json_option,
    rpc_option,
    service_option,
    signed_in,
    whose_key_option,
)

if TYPE_CHECKING:
    from prixfixe.protocol.wire import WorkerStatus


@click.command()
@service_option
@rpc_option
@contract_option
@whose_key_option
@data_option
@json_option
def status(
    service: str | None, rpc: str | None, contract: str | None, key: str | None, data: Path, as_json: bool
) -> None:
    """Show how a worker is: whether it lives, what it did, what it earned.

    What the market knows of it; and of the worker in --data also whether it runs, its orders and its hours.
    """
    from worker.duty import Orders, is_running
    from worker.notes import service_differs, version_before
    from worker.schedule import Schedule
    from worker.states import read_states

    hours = Schedule.load(data)
    here: dict[str, Any] = {
        "running": is_running(data),
        "orders": Orders.load(data).state,
        "hours": None if hours is None else str(hours),
        "before": version_before(data),
        "states": read_states(data),
    }
    if key is None and not as_json:
        click.echo(_here(here, data))
        for each in here["states"]:
            since = time.strftime("%H:%M", time.localtime(each["since"]))
            click.echo(f"  {each['name']} since {since}: {each['message']}", err=True)
    with signed_in(service, rpc, contract, key, data) as (client, signer):
        found, version = client.status(signer.address), client.market().version
    if as_json:
        local = {"here": here} if key is None else {}
        click.echo(json.dumps({**found.model_dump(mode="json"), **local, "service_version": version}))
        return
    _show(found)
    if (differs := service_differs(version)) is not None:
        click.echo(f"  {differs}", err=True)


def _here(here: dict[str, Any], data: Path) -> str:
    """What this machine knows itself, in a line."""
    parts = ["runs" if here["running"] else "does not run: prixfixe worker start"]
    if here["orders"] != "work":
        parts.append({"pause": "paused", "drain": "draining"}[here["orders"]])
    if here["hours"] is not None:
        parts.append(f"works {here['hours']}")
    if here["before"] is not None:
        parts.append(f"version {here['before']} before: prixfixe worker news")
    return f"worker in {data}: {'; '.join(parts)}"


def _show(found: WorkerStatus) -> None:
    state = "silent" if not found.alive else "alive, takes no work" if found.draining else "alive"
    click.echo(f"{found.name} ({found.key}): {state}")
    if found.trouble is not None:
        click.echo(f"  {found.trouble}", err=True)
    click.echo(f"  provider {found.provider}: {found.free} free, {found.held} in dispute windows,"
               f" surety {found.surety}")  # fmt: skip
    click.echo(f"  deals: {found.running} running, {found.settled} settled, {found.failed} failed,"
               f" {found.lost} lost; earned {found.earned}")  # fmt: skip
    if found.benchmark is not None:
        from prixfixe.cli.output import moment
        from worker.options import figures_in_words

        said = found.benchmark.benchmark
        click.echo(f"  measured {moment(said.at).partition(',')[0]}: {figures_in_words(said.figures)}")
    if found.free < found.surety:
        click.echo("  no work comes while free money is below the surety: prixfixe worker init", err=True)


@click.command()
@click.argument("amount", required=False)
@click.option(
    "--to", metavar="ADDRESS", default=None, help="The wallet that gets it; else that of `worker init`."
)
@click.option("--all", "everything", is_flag=True, help="The surety too; no work comes after that.")
@click.option("--key", metavar="KEY", default=None, help="Your own key; else that of `worker init`.")
@click.option("--rpc", metavar="URL", default=None, help="The chain node; else that of `worker init`.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@data_option
@json_option
def withdraw(
    amount: str | None,
    to: str | None,
    everything: bool,
    key: str | None,
    rpc: str | None,
    yes: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Send what you have earned to your payout wallet.

    AMOUNT, else all that is free but the surety, so that work goes on. It shows what goes where and asks
    first. Only your own key can do it, one transaction whose gas its wallet pays; where that key is elsewhere
    use `prixfixe account withdraw` there. What can still be disputed waits and cannot be sent yet.

    The payout wallet is read from --data: look at it before you say yes, as whoever can write there could
    have changed it.
    """
    from prixfixe.chain.client import MarketClient
    from prixfixe.errors import ConfigurationError
    from prixfixe.keys import load_signer
    from prixfixe.protocol.addresses import parse_address
    from worker.payout import quote_payout
    from worker.profile import Profile

    profile = Profile.of(data)
    spec = key or profile.provider_key
    if spec is None:
        raise ConfigurationError(
            f"the key of provider {profile.provider} is not on this machine",
            code="no-provider-key",
            hint=f"where it is: prixfixe account withdraw AMOUNT --to {profile.payout} --key KEY",
            fault="provider",
        )
    market = MarketClient(rpc or profile.rpc, profile.contract, chain_id=profile.chain_id)
    target = parse_address(to, name="--to") if to is not None else profile.payout
    payout = quote_payout(market, profile.provider, target, amount, everything=everything)
    if not as_json or not yes:
        for line in payout.lines():
            click.echo(line, err=True)
    if not yes:
        click.confirm(f"Send {payout.amount} to {target}?", abort=True, err=True)
    signer = load_signer(spec, chain_id=profile.chain_id)
    payout.require_owner(signer.address)
    outcome = market.withdraw(signer, target, payout.amount)
    left = market.account(profile.provider).free
    if as_json:
        facts = {
            "provider": profile.provider,
            "to": target,
            "amount": str(payout.amount.units),
            "free": str(left.units),
            "transaction": outcome.transaction_hash,
        }
        click.echo(json.dumps(facts))
        return
    click.echo(f"sent {payout.amount} to {target} in transaction {outcome.transaction_hash}; {left} is left")
