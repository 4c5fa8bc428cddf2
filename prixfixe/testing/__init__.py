"""For the tests of those who build on the market. Needs nothing but what the tested part needs.

`Market` is a whole market in the test's process, `MemoryChain` a chain that the test has in its hand, and
`prixfixe.testing.plugin` gives pytest the fixture `prixfixe_market`. `Histories` puts a market through
whatever may happen to it. `determinism` is for bundles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.testing.chain import MemoryChain
    from prixfixe.testing.histories import Histories
    from prixfixe.testing.market import IMAGE, Market
    from prixfixe.testing.purchase import Purchase
    from prixfixe.testing.work import Task, TaskFailed, echo

_MODULES = {
    "Histories": "histories",
    "IMAGE": "market",
    "Market": "market",
    "MemoryChain": "chain",
    "Purchase": "purchase",
    "Task": "work",
    "TaskFailed": "work",
    "echo": "work",
}
__all__ = ["IMAGE", "Histories", "Market", "MemoryChain", "Purchase", "Task", "TaskFailed", "echo"]


def __getattr__(name: str) -> Any:
    """Found when asked for: who only tests a bundle's determinism does not load a market."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"prixfixe.testing.{_MODULES[name]}"), name)
