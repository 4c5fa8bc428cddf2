"""`prixfixe worker logs` and `news`: what a worker says of itself, and what is new in it.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from worker.options import data_option, json_option


@click.command()
@click.argument("attempt", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0), default=50, show_default=True, help="How far back.")
@data_option
def logs(attempt: str | None, follow: bool, lines: int, data: Path) -> None:
    """Show what the worker said; with ATTEMPT, what it said of that one, and what its tasks print.

    ATTEMPT is an id, or its beginning, as `start` and the log name it. What tasks print belongs to their
    customers: it is shown while a task runs and kept nowhere on this machine after that. The worker's own log
    is `worker.log` in --data, 5 MiB and three older ones.
    """
    from worker.ownlog import own_lines, task_lines

    if attempt is None:
        for line in own_lines(data, lines, follow=follow):
            click.echo(line)
        return
    for line in own_lines(data, lines, follow=False, about=attempt):
        click.echo(line)
    for line in task_lines(data, attempt, follow=follow):
        click.echo(line)


@click.command()
@click.option("--since", metavar="VERSION", default=None, help="Else the version that ran here before.")
@data_option
@json_option
def news(since: str | None, data: Path, as_json: bool) -> None:
    """Show what is new since the version that this worker ran before."""
    from prixfixe import __version__
    from worker.notes import changelog, version_before
    from worker.notes import news as new_since

    before = since or version_before(data)
    text = new_since(changelog(), before)
    if as_json:
        click.echo(json.dumps({"version": __version__, "before": before, "news": text}))
        return
    if not text:
        click.echo(f"nothing is known to be new in {__version__}", err=True)
        return
    click.echo(text)
