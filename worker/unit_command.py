"""`prixfixe worker unit`: the worker as a service of the machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from worker.options import data_option


@click.command()
@click.option(
    "--user",
    metavar="NAME",
    default=None,
    help="Run as this user, a member of the group docker, shut off from the machine; disks are then watched.",
)
@click.option(
    "--drain", type=float, default=120.0, show_default=True, help="As for `worker start`, SECONDS at a stop."
)
@click.argument("words", nargs=-1, metavar="[-- OPTIONS OF START]")
@data_option
def unit(user: str | None, drain: float, words: tuple[str, ...], data: Path) -> None:
    """Print a systemd unit for the worker in --data.

    As root, and each task's disk a file system of its own; or with --user without root, and hardly anything
    of the machine in sight. Who may talk to a rootful engine can become root through it: --user protects
    against mistakes, a rootless engine against more.

    \b
    Example:
      prixfixe worker unit --data /var/lib/prixfixe -- --slots 4 --metrics 127.0.0.1:9464 \\
        > /etc/systemd/system/prixfixe-worker.service
      systemctl daemon-reload && systemctl enable --now prixfixe-worker
    """
    from worker.unit import unit as text_of

    # Of the environment that runs this, not of whichever comes first in the PATH of a service.
    beside = Path(sys.executable).with_name("prixfixe")
    program = [str(beside)] if beside.exists() else [shutil.which("prixfixe") or "prixfixe"]
    folder = data.absolute()
    scratch = () if user is None else ("--scratch", "watched")
    start = ["worker", "start", "--data", str(folder), "--drain", f"{drain:g}", *scratch, *words]
    click.echo(text_of(folder, [*program, *start], user=user, drain=drain), nl=False)
