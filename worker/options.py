"""Options and manners that the commands of worker and arbiter share.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.protocol.wire import Market

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on standard output."
)
service_option = click.option(
    "--service",
    metavar="URL",
    envvar="PRIXFIXE_SERVICE",
    show_envvar=True,
    help="The market's API; else the current context's.",
)
rpc_option = click.option(
    "--rpc",
    metavar="URL",
    envvar="PRIXFIXE_RPC",
    show_envvar=True,
    help="A chain node that you trust: what it says decides whether a job is real; else the context's.",
)
contract_option = click.option(
    "--contract",
    metavar="ADDRESS",
    default=None,
    help="The market's contract; a service that names another is refused.",
)
data_option = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-worker"),
    show_default=True,
    help="Journal, input cache and task disks. One worker a folder.",
)


def where(service: str | None, rpc: str | None, contract: str | None) -> tuple[str, str, str | None]:
    """Service, node and contract: what was given, and for the rest what the current context says of that
    service."""
    if service is not None and rpc is not None:
        return service, rpc, contract
    from prixfixe.client.contexts import resolve_context
    from prixfixe.errors import ConfigurationError

    context = resolve_context()
    if service is not None and service.rstrip("/") != context.service.rstrip("/"):
        raise ConfigurationError(
            f"the context {context.name!r} is of another service than {service}",
            code="context-elsewhere",
            hint="name a chain node of that market with --rpc",
        )
    node = rpc or context.rpc
    if node is None:
        raise ConfigurationError(
            f"the context {context.name!r} names no chain node", code="no-rpc", hint="name one with --rpc"
        )
    return context.service, node, contract or context.contract


def market_of(service: str, rpc: str, contract: str | None) -> tuple[Market, MarketClient]:
    """The market as the service names it, and its contract behind the provider's own node."""
    from prixfixe.chain.client import MarketClient
    from worker.client import ServiceClient, require_market

    client = ServiceClient(service)
    try:
        market = client.market()
    finally:
        client.close()
    require_market(market, contract)
    return market, MarketClient(rpc, market.contract, chain_id=market.chain_id)


def log_to_stderr(as_json: bool) -> None:
    """Diagnostics go to standard error; standard output belongs to events."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    logger = logging.getLogger("prixfixe.worker")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if as_json else logging.INFO)
    logger.propagate = False


def emitter(as_json: bool, words: Mapping[str, str]) -> Any:
    """Says events on standard output. words: event -> sentence with its facts in braces, for people; events
    without one are shown as they are."""

    def emit(event: str, facts: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps({"event": event, **facts}))
        elif event in words:
            click.echo(words[event].format(**facts))
        else:
            click.echo(f"{event} {' '.join(f'{name}={value}' for name, value in facts.items())}".rstrip())
        sys.stdout.flush()

    return emit
