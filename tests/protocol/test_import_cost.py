"""The leaf is light: signing an order or asking for help loads no chain, HTTP or container library."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "web3",
    "eth_account",
    "eth_abi",
    "eth_utils",
    "eth_keyfile",
    "httpx",
    "pydantic",
    "fastapi",
    "sqlalchemy",
    "docker",
}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import prixfixe",
        "import prixfixe.protocol.orders, prixfixe.protocol.deals, prixfixe.protocol.signatures",
        "import prixfixe.protocol.outputs, prixfixe.protocol.product, prixfixe.keys",
        "import prixfixe.chain.client, prixfixe.chain.deployment; prixfixe.chain.events.decode.__doc__",
        "from prixfixe.chain import artefacts; artefacts.load('Market').function('settle')",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_the_package_alone_loads_nothing_of_ours_and_no_library() -> None:
    assert loaded_by("import prixfixe") & {"coincurve", "Crypto", "rfc8785", "click", "rich"} == set()
