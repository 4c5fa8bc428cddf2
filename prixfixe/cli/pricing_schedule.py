"""`prixfixe pricing apply`, `schedule` and `run-schedule`: prices that change in two steps, or at a time.

The schedule lies on the desk's machine, beside its keys, and is carried out there: a service that could
publish by itself would hold the pricing key (decision 0015).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, key_option, yes_option
from prixfixe.cli.output import emit, moment, say, table
from prixfixe.cli.pricing_desk import RPC

if TYPE_CHECKING:
    from prixfixe.cli.price_schedule import Entry
    from prixfixe.errors import PrixfixeError


@click.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--digest", metavar="HEX", help="Refuse any other plan than this one.")
@RPC
@yes_option
@context_option
@key_option
@json_option
def apply(
    plan: Path,
    digest: str | None,
    rpc: str | None,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Publish what a plan file says, and nothing else.

    The second of two steps: `pricing publish FOLDER --plan FILE` wrote the plan, somebody looked at it, and
    its digest says that it is still that one. Roles, treasury, clock and stop rules are checked again. The
    image must still be on this machine's engine.

    \b
    Example:
      prixfixe pricing apply plan.json --digest d1f3d329... --key pricing
    """
    from prixfixe.cli.price_plan import PricePlan, carry_out
    from prixfixe.errors import Conflict

    made = PricePlan.load(plan)
    if digest is not None and digest.lower().removeprefix("0x") != made.digest:
        raise Conflict(f"{plan} has the digest {made.digest}, not {digest}", code="plan-changed")
    context = chosen_context(context_name, key)
    done = carry_out(made, context, rpc, ask=not yes)
    if as_json:
        emit(done)
    else:
        say(f"{made.definition.id} {made.definition.version} is for sale")


@click.command()
@click.option("--at", metavar="TIME", help="UTC, such as 2026-12-01T08:00, or +2h from now.")
@click.option(
    "--plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Publish this plan then."
)
@click.option("--retire", metavar="BUNDLE", help="Take this bundle off sale then.")
@click.option("--version", metavar="VERSION", help="Which version of it.")
@click.option("--note", default="", help="Why it is retired; a plan has its own.")
@click.option("--cancel", metavar="ID", help="Forget an entry that waits.")
@context_option
@json_option
def schedule(
    at: str | None,
    plan: Path | None,
    retire: str | None,
    version: str | None,
    note: str,
    cancel: str | None,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Publish or retire at a time; without options, list what is scheduled.

    The schedule lies on this machine, where the pricing key is, and `prixfixe pricing run-schedule` carries
    it out: let cron or a systemd timer call that. No service ever holds the key.

    \b
    Examples:
      prixfixe pricing publish bundles/pivot --plan winter.json --note "winter prices"
      prixfixe pricing schedule --plan winter.json --at 2026-12-01T08:00
      prixfixe pricing schedule --retire pivot --version 1.0.0 --at 2026-12-01T09:00
      prixfixe pricing run-schedule --key pricing
    """
    from prixfixe.cli.price_plan import PricePlan
    from prixfixe.cli.price_schedule import Entry, Schedule, parse_moment

    context = chosen_context(context_name)
    kept = Schedule(context)
    if cancel is not None:
        kept.remove(cancel)
    elif plan is not None or retire is not None or at is not None:
        if (plan is None) == (retire is None) or at is None:
            raise click.UsageError("name a time and one thing to do: --at TIME with --plan or with --retire")
        if retire is not None and version is None:
            raise click.UsageError("--retire needs --version: which one is sold then is not known now")
        when = parse_moment(at, time.time())
        if plan is not None:
            made = PricePlan.load(plan)
            made.require_here(context)
            document: dict[str, Any] = {**made.to_json(), "digest": made.digest}
            kept.put(Entry(f"{when}-{made.digest[:8]}", when, document, None))
        else:
            what = {"bundle": str(retire), "version": str(version), "note": note}
            kept.put(Entry(f"{when}-{retire}-{version}", when, None, what))
    found = kept.entries()
    if as_json:
        emit({"schedule": [entry.to_json() for entry in found]})
    elif found:
        click.echo(table((_row(entry) for entry in found), head=("ID", "AT", "WHAT", "STATE")))
    else:
        say("nothing is scheduled")


@click.command(name="run-schedule")
@RPC
@context_option
@key_option
@json_option
def run_schedule(rpc: str | None, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Carry out what is due of the schedule, without asking.

    What fails (a stop rule, an empty treasury, a silent service) stays due and is tried by the next call;
    the exit code says so. What was done is kept and never done again; one that was interrupted is finished,
    as publishing twice changes nothing.
    """
    from dataclasses import replace

    from prixfixe.cli.price_schedule import Schedule, execute
    from prixfixe.errors import PrixfixeError

    context = chosen_context(context_name, key)
    kept = Schedule(context)
    now = time.time()
    done, failed = [], []
    for entry in kept.entries():
        if entry.done is not None or entry.at > now:
            continue
        try:
            execute(entry, context, rpc)
        except PrixfixeError as error:
            failed.append({"id": entry.id, "error": _told(error)})
            say(f"{entry.words}: {_told(error)}")
        else:
            kept.put(replace(entry, done=int(time.time())))
            done.append(entry.id)
            say(f"{entry.words}: done")
    if as_json:
        emit({"done": done, "failed": failed})
    if failed:
        raise click.exceptions.Exit(1)


def _row(entry: Entry) -> tuple[str, ...]:
    if entry.done is not None:
        state = f"done {moment(entry.done).partition(',')[0]}"
    else:
        state = "due" if entry.at <= time.time() else "waits"
    return entry.id, moment(entry.at), entry.words, state


def _told(error: PrixfixeError) -> str:
    """An error as one line."""
    return f"{error.message} ({error.hint})" if error.hint else error.message
