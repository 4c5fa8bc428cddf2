"""From a price to a job that is watched: the part that `run` and `submit` share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.failures import Interrupted
from prixfixe.cli.output import Progress, emit, say
from prixfixe.cli.times import reached

if TYPE_CHECKING:
    from prixfixe.client import Client
    from prixfixe.protocol.manifest import InputFile
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.wire import BidQuote, Job, Quote


def require_funds(client: Client, quote: Quote | BidQuote) -> None:
    """InsufficientFunds before anything is uploaded; the service and the contract refuse it too."""
    from prixfixe.errors import InsufficientFunds

    if quote.balance < quote.total:
        short = quote.total - quote.balance
        way = f"deposit it (`prixfixe account deposit {short.plain}`) and run again"
        if client.operations.is_managed:
            way = "pay it to the operator, who credits your account (`prixfixe account top-ups` shows it)"
        raise InsufficientFunds(
            f"the price is {quote.total} and your account holds {quote.balance}: {short} is missing",
            hint=f"nothing was ordered; {way}",
            balance=str(quote.balance.units),
            needed=str(quote.total.units),
        )


def confirm(question: str) -> None:
    """Ask; Interrupted unless the answer is yes."""
    try:
        agreed = click.confirm(question, err=True)
    except (click.Abort, KeyboardInterrupt):
        agreed = False
    if not agreed:
        raise Interrupted("nothing was ordered and nothing was charged", "--yes skips the question")


def agree(client: Client, quote: BidQuote, budget: Money | None, question: str, yes: bool) -> None:
    """Nothing is ordered beyond the budget or the balance, nor, without `yes`, before the person agrees."""
    from prixfixe.client.wishes import require_within

    require_within(budget, quote.total)
    require_funds(client, quote)
    if not yes:
        confirm(question)


def buy(
    client: Client,
    quote: Quote | BidQuote,
    files: Sequence[tuple[InputFile, Path]],
    kept: Mapping[str, str | None],
) -> Job:
    """Upload, sign, send. Says at every point what an interruption would mean. kept: where results shall go,
    and which bid it replaces, remembered with the order."""
    progress = Progress()
    reached("uploading")
    try:
        for file, path in files:
            client.upload(path, file, progress=progress.bytes(f"uploading {file.name}"))
    except KeyboardInterrupt:
        raise Interrupted(
            "nothing was ordered and nothing was charged",
            "run the command again: a large upload goes on where it stopped",
        ) from None
    finally:
        progress.close()
    signed = None
    reached("ordering")
    try:
        signed = client.order(quote, **kept)
        return client.buy(signed)
    except KeyboardInterrupt:
        if signed is None:
            raise Interrupted("nothing was ordered and nothing was charged") from None
        raise Interrupted(
            f"order {signed.job} was signed and may have reached the service; it is bought at most once",
            f"see whether it was: prixfixe jobs show {signed.job}",
        ) from None


def watch(client: Client, job: Job) -> frozenset[str]:
    """Show the job's events until its end; the lines of its log that were shown."""
    from prixfixe.cli import running
    from prixfixe.cli.jobview import follow
    from prixfixe.client.endings import money_sentence
    from prixfixe.errors import Unavailable

    say(f"  job {job.id}")
    reached("waiting for a worker")
    get_ready()
    try:
        return follow(client.events(job), Progress())
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job.id} goes on by itself; {money_sentence(job)}",
            f"prixfixe jobs watch {job.id[:12]}; while it waits also: prixfixe jobs cancel {job.id[:12]}",
        ) from None
    except Unavailable as silent:
        raise running.left_alone(client, job, silent) from silent


def get_ready(client: Client | None = None, *, sign_in: bool = False) -> None:
    """Load what buying and checking the receipt need beside what is done now: later it would hold us up.

    client: it asks for the market meanwhile. sign_in: it signs in too, when its key opens without asking
    anybody."""
    threading.Thread(target=_make_ready, args=(client, sign_in), name="ready", daemon=True).start()


def _make_ready(client: Client | None, sign_in: bool) -> None:
    if client is not None:
        from prixfixe.errors import PrixfixeError
        from prixfixe.keys import opens_unasked

        key = client.context.key
        with suppress(PrixfixeError):  # whoever needs it asks again, and tells
            client.perform(client.operations.market())
            if sign_in and key is not None and opens_unasked(key):
                client.perform(client.operations.authorization())
    import prixfixe.cli.receipts
    import prixfixe.client.onchain_reader
    import prixfixe.client.verification  # noqa: F401
    from prixfixe.protocol.receipt import Receipt
    from prixfixe.protocol.wire import Job, Market, Quote

    for message in (Market, Quote, Job, Receipt):
        message.model_rebuild()


def detached(job: Job, as_json: bool = False, secrets: Sequence[str] = ()) -> None:
    """The end of a command that does not wait. secrets: names of those that the job is still to be given."""
    from prixfixe.cli.jobview import job_json

    if as_json:
        emit(job_json(job))
        return
    click.echo(job.id)
    if secrets:
        files = "".join(f" --secret {name}=FILE" for name in secrets)
        say(f"give it its secrets: prixfixe jobs secrets {job.id[:12]}{files}")
    say(f"watch it: prixfixe jobs watch {job.id[:12]}; then: prixfixe jobs download {job.id[:12]}")
