"""Options and manners that the commands of worker and arbiter share.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from prixfixe.logs import LogFormat, formatter

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.keys import Signer
    from prixfixe.protocol.benchmarks import Figures
    from prixfixe.protocol.wire import Market
    from worker.client import ServiceClient
    from worker.selftest import Verdict

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on standard output."
)
service_option = click.option(
    "--service",
    metavar="URL",
    envvar="PRIXFIXE_SERVICE",
    show_envvar=True,
    help="The market's API; else what `worker init` wrote down, or the current context's.",
)
rpc_option = click.option(
    "--rpc",
    metavar="URL",
    envvar="PRIXFIXE_RPC",
    show_envvar=True,
    help="A chain node that you trust: what it says decides whether a job is real; else as --service.",
)
contract_option = click.option(
    "--contract",
    metavar="ADDRESS",
    default=None,
    help="The market's contract; a service that names another is refused.",
)


class SizeType(click.ParamType[int]):
    """A size such as 20GiB or 512MiB, in MiB."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        for unit, mib in (("MiB", 1), ("GiB", 1 << 10), ("TiB", 1 << 20)):
            digits = value.removesuffix(unit)
            if digits != value and digits.isascii() and digits.isdigit() and int(digits):
                return int(digits) * mib
        return self.fail(f"{value!r} is no size such as 20GiB or 512MiB", param, ctx)


DATA: Final = Path("prixfixe-worker")
data_option = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    show_default=True,
    help="The worker's folder: its key, journal, input cache and task disks. One worker a folder.",
)
runtime_option = click.option(
    "--runtime",
    default="auto",
    show_default=True,
    help="Container runtime; runsc is gVisor. auto: gVisor for bids, where the engine has it, else runc.",
)
scratch_option = click.option(
    "--scratch",
    type=click.Choice(["auto", "loop", "watched", "carried"]),
    default="auto",
    show_default=True,
    help="How a task's disk is bounded: a file system of its own (root), a watched folder, or memory of an "
    "engine that sees none of our folders.",
)
whose_key_option = click.option(
    "--key", metavar="KEY", default=None, help="The worker's key, or its provider's; else that of --data."
)


def where(
    service: str | None, rpc: str | None, contract: str | None, data: Path | None = None
) -> tuple[str, str, str | None]:
    """Service, node and contract: what was given, for the rest what the worker in `data` was set up with, and
    else what the current context says of that service."""
    from worker.profile import Profile

    known = None if data is None else Profile.find(data)
    if known is not None and (service is None or service.rstrip("/") == known.service):
        service, rpc, contract = known.service, rpc or known.rpc, contract or known.contract
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


@contextmanager
def signed_in(
    service: str | None, rpc: str | None, contract: str | None, key: str | None, data: Path
) -> Iterator[tuple[ServiceClient, Signer]]:
    """The service with a session of this key, else of the worker's in `data`."""
    from worker.client import ServiceClient
    from worker.machine_key import open_key
    from worker.profile import Profile

    spec = key or Profile.of(data).key
    service, rpc, contract = where(service, rpc, contract, data)
    market, _ = market_of(service, rpc, contract)
    signer = open_key(data, spec, market.chain_id)
    client = ServiceClient(service)
    try:
        client.sign_in(signer)
        yield client, signer
    finally:
        client.close()


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


def address_of(text: str, name: str) -> str:
    """The address itself, or that of a key whose address is known here."""
    from prixfixe.client.setup import address_of_spec
    from prixfixe.protocol.addresses import parse_address

    return address_of_spec(text) or parse_address(text, name=name)


def show_verdict(verdict: Verdict) -> None:
    """A verdict of the self-test, for people."""
    click.echo(f"{verdict.level:4}  {verdict.name:18} {verdict.message}")
    if verdict.hint:
        click.echo(f"      {'':18} -> {verdict.hint}")


def figures_in_words(figures: Figures) -> str:
    """A benchmark, in a line."""
    return (
        f"SHA-256 {figures.integer_one / 1000:,.0f} MB/s on one processor, {figures.integer_all / 1000:,.0f}"
        f" on all; interpreter {figures.float_one / 1000:,.1f} and {figures.float_all / 1000:,.1f} million"
        f" operations/s; memory {figures.memory:,} MB/s; disk {figures.disk:,} MB/s"
    )


def log_to_stderr(as_json: bool, form: LogFormat = "text") -> None:
    """Diagnostics go to standard error; standard output belongs to events. as_json: of the events, so that
    only warnings are worth a line beside them, unless the log is to be read by programs too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form, "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("prixfixe.worker")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if as_json and form == "text" else logging.INFO)
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
