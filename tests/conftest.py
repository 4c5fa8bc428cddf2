"""What every test may ask for: a local chain, and a market on it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from prixfixe.devnet.anvil import LocalChain, running_anvil
from tests.support.market import LocalMarket, deploy_local_market


def pytest_configure(config: pytest.Config) -> None:
    """Being told to end is an interrupt, so that fixtures stop the processes that they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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
