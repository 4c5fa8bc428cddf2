"""Deploy a market: ape run deploy --network ethereum:local:foundry

On a local network the first test account deploys and has every role; elsewhere choose --account, --token and
the people. The manifest is the one that `prixfixe chain deploy` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.append(str(Path(__file__).resolve().parents[1]))

from ape.cli import ConnectedProviderCommand, network_option
from market import deploy

from ape import accounts, chain
from prixfixe.chain import verification
from prixfixe.chain.manifest import manifest_path
from prixfixe.chain.parameters import Roles, default_policy
from prixfixe.errors import PrixfixeError


@click.command(cls=ConnectedProviderCommand)
@network_option()
@click.option("--account", help="Alias of one of ape's accounts; on a local network the first test account.")
@click.option("--token", help="The dollar token; on a local network a play one is made.")
@click.option(
    "--admin", help="Default: the account. Off local networks a timelock or a multi-signature wallet."
)
@click.option("--pricing", help="Default: as admin.")
@click.option("--scheduler", help="Default: as admin.")
@click.option("--pauser", help="Default: as admin.")
@click.option("--arbiter", help="Default: as admin.")
@click.option("--salt", type=int, default=0, help="Tells apart markets that are equal in all else.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: deployments/CHAIN_ID.json above.")
def cli(
    account: str | None,
    token: str | None,
    admin: str | None,
    pricing: str | None,
    scheduler: str | None,
    pauser: str | None,
    arbiter: str | None,
    salt: int,
    out: Path | None,
) -> None:
    """Deploy a market; write its manifest, and beside it what proves its sources."""
    sender = accounts.load(account) if account else accounts.test_accounts[0]
    admin = admin or str(sender.address)
    path = out or manifest_path(chain.chain_id, Path(__file__).resolve().parents[2] / "deployments")
    if path.exists():
        raise click.ClickException(f"{path} describes a market already; name another file with --out")
    roles = Roles(admin, pricing or admin, scheduler or admin, pauser or admin)
    try:
        _, deployment = deploy(sender, default_policy(arbiter or admin), roles, chain.chain_id, token, salt)
    except PrixfixeError as error:
        raise click.ClickException(f"{error.message}{f' -> {error.hint}' if error.hint else ''}") from error
    deployment.save(path)
    verification.save(deployment, path)
    click.echo(f"market {deployment.market}, token {deployment.token}; written to {path}")
