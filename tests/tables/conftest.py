"""Tables written as bytes, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prixfixe.tables import Engine, Preflight, preflight

PARAMETERS: dict[str, Any] = {
    "rows": ["account"],
    "columns": ["year"],
    "values": [{"column": "amount", "aggregates": ["sum", "count"]}],
}

Check = Callable[..., Preflight]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Writes bytes as table.csv and makes the preflight of a pivot of account by year of amount."""

    def run(data: bytes, /, name: str = "table.csv", **changes: Any) -> Preflight:
        path = tmp_path / name
        path.write_bytes(data)
        return preflight(path, {**PARAMETERS, **changes}, engine=Engine(threads=2, memory_mib=512))

    return run
