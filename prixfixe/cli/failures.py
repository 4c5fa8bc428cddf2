"""How a command fails: a sentence, a hint, an exit code; with --json the problem as one JSON object."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from prixfixe.errors import PrixfixeError

INTERRUPTED = 130
# Set to anything: a fault of ours is shown with its whole trace.
TRACEBACK_VARIABLE = "PRIXFIXE_TRACEBACK"


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
        _say(stop.message, stop.hint, "Stopped")
        sys.exit(INTERRUPTED)
    except click.Abort:  # a question that was answered with no, with Ctrl-C, or that nobody could answer
        if wants_json():
            _emit({"error": {"code": "not-confirmed", "detail": "not confirmed", "fault": "customer"}})
        _say("not confirmed, so nothing was done", "--yes skips the question", "Stopped")
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        if wants_json():
            _emit({"error": {"code": "interrupted", "detail": "interrupted"}})
        _say("interrupted before it was done", "", "Stopped")
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
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        fault = f"a fault of prixfixe itself: {type(error).__name__}: {error}"
        if wants_json():
            _emit({"error": {"code": "error", "detail": fault, "fault": "platform"}})
        _say(
            fault,
            f"please report it, with what {TRACEBACK_VARIABLE}=1 shows before the same command",
            "Error",
        )
        sys.exit(1)


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
