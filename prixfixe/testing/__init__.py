"""For the tests of those who build on the market. Needs nothing but what the tested part needs.

`Market` is a whole market in the test's process, `MemoryChain` a chain that the test has in its hand, and
`prixfixe.testing.plugin` gives pytest the fixture `prixfixe_market`. `determinism` is for bundles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.testing.chain import MemoryChain
    from prixfixe.testing.market import IMAGE, Market, Task, TaskFailed, echo

__all__ = ["IMAGE", "Market", "MemoryChain", "Task", "TaskFailed", "echo"]


def __getattr__(name: str) -> Any:
    """Found when asked for: who only tests a bundle's determinism does not load a market."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = "chain" if name == "MemoryChain" else "market"
    return getattr(importlib.import_module(f"prixfixe.testing.{module}"), name)
