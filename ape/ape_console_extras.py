"""Names that `ape console` starts with: market(address or manifest), container(name), policy, Money, Product.

cd ape && ../.venv-ape/bin/ape console --network ethereum:local:foundry
In [1]: m = market("../deployments/31337.json")
In [2]: m.account(accounts.test_accounts[0])
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))

import market as _market
from ape.contracts import ContractInstance

from prixfixe.chain.manifest import Deployment
from prixfixe.chain.parameters import Policy, Roles, default_policy
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product


def market(where: str) -> ContractInstance:
    """The market at an address, or of a manifest file."""
    address = where if where.startswith("0x") else Deployment.load(Path(where)).market
    return _market.container("Market").at(address)


def ape_init_extras(**_: Any) -> dict[str, Any]:
    """Called by ape when a console starts."""
    return {
        "market": market,
        "container": _market.container,
        "deploy": _market.deploy,
        "default_policy": default_policy,
        "Policy": Policy,
        "Roles": Roles,
        "Money": Money,
        "Product": Product,
    }
