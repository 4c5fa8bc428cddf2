from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.market import LocalMarket
from tests.support.scheduling import Service


@pytest.fixture(autouse=True)
def _database(database: str) -> None:
    """Every test here has a store."""


@pytest.fixture
def service(market: LocalMarket, tmp_path: Path) -> Iterator[Service]:
    """Store and duties over a real market on a real chain, with the market's offer listed."""
    made = Service(market, tmp_path)
    made.list_offer()
    yield made
    made.close()
