"""The command itself: help that loads nothing, errors that say what to do, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import click
import pytest

from prixfixe import cli
from prixfixe.cli.failures import TRACEBACK_VARIABLE, Interrupted, reported
from prixfixe.errors import ConfigurationError, InvalidInput
from tests.cli.conftest import Terminal

PROBE = """
import sys
from prixfixe.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
print(*sorted(name for name in sys.modules if name.startswith("prixfixe")), sep="\\n", file=sys.stderr)
foreign = {"web3", "httpx", "pydantic", "rich", "coincurve", "duckdb", "docker", "fastapi", "rfc8785"}
assert not foreign & set(sys.modules), foreign & set(sys.modules)
"""


def test_help_imports_no_command() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60
    )
    ours = done.stderr.split()
    assert set(ours) <= {"prixfixe", "prixfixe.cli", "prixfixe.cli.failures", "prixfixe.errors"}


def test_help_lists_every_command_with_its_line(types: Terminal) -> None:
    shown = types("--help").out
    names = {point.name for point in entry_points(group="prixfixe.commands")}
    assert names == set(cli.HELP_LINES)
    assert names == {name for _, section in cli.SECTIONS for name in section}
    for name, line in cli.HELP_LINES.items():
        assert f"  {name} " in shown
        assert line in shown


@pytest.mark.parametrize("name", sorted(cli.HELP_LINES))
def test_every_command_teaches_with_its_help(types: Terminal, name: str) -> None:
    shown = types(name, "--help")
    assert shown.code == 0
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    assert command.help
    examples = "prixfixe " + name
    if name in ("run", "verify", "jobs", "account", "keys", "context", "pricing"):
        assert "Examples:" in shown.out
        assert examples in shown.out


def test_a_mistyped_command_is_met_with_the_near_one(types: Terminal) -> None:
    shown = types("verfy")
    assert shown.code == 2
    assert "Did you mean 'verify'?" in shown.err


def test_a_command_whose_package_is_missing_says_what_to_install(
    types: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: EntryPoint) -> object:
        raise ModuleNotFoundError("No module named 'docker.errors'", name="docker.errors")

    monkeypatch.setattr(EntryPoint, "load", load)
    shown = types("worker", "start")
    assert shown.code == ConfigurationError.exit_code
    assert "pip install 'prixfixe[worker]'" in shown.err


def failing(error: BaseException) -> int:
    def fail() -> None:
        with reported():
            raise error

    with pytest.raises(SystemExit) as ended:
        fail()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_an_error_is_its_sentence_its_hint_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(InvalidInput("there is no column 'x'", hint="its columns are a, b")) == 3
    assert capsys.readouterr().err == "Error: there is no column 'x'\n  -> its columns are a, b\n"


def test_an_interruption_says_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(Interrupted("the job goes on", "watch it")) == 130
    assert failing(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("Stopped: the job goes on\n  -> watch it\n")


def test_a_fault_of_ours_shows_no_trace_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRACEBACK_VARIABLE)
    assert failing(RuntimeError("two readers disagree")) == 1
    told = capsys.readouterr().err
    assert "RuntimeError: two readers disagree" in told
    assert "Traceback" not in told


def test_errors_are_json_when_json_was_asked_for(types: Terminal) -> None:
    shown = types("jobs", "list", "--json")
    assert shown.code == 2
    assert shown.json["error"]["code"] == "no-context"
    assert types("jobs", "show", "--json").json["error"]["code"] == "usage"


@pytest.mark.parametrize("thread", ["", "threading.Thread(target=time.sleep, args=(0.1,)).start()"])
def test_a_command_ends_with_all_that_was_to_be_done_at_its_end(thread: str) -> None:
    program = (
        "import atexit, sys, threading, time\nfrom prixfixe.cli import main\n"
        f"atexit.register(print, 'done'); {thread}\nsys.argv = ['prixfixe', '--version']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["done"]
    assert done.stderr == ""


def test_no_command_of_another_library_is_loaded() -> None:
    program = (
        "import atexit, sys\nfrom prixfixe.cli import main\n"
        "def look():\n    import httpx\n    print('rich' in sys.modules, httpx.Client.__name__)\n"
        "atexit.register(look); sys.argv = ['prixfixe', '--version']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["False Client"]


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{os.path.dirname(sys.executable)}/prixfixe --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
