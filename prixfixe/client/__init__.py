"""The HTTP client, sync and async, and what a customer keeps on its own machine: contexts, orders, sessions.

Every name is imported when it is first used, so that reading a context costs no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "AsyncClient": "prixfixe.client.asynchronous",
    "Client": "prixfixe.client.synchronous",
    "Context": "prixfixe.client.contexts",
    "verify": "prixfixe.client.verification",
}

__all__ = ["AsyncClient", "Client", "Context", "verify"]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'prixfixe.client' has no attribute {name!r}")
    return getattr(import_module(module), name)


if TYPE_CHECKING:
    from prixfixe.client.asynchronous import AsyncClient as AsyncClient
    from prixfixe.client.contexts import Context as Context
    from prixfixe.client.synchronous import Client as Client
    from prixfixe.client.verification import verify as verify
