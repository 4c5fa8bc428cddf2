"""Prixfixe: runs of containers at a flat price, bought from an open auction, settled by a contract.

The public surface. Every name is imported when it is first used (PEP 562), so `import prixfixe` costs nothing
and a command that only prints help never loads a chain library.

    from prixfixe import Client
    quote = Client().quote("pivot", ...)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Exported name -> the module that defines it. tests/leaf/test_exports.py holds this list.
_EXPORTS = {
    "AboveTier": "prixfixe.errors",
    "AsyncClient": "prixfixe.client",
    "BadInputFound": "prixfixe.client.endings",
    "ChainError": "prixfixe.errors",
    "Client": "prixfixe.client",
    "ConfigurationError": "prixfixe.errors",
    "Conflict": "prixfixe.errors",
    "DevelopmentKeyRefused": "prixfixe.errors",
    "EngineError": "prixfixe.errors",
    "Forbidden": "prixfixe.errors",
    "InsufficientFunds": "prixfixe.errors",
    "InvalidInput": "prixfixe.errors",
    "Job": "prixfixe.protocol.wire",
    "Money": "prixfixe.protocol.money",
    "NotDelivered": "prixfixe.client.endings",
    "NotFound": "prixfixe.errors",
    "PriceChanged": "prixfixe.errors",
    "PrixfixeError": "prixfixe.errors",
    "Quote": "prixfixe.protocol.wire",
    "QuoteExpired": "prixfixe.errors",
    "Receipt": "prixfixe.protocol.receipt",
    "Result": "prixfixe.client.results",
    "SignatureError": "prixfixe.errors",
    "TaskResult": "prixfixe.client.wishes",
    "Unauthorized": "prixfixe.errors",
    "Unavailable": "prixfixe.errors",
    "VerificationFailed": "prixfixe.errors",
    "Wish": "prixfixe.client.wishes",
}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'prixfixe' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


if TYPE_CHECKING:
    from prixfixe.client import AsyncClient as AsyncClient
    from prixfixe.client import Client as Client
    from prixfixe.client.endings import BadInputFound as BadInputFound
    from prixfixe.client.endings import NotDelivered as NotDelivered
    from prixfixe.client.results import Result as Result
    from prixfixe.client.wishes import TaskResult as TaskResult
    from prixfixe.client.wishes import Wish as Wish
    from prixfixe.errors import AboveTier as AboveTier
    from prixfixe.errors import ChainError as ChainError
    from prixfixe.errors import ConfigurationError as ConfigurationError
    from prixfixe.errors import Conflict as Conflict
    from prixfixe.errors import DevelopmentKeyRefused as DevelopmentKeyRefused
    from prixfixe.errors import EngineError as EngineError
    from prixfixe.errors import Forbidden as Forbidden
    from prixfixe.errors import InsufficientFunds as InsufficientFunds
    from prixfixe.errors import InvalidInput as InvalidInput
    from prixfixe.errors import NotFound as NotFound
    from prixfixe.errors import PriceChanged as PriceChanged
    from prixfixe.errors import PrixfixeError as PrixfixeError
    from prixfixe.errors import QuoteExpired as QuoteExpired
    from prixfixe.errors import SignatureError as SignatureError
    from prixfixe.errors import Unauthorized as Unauthorized
    from prixfixe.errors import Unavailable as Unavailable
    from prixfixe.errors import VerificationFailed as VerificationFailed
    from prixfixe.protocol.money import Money as Money
    from prixfixe.protocol.receipt import Receipt as Receipt
    from prixfixe.protocol.wire import Job as Job
    from prixfixe.protocol.wire import Quote as Quote
