"""The command line against a real service on a loopback port, with a home of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prixfixe.cli import main
from prixfixe.cli.failures import set_json
from prixfixe.client.contexts import Context, save_context
from tests.support.service import CHAIN_ID, CONTRACT, World
from tests.support.serving import served


@dataclass(frozen=True)
class Typed:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output."""
        (line,) = self.out.strip().splitlines()
        return json.loads(line)


class Terminal:
    """Types commands, and sees what a person would see."""

    def __call__(self, *arguments: str, answer: str | None = None) -> Typed:
        result = CliRunner().invoke(main, list(arguments), input=answer, standalone_mode=True)
        set_json(False)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Typed(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SERVICE", "RPC", "CHAIN_ID", "CONTRACT", "KEY", "CONTEXT", "PASSWORD_FILE"):
        monkeypatch.delenv(f"PRIXFIXE_{name}", raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("PRIXFIXE_HOME", str(folder))
    # A fault of ours shall fail the test with its trace, and not end as a sentence.
    monkeypatch.setenv("PRIXFIXE_TRACEBACK", "1")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def types() -> Terminal:
    return Terminal()


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Iterator[World]:
    """A service that answers on a port, with the echo bundle for sale and the customer's context current."""
    with served(tmp_path / "service") as (made, url):
        made.publish()
        save_context(Context("test", url, CHAIN_ID, CONTRACT, key="dev:3"))
        yield made


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,2\n")
    return path
