"""A client of a service in this process, with a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prixfixe.client import Client, Context
from tests.support.service import CHAIN_ID, CONTRACT, HOST, InProcess, World


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PRIXFIXE_HOME, and no setting of the developer's own."""
    for name in ("SERVICE", "RPC", "CHAIN_ID", "CONTRACT", "KEY", "API_KEY", "CONTEXT", "PASSWORD_FILE"):
        monkeypatch.delenv(f"PRIXFIXE_{name}", raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("PRIXFIXE_HOME", str(folder))
    return folder


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A service with the echo bundle published."""
    folder = tmp_path / "service"
    folder.mkdir()
    made = World(folder)
    made.publish()
    yield made
    made.close()


@pytest.fixture
def context() -> Context:
    """The customer's, dev:3 as tests/support has it."""
    return Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")


@pytest.fixture
def client(world: World, context: Context) -> Iterator[Client]:
    with Client(context, transport=InProcess(world.app)) as made:
        yield made


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,2\n")
    return path
