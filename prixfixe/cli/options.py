"""Options that many commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prixfixe.cli.failures import set_json
from prixfixe.logs import FORMATS

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Client, Context
    from prixfixe.keys import Signer
    from prixfixe.protocol.money import Money

F = TypeVar("F", bound=Callable[..., Any])


log_format_option = click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    envvar="PRIXFIXE_LOG_FORMAT",
    help="How the log on standard error is written: for people, or one JSON object a line.",
)


def _json_wanted(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    set_json(value)
    return value


# Eager, so that even a wrong argument is told to a program in JSON.
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_json_wanted,
    help="Print one JSON object on standard output; everything else goes to standard error.",
)
context_option = click.option(
    "--context", "context_name", metavar="NAME", help="The market to talk to; else the current context."
)
key_option = click.option(
    "--key",
    metavar="KEY",
    help="Who signs: a keystore's name or path, command:PROGRAM, or dev:N on a local chain.",
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
JOB = click.argument("job")


class MoneyType(click.ParamType[Any]):
    """Dollars such as 12.34, exact to a millionth."""

    name = "DOLLARS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        from prixfixe.errors import InvalidInput
        from prixfixe.protocol.money import Money

        if isinstance(value, Money):
            return value
        try:
            return Money.parse(str(value))
        except InvalidInput as error:
            self.fail(error.message, param, ctx)


price_option = click.option("--price", type=MoneyType(), help="The most per task, replicas and fee included.")
wait_option = click.option(
    "--wait", default="10m", show_default=True, metavar="TIME", help="How long for a match."
)
deadline_option = click.option(
    "--deadline", metavar="TIME", help="Result within this time, or the money is back."
)


def chosen_context(name: str | None, key: str | None = None) -> Context:
    """The context that a command was told to use, with the key that it was told to use: before an API key."""
    from prixfixe.client.contexts import resolve_context

    context = resolve_context(name)
    return context if key is None else replace(context, key=key, api_key=None)


def read_json(path: Path) -> Any:
    """A JSON file that somebody handed over; InvalidInput when it is none."""
    import json

    from prixfixe.errors import InvalidInput

    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON", code="bad-json-file") from error


def whole_id(job: str) -> str:
    """The whole id of a job that was given by its first digits."""
    from prixfixe.client.keeping import complete_job_id

    return complete_job_id(job)


def open_client(context: Context) -> Client:
    """A client that keeps its session for the next command."""
    from prixfixe.client import Client

    return Client(context, keep_sessions=True)


def open_signer(context: Context) -> Signer:
    """The context's key, opened: it may ask for a password."""
    from prixfixe.errors import ConfigurationError
    from prixfixe.keys import load_signer

    require_wallet(context)
    if context.key is None:
        raise ConfigurationError(
            f"the context {context.name!r} names no key", code="no-key", hint="name one with --key"
        )
    return load_signer(context.key, chain_id=context.chain_id)


def require_wallet(context: Context) -> None:
    """ConfigurationError where an API key speaks for the customer, who then has no key that signs."""
    from prixfixe.client.setup import api_key_of
    from prixfixe.errors import ConfigurationError

    if api_key_of(context) is not None:
        raise ConfigurationError(
            "this takes a key that signs, and an API key speaks for this account",
            code="needs-wallet",
            hint="the operator holds a managed account's key: `prixfixe account show` tells what you can do; "
            "to sign with a key of your own, name it with --key",
        )


def named_market(rpc: str | None, contract: str | None, context_name: str | None) -> MarketClient:
    """The contract that is named through the node that is named; what is not is the context's."""
    from prixfixe.chain.client import MarketClient
    from prixfixe.protocol.addresses import parse_address

    if rpc is not None and contract is not None:
        return MarketClient(rpc, parse_address(contract, name="--contract"))
    market = open_market(chosen_context(context_name), rpc)
    if contract is None:
        return market
    return MarketClient(market.rpc, parse_address(contract, name="--contract"))


def open_market(context: Context, rpc: str | None = None) -> MarketClient:
    """The contract, through the node that the person chose."""
    from prixfixe.chain.client import MarketClient
    from prixfixe.errors import ConfigurationError

    url = rpc or context.rpc
    if url is None:
        raise ConfigurationError(
            f"the context {context.name!r} names no chain node",
            code="no-rpc",
            hint="name one: --rpc URL, PRIXFIXE_RPC, or `prixfixe context add` with --rpc; or take another"
            " context: --context NAME",
        )
    return MarketClient(url, context.contract, chain_id=context.chain_id)
