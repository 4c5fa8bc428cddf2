"""The public surface of `prixfixe` is this list and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import prixfixe

EXPORTS = [
    "AboveTier",
    "AsyncClient",
    "BadInputFound",
    "ChainError",
    "Client",
    "ConfigurationError",
    "Conflict",
    "DevelopmentKeyRefused",
    "EngineError",
    "Forbidden",
    "InsufficientFunds",
    "InvalidInput",
    "Job",
    "Money",
    "NotDelivered",
    "NotFound",
    "PriceChanged",
    "PrixfixeError",
    "Quote",
    "QuoteExpired",
    "Receipt",
    "Result",
    "SignatureError",
    "TaskResult",
    "Unauthorized",
    "Unavailable",
    "VerificationFailed",
    "Wish",
]


def test_the_exports_are_these() -> None:
    assert prixfixe.__all__ == ["__version__", *EXPORTS]
    assert set(dir(prixfixe)) >= set(EXPORTS)


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_can_be_imported(name: str) -> None:
    assert getattr(prixfixe, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = prixfixe.Nothing


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert prixfixe.__version__ == project["project"]["version"]
