"""How a command fails: a sentence, a hint, an exit code; with --json the problem as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from prixfixe.errors import PrixfixeError

INTERRUPTED = 130


class Interrupted(Exception):
    """Ctrl-C, with what it means for the person. message: what happens now; hint: what to type next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def reported() -> Iterator[None]:
    """Turn every error that a person can meet into its report and the process's exit code
    (prixfixe/errors.py)."""
    try:
        yield
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        if wants_json():
            _emit({"error": {"code": "usage", "detail": error.format_message(), "fault": "customer"}})
        error.show()
        sys.exit(error.exit_code)
    except Interrupted as stop:
        if wants_json():
            _emit({"error": {"code": "interrupted", "detail": stop.message, "hint": stop.hint or None}})
        _say(stop.message, stop.hint, "Interrupted")
        sys.exit(INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):
        if wants_json():
            _emit({"error": {"code": "interrupted", "detail": "interrupted"}})
        _say("stopped before it was done", "", "Interrupted")
        sys.exit(INTERRUPTED)
    except PrixfixeError as error:
        if wants_json():
            _emit({"error": error.to_problem()})
        _say(error.message, error.hint or "", "Error")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has what it wanted; a second error at shutdown would only confuse.
        sys.stdout = None
        sys.exit(0)


_state = {"json": False}


def set_json(wanted: bool) -> None:
    """Remember for this process that standard output is for a program."""
    _state["json"] = wanted


def wants_json() -> bool:
    return _state["json"]


def _emit(value: object) -> None:
    import json

    click.echo(json.dumps(value, ensure_ascii=False))


def _say(message: str, hint: str, title: str) -> None:
    click.echo(f"{title}: {message}", err=True)
    if hint:
        click.echo(f"  -> {hint}", err=True)
