"""`scripts/docs`: the pages that are made from the code, and the proof that they are up to date.

docs/cli.md is what the commands' own --help prints; docs/errors.md is read from the tree of errors and from
every place that raises one; docs/http.md from the OpenAPI document that the service serves, docs/python.md
from the client's signatures and docstrings; docs/states.md is drawn from the state machines of the store.
Runs in .venv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain import docs_errors, docs_http, docs_python, docs_states
from toolchain.project import ROOT

ABOUT = "Writes docs/cli.md from the commands' --help, and errors, http, python and states from the code."

_CLI_HEAD = """\
# Commands

Every command, as its own `--help` tells it. This page is generated: `scripts/docs` writes it again, and
`scripts/check` fails when it differs.

Results go to standard output; prices, progress and questions go to standard error. With `--json` standard
output is one JSON object, also when a command fails: then it is `{"error": {...}}`, as [errors](errors.md)
describes it, with the exit codes. Money in it is, as in the API, a string of the token's smallest units:
`"5000000"` is $5.00.
"""


def cli_page() -> str:
    """docs/cli.md: a section a command, in the order of `prixfixe --help`; 80 columns wide on any
    terminal."""
    import click

    from prixfixe.cli import SECTIONS, main

    parts = [_CLI_HEAD, _section(("prixfixe",), main)]
    root = click.Context(main, info_name="prixfixe")
    known = [name for _, names in SECTIONS for name in names]
    for name in [*known, *(other for other in main.list_commands(root) if other not in known)]:
        command = main.get_command(root, name)
        if command is None:
            continue
        parts.append(_section(("prixfixe", name), command))
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=root)
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                parts.append(_section(("prixfixe", name, inner), found))
    return "\n".join(parts)


def _section(path: tuple[str, ...], command: object) -> str:
    import click
    from click.testing import CliRunner

    from prixfixe.cli import main

    assert isinstance(command, click.Command)
    shown = CliRunner().invoke(main, [*path[1:], "--help"], prog_name="prixfixe")
    if shown.exit_code != 0:
        raise RuntimeError(f"`{' '.join(path)} --help` ended with {shown.exit_code}: {shown.output}")
    return f"{'#' * (len(path) + 1)} {' '.join(path)}\n\n```\n{shown.stdout.rstrip()}\n```\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/cli.md": cli_page,
    "docs/errors.md": docs_errors.page,
    "docs/http.md": docs_http.page,
    "docs/python.md": docs_python.page,
    "docs/states.md": docs_states.page,
}


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/docs", description=ABOUT)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    chosen = parser.parse_args(given)
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if _read(path) == text:
            continue
        stale.append(name)
        if not chosen.check:
            path.write_text(text, encoding="utf-8")
            print(f"{name} written")
    if chosen.check and stale:
        print(f"out of date: {', '.join(stale)}; `scripts/docs` writes them again")
    return 1 if chosen.check and stale else 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
