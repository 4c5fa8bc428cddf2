"""The contract of a local market: deployed once, its accounts funded with play money."""

from __future__ import annotations

from pathlib import Path

from prixfixe.chain.client import MarketClient
from prixfixe.chain.deployment import Deployment, deploy
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.chain.rpc import Rpc
from prixfixe.devnet import settings as numbers
from prixfixe.devnet.accounts import development_address
from prixfixe.devnet.settings import provider_key, worker_key
from prixfixe.errors import ConfigurationError
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money

_FOREVER = 2**40 - 1


def deploy_or_find(rpc: str, manifest_path: Path) -> tuple[Deployment, bool]:
    """The deployment, and whether it was made now. A manifest that the chain does not know is an error: the
    service's data would speak of another chain."""
    node = Rpc(rpc)
    if manifest_path.exists():
        known = Deployment.load(manifest_path)
        try:
            known.check(node)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{manifest_path} and the chain at {rpc} do not fit: {error}",
                hint="the chain's state was lost; begin anew: prixfixe dev reset",
            ) from error
        return known, False
    admin = development_address(numbers.ADMIN)
    policy = Policy(
        window=numbers.WINDOW_SECONDS,
        grace=numbers.GRACE_SECONDS,
        notice=numbers.NOTICE_SECONDS,
        surety=Money.parse("5").units,
        bond=Money.parse("5").units,
        arbiter_fee=Money.parse("1").units,
        max_fee_bps=1000,
        arbiter=development_address(numbers.ARBITER),
        deposit_cap=Money.parse("10000000").units,
    )
    roles = Roles(
        admin=admin,
        pricing=development_address(numbers.PRICING),
        scheduler=development_address(numbers.OPERATOR),
        pauser=admin,
    )
    made = deploy(node, development_signer(numbers.ADMIN), policy, roles)
    made.save(manifest_path)
    return made, True


def fund(rpc: str, contract: str, workers: int) -> None:
    """Play money for the customer and the operator's wallet, surety for each provider, and each provider's
    word for its worker's key."""
    market = MarketClient(rpc, contract)
    customer = development_signer(numbers.CUSTOMER)
    market.mint(customer, customer.address, numbers.CUSTOMER_DEPOSIT * 10)
    market.deposit(customer, numbers.CUSTOMER_DEPOSIT)
    # Of which it credits managed accounts.
    market.mint(customer, development_address(numbers.OPERATOR), numbers.PLAY_MONEY * 10_000)
    for number in range(1, workers + 1):
        provider = development_signer(account_index(provider_key(number)))
        market.mint(provider, provider.address, numbers.PROVIDER_DEPOSIT)
        market.deposit(provider, numbers.PROVIDER_DEPOSIT)
        market.authorise(provider, development_address(account_index(worker_key(number))), _FOREVER)


def account_index(spec: str) -> int:
    """N of the key specification `dev:N`."""
    return int(spec.removeprefix("dev:"))
