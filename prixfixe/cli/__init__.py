"""The command `prixfixe`.

Subcommands come from the entry points `prixfixe.commands`, so each package adds its own. Help lines stand
in a table here: printing `prixfixe --help` imports no command, and so no chain, HTTP or container library.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from prixfixe import __version__
from prixfixe.cli.failures import reported

# Name -> what the list of commands says. A command that another distribution adds is listed by its package's
# name.
HELP_LINES = {
    "run": "Run a bundle on your files for a flat price.",
    "submit": "Run any image, one task or thousands, at the market's price.",
    "quote": "See what tasks of any image would cost, and why.",
    "verify": "Check a receipt and results without trusting the service.",
    "challenge": "Dispute a result that was paid.",
    "jobs": "List, watch, download, cancel and refund your jobs.",
    "market": "See what is paid on this market.",
    "account": "Show your balance; move money in and out.",
    "webhooks": "Have servers of yours told what happens.",
    "keys": "Make and list the keys that sign for you.",
    "context": "Choose which market the commands talk to.",
    "pricing": "Set, test, schedule and explain flat prices.",
    "bundle": "Make, build and test bundles.",
    "dev": "Run a whole market on this machine.",
    "chain": "Look at the chain and deploy the contract.",
    "serve": "Run the service.",
    "admin": "Look after a service and its store.",
    "worker": "Sell this machine's time.",
    "arbiter": "Judge challenged results.",
}

# Who uses what, in the order in which the help shows it.
SECTIONS = (
    ("Buy", ("run", "submit", "quote", "jobs", "verify", "challenge", "market")),
    ("Own", ("account", "webhooks", "keys", "context")),
    ("Sell", ("worker", "bundle", "pricing")),
    ("Operate", ("dev", "serve", "admin", "chain", "arbiter")),
)

# Packages of the optional extras -> the extra that brings them.
_EXTRAS = {
    "alembic": "service",
    "fastapi": "service",
    "sqlalchemy": "service",
    "uvicorn": "service",
    "docker": "worker",
    "duckdb": "tables",
    "xlsxwriter": "tables",
}


class CommandGroup(click.Group):
    """A group whose commands are entry points, loaded when one is used; every known error ends as its
    sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_entry_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _entry_points().get(cmd_name)
        return None if point is None else _load(point)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _entry_points():
            import difflib

            near = difflib.get_close_matches(name, _entry_points(), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `prixfixe --help` lists the commands."
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        points = _entry_points()
        known = {name for _, names in SECTIONS for name in names}
        others = tuple(name for name in sorted(points) if name not in known)
        for title, names in (*SECTIONS, ("Added by other packages", others)):
            rows = [(name, _help_line(points[name])) for name in names if name in points]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        kwargs["standalone_mode"] = False
        own = not args and "args" not in kwargs  # whose process it is
        if own:
            # The HTTP library loads its own command, with all that colours it, wherever that is installed.
            sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        with reported():
            code = super().main(*args, **kwargs)
        status = code if isinstance(code, int) else 0
        if own:
            _leave(status)
        sys.exit(status)


def _leave(status: int) -> None:
    """End the process at once when nothing else of it runs: taking a hundred thousand objects apart, one by
    one, takes a fifth of a second. What was to be done at the end is done."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a closed pipe: Python's own end knows what to do
        return
    os._exit(status)


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="prixfixe.commands")}


def _help_line(point: EntryPoint) -> str:
    distribution = point.dist.name if point.dist is not None else point.value
    return HELP_LINES.get(point.name) or f"(from {distribution})"


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(missing)
        if extra is None:
            raise
        from prixfixe.errors import ConfigurationError

        raise ConfigurationError(
            f"`prixfixe {point.name}` needs the package {missing!r}, which is not installed",
            code="extra-missing",
            hint=f"install it: pip install 'prixfixe[{extra}]'",
        ) from error
    if not isinstance(command, click.Command):
        raise TypeError(f"entry point {point.name!r} is {point.value!r}, which is no click command")
    return command


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", prog_name="prixfixe")
def main() -> None:
    """Runs of ready-made applications at a flat price, paid on chain only when the result is there.

    \b
    First steps:
      prixfixe dev                     a whole market on this machine
      prixfixe run pivot sales.csv --rows region --columns year --values amount:sum
      prixfixe verify receipt.json sales-pivot.xlsx

    Every command has --help with examples, and --json for programs: one JSON object on standard output,
    everything else on standard error.
    """
