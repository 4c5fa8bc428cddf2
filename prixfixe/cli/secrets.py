"""`prixfixe jobs secrets`, and the part of `submit` that gives a job its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
    from prixfixe.protocol.wire import Job

secret_option = click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=FILE",
    help="A file at /run/secrets/NAME, sealed to each worker that gets the job. May be given often.",
)


@click.command()
@JOB
@secret_option
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
    found = read_secrets(secrets)
    with open_client(context) as client:
        known = client.job(whole_id(job))
        with giving(context, open_market(context, rpc), known, found) as given:
            ended = client.wait(known.id)
    if as_json:
        emit({"job": known.id, "state": ended.state, "given": len(given)})
    else:
        say(f"the job is {ended.state}")


def read_secrets(given: Sequence[str]) -> dict[str, bytes]:
    """What NAME=FILE name; InvalidInput when they cannot be the secrets of a job."""
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
    require_secrets(found, tuple(found))
    return found


@contextmanager
def giving(
    context: Context, market: MarketClient, job: Job, secrets: Mapping[str, bytes]
) -> Iterator[list[str]]:
    """Seal to whoever gets the job, for the length of the block; a line for each time is in the list."""
    from prixfixe.client.sealing import Giver
    from prixfixe.protocol.typed_data import parse_bytes32

    lines: list[str] = []
    if not secrets:
        yield lines
        return

    def tell(line: str) -> None:
        lines.append(line)
        say(line)

    # A client of its own: the other one reads the job's events meanwhile.
    with (
        open_client(context) as client,
        Giver(client, market, job.id, parse_bytes32(job.id, name="job"), secrets, tell),
    ):
        yield lines
