"""The command line against a real service on a loopback port, with a home of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prixfixe.cli import main
from prixfixe.cli.failures import set_json
from prixfixe.client.contexts import Context, save_context
from prixfixe.protocol import wire
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, World
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
    for name in ("SERVICE", "RPC", "CHAIN_ID", "CONTRACT", "KEY", "API_KEY", "CONTEXT", "PASSWORD_FILE"):
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


@contextmanager
def worker(
    world: World, ends: Callable[[World, wire.Job], None], customer: str = CUSTOMER.address
) -> Iterator[None]:
    """A worker in the background that takes the customer's first job and ends it by `ends`."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ends(world, first_job(world, customer))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()
    assert not failed, failed


def first_job(world: World, customer: str = CUSTOMER.address) -> wire.Job:
    """The customer's job once it has been bought."""
    deadline = time.monotonic() + 60
    mark = world.store.sequence({"lots"})
    while time.monotonic() < deadline:
        page, _ = world.services.jobs.page(customer, None, 1)
        if page:
            return page[0]
        world.store.wait({"lots"}, 1.0, since=mark)
    raise AssertionError("nobody bought anything")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,2\n")
    return path
