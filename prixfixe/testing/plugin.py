"""For pytest: `pytest_plugins = ["prixfixe.testing.plugin"]` in a conftest.py gives the fixture
`prixfixe_market`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prixfixe.testing.market import Market
from prixfixe.testing.work import Run, echo


@pytest.fixture
def prixfixe_run() -> Run:
    """What a task of `prixfixe_market` does; a test's own fixture of this name puts another in its place."""
    return echo


@pytest.fixture
def prixfixe_market(prixfixe_run: Run) -> Iterator[Market]:
    """A market in memory for one test."""
    with Market(prixfixe_run) as market:
        yield market
