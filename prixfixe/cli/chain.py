"""`prixfixe chain`: put a market on a chain, and look at one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.chain_send import send
from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.chain.parameters import Policy, Roles

manifest_type = click.Path(dir_okay=False, path_type=Path)
rpc_option = click.option("--rpc", metavar="URL", help="The chain node; else the context's.")


@click.group()
def chain() -> None:
    """Look at the chain and deploy the contract.

    A market is one contract that holds the money. Its policy (how long a result can be disputed, what a
    provider keeps as surety, the largest fee) is fixed when it is deployed: another policy is another
    contract.

    \b
    Examples:
      prixfixe chain deploy --rpc http://127.0.0.1:8545 --key dev:0
      prixfixe chain show
      prixfixe chain show --manifest deployments/31337.json --rpc http://127.0.0.1:8545
      prixfixe chain send withdrawal.json
    """


chain.add_command(send)


@chain.command()
@click.option("--rpc", metavar="URL", required=True, help="The chain node to send to.")
@key_option
@click.option(
    "--token", metavar="ADDRESS", help="The dollar token; a local chain gets a play one by default."
)
@click.option(
    "--admin", metavar="ADDRESS", help="May set fee, roles, cap. Default on a local chain: the key."
)
@click.option("--pricing", metavar="ADDRESS", help="May publish and retire prices. Default: as --admin.")
@click.option(
    "--scheduler", metavar="ADDRESS", help="The service's operator, which matches. Default: as --admin."
)
@click.option("--pauser", metavar="ADDRESS", help="May stop new matches. Default: as --admin.")
@click.option("--arbiter", metavar="ADDRESS", help="Judges disputes. Default: as --admin.")
@click.option(
    "--window", type=click.IntRange(1), metavar="SECONDS", help="How long a result can be disputed."
)
@click.option(
    "--grace", type=click.IntRange(1), metavar="SECONDS", help="What a deal is given beside run time."
)
@click.option(
    "--notice", type=click.IntRange(0), metavar="SECONDS", help="From a price's retirement to its end."
)
@click.option("--surety", type=MoneyType(), help="What a provider keeps in its account to be matched.")
@click.option("--bond", type=MoneyType(), help="What a first challenge costs.")
@click.option("--arbiter-fee", type=MoneyType(), help="What a case costs; at most surety and bond.")
@click.option(
    "--max-fee-bps", type=click.IntRange(0, 10_000), help="Largest fee ever, in hundredths of a percent."
)
@click.option(
    "--deposit-cap", type=MoneyType(), help="The most that the market may hold; can be raised later."
)
@click.option(
    "--salt",
    type=click.IntRange(0, 2**256 - 1),
    default=0,
    metavar="NUMBER",
    help="Tells apart markets that are equal in all else. Default: 0.",
)
@click.option(
    "--out", type=manifest_type, help="Where the manifest is written. Default: deployments/CHAIN_ID.json."
)
@yes_option
@json_option
def deploy(
    rpc: str, key: str | None, salt: int, out: Path | None, yes: bool, as_json: bool, **options: Any
) -> None:
    """Deploy a market, check it on the chain, and write its manifest.

    On a chain with the deterministic deployment proxy (0x4e59...956C) the market's address follows from its
    code, token, policy, roles and salt, whoever sends it. Beside the manifest lies what a block explorer
    needs to show the sources: the compiler's input, and each contract's name, compiler and arguments.

    Everything is shown and asked first, because none of it but the deposit cap can be changed later. An
    existing manifest is never overwritten.

    \b
    Examples:
      prixfixe chain deploy --rpc http://127.0.0.1:8545 --key dev:0 --window 600
      prixfixe chain deploy --rpc https://node.example --key deployer \\
          --token 0x... --admin 0x... --scheduler 0x... --deposit-cap 50000
    """
    from prixfixe.chain import verification
    from prixfixe.chain.deployment import deploy as deploy_market
    from prixfixe.chain.deployment import manifest_path
    from prixfixe.chain.parameters import asks_arbiter, check_policy
    from prixfixe.chain.rpc import Rpc
    from prixfixe.errors import ConfigurationError, Conflict
    from prixfixe.keys import load_signer

    if key is None:
        raise ConfigurationError(
            "a deployment needs a key that pays for it", code="no-key", hint="name it: --key"
        )
    with Rpc(rpc) as node:
        chain_id = int(node.call("eth_chainId"), 16)
        path = out if out is not None else manifest_path(chain_id)
        if path.exists():
            raise Conflict(
                f"{path} describes a market already",
                hint="name another file with --out, or look at that one: prixfixe chain show --manifest",
            )
        signer = load_signer(key, chain_id=chain_id)
        policy, roles = _chosen(options, signer.address, chain_id)
        check_policy(policy, roles, chain_id)
        say(f"On chain {chain_id}, paid by {signer.address}:")
        asks = asks_arbiter(bytes.fromhex(node.call("eth_getCode", policy.arbiter, "latest")[2:]))
        token = ("token", options["token"] or "a play dollar")
        say(table([*_policy_rows(policy, asks), *_role_rows(roles), token]))
        if not yes:
            click.confirm("Deploy this market?", abort=True, err=True)
        deployment = deploy_market(node, signer, policy, roles, token=options["token"], salt=salt)
        deployment.save(path)
        verification.save(deployment, path)
    if as_json:
        emit({**deployment.to_json(), "manifest": str(path)})
        return
    click.echo(deployment.market)
    say(f"token {deployment.token}, block {deployment.block}; written to {path}")


@chain.command()
@click.option(
    "--manifest", type=manifest_type, help="A deployment manifest; it is checked against the chain."
)
@rpc_option
@context_option
@json_option
def show(manifest: Path | None, rpc: str | None, context_name: str | None, as_json: bool) -> None:
    """Show a market as the chain has it: policy, roles, fee, and what it holds.

    With --manifest it is first proven that the chain holds exactly that market: code, token and policy.
    """
    from prixfixe.cli.options import open_market

    if manifest is None:
        client, checked = open_market(chosen_context(context_name), rpc), False
    else:
        client, checked = _proven(manifest, rpc, context_name), True
    config, policy, block, now = client.config(), client.policy(), client.block(), client.time()
    asks = client.asks_arbiter()
    treasury, holds = client.account(client.contract), client.token_balance(client.contract)
    facts = {
        "chain_id": client.chain_id,
        "contract": client.contract,
        "token": client.token,
        "block": block.number,
        "time": now,
        "scheduler": config.scheduler,
        "fee_bps": config.fee_bps,
        "paused": config.paused,
        "held": str(config.held.units),
        "token_balance": str(holds.units),
        "treasury_free": str(treasury.free.units),
        "policy": policy.to_json(),
        "asks_arbiter": asks,
        "manifest_proven": checked,
    }
    if as_json:
        emit(facts)
        return
    rows = [
        ("contract", f"{client.contract} on chain {client.chain_id}"),
        ("token", client.token),
        ("latest block", f"{block.number}, {moment(now)}"),
        ("scheduler", config.scheduler),
        ("fee", _percent(config.fee_bps)),
        ("new matches", "stopped" if config.paused else "allowed"),
        ("owes", f"{config.held}, and holds {holds}"),
        ("treasury", f"{treasury.free} free"),
        *_policy_rows(policy, asks),
    ]
    click.echo(table(rows))
    if checked:
        say(f"the chain holds exactly what {manifest} describes")


def _chosen(options: dict[str, Any], deployer: str, chain_id: int) -> tuple[Policy, Roles]:
    """Policy and roles of the options; off a local chain the people must be named."""
    from dataclasses import replace

    from prixfixe.chain.parameters import Roles, default_policy
    from prixfixe.development_keys import is_local_chain
    from prixfixe.errors import ConfigurationError

    admin = options["admin"] or (deployer if is_local_chain(chain_id) else None)
    if admin is None:
        raise ConfigurationError(
            f"chain {chain_id} is not a local one: name who administers the market",
            code="no-admin",
            hint="--admin ADDRESS; in production a timelock or a multi-signature wallet",
        )
    roles = Roles(admin, *(options[name] or admin for name in ("pricing", "scheduler", "pauser")))
    given: dict[str, Any] = {
        name: options[name]
        for name in ("window", "grace", "notice", "max_fee_bps")
        if options[name] is not None
    }
    for name in ("surety", "bond", "arbiter_fee", "deposit_cap"):
        if options[name] is not None:
            given[name] = options[name].require_uint64(name)
    return replace(default_policy(options["arbiter"] or admin), **given), roles


def _proven(manifest: Path, rpc: str | None, context_name: str | None) -> MarketClient:
    """The client of a manifest's market, after the chain was found to hold exactly that."""
    from prixfixe.chain.deployment import Deployment
    from prixfixe.chain.rpc import Rpc
    from prixfixe.errors import ConfigurationError

    url = rpc or chosen_context(context_name).rpc
    if url is None:
        raise ConfigurationError("which chain node shall be asked?", code="no-rpc", hint="name it: --rpc URL")
    deployment, node = Deployment.load(manifest), Rpc(url)
    deployment.check(node)
    return deployment.client(node)


def _policy_rows(policy: Policy, asks_arbiter: bool) -> list[tuple[str, str]]:
    from prixfixe.protocol.money import Money

    return [
        ("window", f"{policy.window} s to dispute a result"),
        ("grace", f"{policy.grace} s beside the run time"),
        ("notice", f"{policy.notice} s from a price's retirement to its end"),
        ("surety", f"{Money(policy.surety)} that a provider keeps"),
        ("bond", f"{Money(policy.bond)} for a first challenge"),
        ("arbiter", f"{policy.arbiter}, {Money(policy.arbiter_fee)} a case"),
        (
            "a challenge",
            "calls the arbiter, a contract" if asks_arbiter else "calls nobody: the arbiter is a key",
        ),
        ("largest fee", _percent(policy.max_fee_bps)),
        ("deposit cap", str(Money(policy.deposit_cap))),
    ]


def _role_rows(roles: Roles) -> list[tuple[str, str]]:
    return [(name, getattr(roles, name)) for name in ("admin", "pricing", "scheduler", "pauser")]


def _percent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02d} %"
