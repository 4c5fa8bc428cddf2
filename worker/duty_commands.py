"""`prixfixe worker pause | resume | drain | schedule`: when a worker works.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.options import data_option, json_option

if TYPE_CHECKING:
    from worker.duty import State

_LOOK_SECONDS = 0.2


@click.command()
@data_option
@json_option
def pause(data: Path, as_json: bool) -> None:
    """Take no more work; what runs goes on.

    The running worker hears it at its next heartbeat and asks for nothing until `worker resume`, also after a
    restart. A task that was given to it before that is still run.
    """
    _order(data, "pause", "takes no more work; again: prixfixe worker resume", as_json)


@click.command()
@data_option
@json_option
def resume(data: Path, as_json: bool) -> None:
    """Take work again after `worker pause` or `worker drain`."""
    _order(data, "work", "takes work again", as_json)


@click.command()
@click.option("--no-wait", is_flag=True, help="Return at once; it ends by itself.")
@data_option
@json_option
def drain(no_wait: bool, data: Path, as_json: bool) -> None:
    """Take no more work and end once nothing runs, however long that takes.

    For a reboot or an update without a lost minute of anybody's work; SIGTERM waits only for `start --drain`
    seconds. Waits until the worker has ended; interrupted, the worker drains on. `worker resume` calls it
    off. The next `worker start` works again.
    """
    from prixfixe.errors import Conflict
    from worker.duty import is_running

    if not is_running(data):
        raise Conflict(f"no worker runs on {data}", code="not-running", fault="provider")
    _order(data, "drain", "ends when nothing runs any more", as_json and no_wait)
    if no_wait:
        return
    while is_running(data):
        time.sleep(_LOOK_SECONDS)
    if as_json:
        click.echo(json.dumps({"state": "drain", "running": False}))
    else:
        click.echo("it has ended")


@click.command()
@click.option(
    "--hours", "--nights", "hours", metavar="HH:MM-HH:MM", default=None, help="Work only between these times."
)
@click.option(
    "--days",
    metavar="DAYS",
    default="daily",
    help="On which days they begin: mon-fri, or sat,sun; else all.",
)
@click.option("--time-zone", metavar="NAME", default=None, help="Whose clock; else this machine's.")
@click.option("--always", is_flag=True, help="Work around the clock again.")
@data_option
@json_option
def schedule(
    hours: str | None, days: str, time_zone: str | None, always: bool, data: Path, as_json: bool
) -> None:
    """Show or set the hours in which this worker works.

    A running worker takes a change at its next heartbeat. It stops asking as long before its hours end as the
    longest product that it sells may take (of those that fit into the hours), so that tasks end within them;
    a lot of many tasks may go on past the end.

    \b
    Examples:
      prixfixe worker schedule --nights 22:00-06:00
      prixfixe worker schedule --hours 18:30-08:00 --days mon-fri --time-zone Europe/Paris
      prixfixe worker schedule --hours 00:00-24:00 --days sat,sun
      prixfixe worker schedule --always
    """
    from worker.duty import resting
    from worker.schedule import Schedule, local_zone

    if always and hours is not None:
        raise click.UsageError("--always or --hours, not both")
    if hours is None and (days != "daily" or time_zone is not None):
        raise click.UsageError("--days and --time-zone go with --hours")
    if hours is not None:
        Schedule.parse(hours, days, time_zone or local_zone()).save(data)
    elif always:
        Schedule.forget(data)
    found = Schedule.load(data)
    why = None if found is None else resting(found, (), time.time())
    if as_json:
        click.echo(json.dumps({"schedule": None if found is None else found.to_json(), "rests": why}))
        return
    click.echo("around the clock" if found is None else f"{found}: {why or 'works now'}")


def _order(data: Path, state: State, words: str, as_json: bool) -> None:
    from worker.duty import Orders, is_running

    Orders(state).save(data)
    running = is_running(data)
    if as_json:
        click.echo(json.dumps({"state": state, "running": running}))
    else:
        click.echo(f"the worker on {data} {words}" + ("" if running else " (none runs there now)"))
