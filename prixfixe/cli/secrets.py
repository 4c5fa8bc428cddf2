"""`prixfixe jobs secrets`, and the part of `submit` that gives a job its secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prixfixe.cli.options import (
    JOB,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    whole_id,
)
from prixfixe.cli.output import emit, say

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Context
    from prixfixe.client.sealing import Giver

F = TypeVar("F", bound=Callable[..., Any])


def secret_option(*, required: bool = False) -> Callable[[F], F]:
    """`--secret NAME=FILE`."""
    return click.option(
        "--secret",
        "secrets",
        multiple=True,
        required=required,
        metavar="NAME=FILE",
        help="A file at /run/secrets/NAME, sealed to each worker that gets the job. May be given often.",
    )


@click.command()
@JOB
@secret_option(required=True)
@click.option("--rpc", metavar="URL", help="A chain node that you trust; else the context's.")
@context_option
@key_option
@json_option
def secrets(
    job: str,
    secrets: tuple[str, ...],
    rpc: str | None,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Give JOB its secrets, as long as it runs.

    For an order that was left alone, or made with --detach: a worker that gets the job waits a minute for
    its secrets, then the money is back. They are sealed on this machine to the key of each worker that the
    contract names for this order, checked on the chain; the service cannot open them.

    \b
    Example:
      prixfixe jobs secrets 0x3fa9 --secret token=token.txt
    """
    context = chosen_context(context_name, key)
    # The order that the person means. An id of the service's could be another's, whose deal names its worker.
    job = whole_id(job)
    found = read_secrets(secrets, _names(job))
    with open_client(context) as client, giving(context, open_market(context, rpc), job, found) as giver:
        ended = client.wait(job)
    if as_json:
        emit({"job": job, "state": ended.state, "given": giver.workers})
    else:
        say(f"the job is {ended.state}")


def _names(job: str) -> tuple[str, ...] | None:
    """What secrets an order takes; None when it was not made on this machine."""
    from prixfixe.client.keeping import kept_order

    kept = kept_order(job)
    return None if kept is None else kept.quote.manifest.secrets


def read_secrets(given: Sequence[str], names: tuple[str, ...] | None = None) -> dict[str, bytes]:
    """What NAME=FILE name; InvalidInput when they cannot be the secrets of a job. names: those that it takes,
    where that is known."""
    from prixfixe.cli.submit import pairs
    from prixfixe.errors import InvalidInput
    from prixfixe.protocol.secrets import require_secrets

    found = {}
    for name, file in pairs("--secret", given).items():
        try:
            found[name] = Path(file).read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"the secret {name} cannot be read: {file}: {error.strerror}", code="no-secret-file"
            ) from error
    require_secrets(found, tuple(found) if names is None else names)
    return found


@contextmanager
def giving(context: Context, market: MarketClient, job: str, secrets: Mapping[str, bytes]) -> Iterator[Giver]:
    """Seal to whoever gets the job, for the length of the block. job: the order's digest as this machine
    knows it."""
    from prixfixe.client.sealing import Giver

    # A client of its own: the other one reads the job's events meanwhile.
    with open_client(context) as client, Giver(client, market, job, secrets, say) as giver:
        yield giver
