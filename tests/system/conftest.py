"""One devnet for all system tests: chain, contract, service and three workers as processes, real
containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.devnet import PIVOT, PROBE, Devnet, running_devnet


@pytest.fixture(scope="session")
def shared_devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with running_devnet(tmp_path_factory.mktemp("devnet"), bundles=(PROBE, PIVOT)) as devnet:
        yield devnet


@pytest.fixture
def devnet(shared_devnet: Devnet) -> Iterator[Devnet]:
    """The shared devnet, whole again after each test, with nobody's money lost."""
    owed = shared_devnet.all_money()
    yield shared_devnet
    shared_devnet.heal()
    assert shared_devnet.all_money() == owed, "money was made or lost"
