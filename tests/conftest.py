"""What every test may ask for: a local chain, and a market on it."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from marketplace.store.database import Store
from prixfixe.devnet.anvil import LocalChain, running_anvil
from prixfixe.late import recursion_limit_kept
from tests.support import postgres, s3
from tests.support.market import LocalMarket, deploy_local_market
from tests.support.postgres import PostgresServer
from tests.support.s3 import Bucket, S3Server
from tests.support.stores import migrated_store

# How long one example takes, or is made, is the machine's matter, which other programs share. Everybody's run
# has the same examples as the one before; new ones are looked for when an area is asked for by name.
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=os.environ.get("PRIXFIXE_TEST_SIZE") != "full",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    """Being told to end is an interrupt, so that fixtures stop the processes that they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.set_threshold(20_000)  # what tests import and collect stays
    with recursion_limit_kept():
        importlib.import_module("py_ecc")  # tests load it by other ways than the product does


def pytest_collection_finish() -> None:
    """A million objects of modules and tests stay to the end: looking through them for garbage took a seventh
    of the processor."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else a library that counts what it made says at the end that it leaked


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of a module that is marked `both_databases` runs on each. PRIXFIXE_TEST_DATABASE=postgresql
    runs every test with a store on PostgreSQL alone."""
    if "database" in metafunc.fixturenames:
        if (chosen := os.environ.get("PRIXFIXE_TEST_DATABASE")) is not None:
            metafunc.parametrize("database", [chosen], indirect=True)
        elif metafunc.definition.get_closest_marker("both_databases"):
            metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker that is stopped keeps the disk of a task for its next start, which a test may never make: the
    folder could not be removed by a later session."""
    yield
    root = tmp_path_factory.getbasetemp()
    for line in Path("/proc/mounts").read_text().splitlines():
        if Path(line.split()[1]).is_relative_to(root):
            subprocess.run(["umount", line.split()[1]], check=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole session."""
    with postgres.running_postgres(postgres.require_programs()) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One object store for the whole session. Ask for `bucket`, a place of the test's own in it."""
    with s3.running_s3() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A place in an object store, which this process's environment names."""
    s3.configure(monkeypatch, s3_server.url)
    return Bucket(s3_server, s3_server.address())


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """On which kind of database the test's stores are."""
    kind: str = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield kind
        return
    with postgres.choosing(request.getfixturevalue("postgres_server")):
        yield kind


@pytest.fixture
def postgres_pair(postgres_server: PostgresServer) -> Iterator[tuple[Store, Store]]:
    """As `pair`, on PostgreSQL."""
    url = postgres_server.database("pair")
    stores = Store(url), Store(url)
    yield stores
    for store in stores:
        store.close()
    postgres_server.clean()


@pytest.fixture
def pair(database: str, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two processes' views of one database."""
    stores = tuple(migrated_store(tmp_path / "prixfixe.db", shared=True) for _ in range(2))
    yield stores[0], stores[1]
    for store in stores:
        store.close()


@pytest.fixture(scope="session")
def anvil() -> Iterator[LocalChain]:
    """One anvil for the whole session. Ask for `chain`, which undoes what a test did."""
    with running_anvil() as chain:
        yield chain


@pytest.fixture(scope="session")
def deployed_market(anvil: LocalChain) -> LocalMarket:
    """A market deployed once on the session's chain. Ask for `market`, which undoes what a test did."""
    return deploy_local_market(anvil)


@pytest.fixture
def chain(anvil: LocalChain, deployed_market: LocalMarket) -> Iterator[LocalChain]:
    """A real local chain (anvil). All that the test does to it is undone."""
    with anvil.rolled_back():
        yield anvil


@pytest.fixture
def market(chain: LocalChain, deployed_market: LocalMarket) -> LocalMarket:
    """A market on `chain` with a funded customer, a provider with its surety, and an authorised worker
    key."""
    return deployed_market
