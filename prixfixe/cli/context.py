"""`prixfixe context`: which market the commands talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import json_option
from prixfixe.cli.output import emit, say, table

if TYPE_CHECKING:
    from prixfixe.client.contexts import Context


@click.group()
def context() -> None:
    """Choose which market the commands talk to.

    A context names a service, the contract and chain that it must serve, a chain node of your choice and a
    key. `prixfixe dev` adds one called "dev" and makes it current. The environment wins over the file:
    PRIXFIXE_CONTEXT, PRIXFIXE_SERVICE, PRIXFIXE_RPC, PRIXFIXE_CHAIN_ID, PRIXFIXE_CONTRACT, PRIXFIXE_KEY,
    PRIXFIXE_API_KEY.

    With the API key of a managed account there is no wallet, no chain node and no gas: the service signs,
    within the account's limits.

    \b
    Examples:
      prixfixe context list
      prixfixe context add work --service https://market.example --rpc https://node.example --key finance
      prixfixe context add work --service https://market.example --api-key file:~/.prixfixe-key
      prixfixe context use work
    """


@context.command(name="list")
@json_option
def list_contexts(as_json: bool) -> None:
    """List all contexts; a star marks the current one."""
    from prixfixe.client.contexts import load_contexts

    known = load_contexts()
    if as_json:
        emit({"current": known.current, "contexts": [_as_json(each) for each in known.contexts.values()]})
        return
    if not known.contexts:
        say("no contexts yet: start a local market with `prixfixe dev`, or see `prixfixe context add --help`")
        return
    click.echo(
        table(
            (
                (
                    "*" if name == known.current else " ",
                    name,
                    each.service,
                    str(each.chain_id),
                    each.api_key or each.key or "-",
                )
                for name, each in sorted(known.contexts.items())
            ),
            head=("", "NAME", "SERVICE", "CHAIN", "KEY"),
        )
    )


@context.command()
@click.argument("name", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """Show a context, by default the current one.

    What the environment changes in it is shown as changed.
    """
    from prixfixe.client.contexts import resolve_context

    chosen = resolve_context(name)
    if as_json:
        emit(_as_json(chosen))
        return
    click.echo(
        table((key, str(value if value is not None else "-")) for key, value in _as_json(chosen).items())
    )


@context.command()
@click.argument("name")
@json_option
def use(name: str, as_json: bool) -> None:
    """Make NAME the current context."""
    from prixfixe.client.contexts import use_context

    chosen = use_context(name)
    if as_json:
        emit(_as_json(chosen))
    else:
        say(f"now using {chosen.name}: {chosen.service}")


@context.command()
@click.argument("name")
@click.option("--service", required=True, metavar="URL", help="The service's address.")
@click.option("--chain-id", type=int, help="What chain it must be on; asked of --rpc, else of the service.")
@click.option(
    "--contract", metavar="ADDRESS", help="The market's contract; asked of the service when not given."
)
@click.option("--rpc", metavar="URL", help="A chain node that you trust: it proves receipts and refunds.")
@click.option("--key", metavar="KEY", help="Who signs: a keystore's name, command:PROGRAM or dev:N.")
@click.option(
    "--api-key",
    metavar="WHERE",
    help="Where a managed account's API key lies: file:PATH, command:PROGRAM or env:NAME; never the key.",
)
@click.option("--current/--not-current", default=True, help="Whether it becomes the current context.")
@json_option
def add(
    name: str,
    service: str,
    chain_id: int | None,
    contract: str | None,
    rpc: str | None,
    key: str | None,
    api_key: str | None,
    current: bool,
    as_json: bool,
) -> None:
    """Add a context, or replace the one of this name.

    Take chain id and contract from a source that you trust. Without them the service is asked once, and from
    then on held to its word: a service that names another contract later is refused.

    With --api-key neither key nor chain node is needed. A file is to be readable by you alone; a program,
    such as a password manager's, prints the key.

    \b
    Examples:
      prixfixe context add work --service https://market.example --key finance \\
        --chain-id 8453 --contract 0x5FbDB2315678afecb367f032d93F642f64180aa3
      prixfixe context add work --service https://market.example --api-key 'command:pass market/key'
    """
    from prixfixe.client.api_keys import require_spec
    from prixfixe.client.contexts import Context, save_context

    if key is not None and api_key is not None:
        raise click.UsageError("a context has one of --key and --api-key")
    if api_key is not None:
        require_spec(api_key)  # before the service is asked
    if chain_id is None or contract is None:
        asked_chain, asked_contract = _ask(service)
        if chain_id not in (None, asked_chain) or contract not in (None, asked_contract):
            raise click.UsageError(f"the service is on chain {asked_chain} with contract {asked_contract}")
        chain_id, contract = asked_chain, asked_contract
        say(f"the service says: contract {contract} on chain {chain_id}. Compare that with a trusted source.")
    made = Context(name, service, chain_id, contract, rpc, key, api_key)
    save_context(made, make_current=current)
    if as_json:
        emit(_as_json(made))
    else:
        say(f"added {name}{' and made it current' if current else ''}")


@context.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget the context NAME. Keys, orders and receipts stay."""
    from prixfixe.client.contexts import remove_context

    remove_context(name)
    say(f"forgot {name}")


def _ask(service: str) -> tuple[int, str]:
    """Chain id and contract, as a service that is not known yet names them."""
    import httpx

    from prixfixe.connections import connection_options
    from prixfixe.errors import Unavailable
    from prixfixe.protocol.wire import Market

    try:
        url = f"{service.rstrip('/')}/v1/market"
        answer = httpx.get(url, timeout=10, **connection_options(url))
        market = Market.model_validate(answer.json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Unavailable(
            f"{service} does not answer as a market",
            hint="check the address; it begins with http:// or https://",
        ) from error
    return market.chain_id, market.contract


def _as_json(chosen: Context) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(chosen)
