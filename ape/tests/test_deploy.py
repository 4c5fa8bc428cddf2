"""The deploy script and the console under ape, on its in-process chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ape_console_extras
import market
import pytest
from click.testing import CliRunner
from deploy import cli

import ape
from prixfixe.chain import artefacts, placing
from prixfixe.chain.manifest import Deployment
from prixfixe.chain.parameters import Roles, constructor_arguments, default_policy
from prixfixe.errors import ConfigurationError
from prixfixe.protocol.money import Money


@pytest.fixture(params=["test", "foundry"], ids=["in-process", "anvil"])
def made(request: pytest.FixtureRequest, accounts: Any) -> Iterator[tuple[Any, Deployment]]:
    """A market on ape's own chain, which has no deployment proxy, and on anvil, which has."""
    with ape.networks.ethereum.local.use_provider(request.param):
        admin = str(accounts[0].address)
        roles = Roles(admin, str(accounts[1].address), str(accounts[2].address), admin)
        yield market.deploy(accounts[0], default_policy(admin), roles, 31337)


def test_the_market_has_the_policy_and_roles_that_it_was_given(
    made: tuple[Any, Deployment], accounts: Any
) -> None:
    contract, deployment = made
    assert tuple(contract.policy()) == tuple(
        getattr(deployment.policy, name) for name in deployment.policy.__slots__
    )
    assert contract.config()[0] == deployment.roles.scheduler
    assert contract.hasRole(contract.PRICING_ROLE(), accounts[1])
    assert not contract.hasRole(contract.PRICING_ROLE(), accounts[2])


def test_where_there_is_a_proxy_the_address_is_known_before_and_taken_once(
    made: tuple[Any, Deployment], accounts: Any
) -> None:
    _, first = made
    artefact = artefacts.load("Market")
    arguments = constructor_arguments(first.token, first.policy, first.roles)
    creation = artefact.creation_code + artefact.constructor.encode_call(arguments)[4:]
    proxied = first.market == placing.proxied_address(creation, 0)
    assert proxied == placing.has_proxy(bytes(accounts.provider.get_code(placing.PROXY)))
    if proxied:
        with pytest.raises(ConfigurationError, match="exists already"):
            market.deploy(accounts[5], first.policy, first.roles, 31337, first.token)
    _, second = market.deploy(accounts[5], first.policy, first.roles, 31337, first.token, salt=1)
    assert (second.market == placing.proxied_address(creation, 1)) == proxied


def test_money_goes_in_and_out(made: tuple[Any, Deployment], accounts: Any) -> None:
    contract, deployment = made
    dollar, customer = market.container("DevDollar").at(deployment.token), accounts[3]
    amount = Money.parse("12.50").units
    dollar.mint(customer, amount, sender=customer)
    dollar.approve(contract, amount, sender=customer)
    contract.deposit(amount, sender=customer)
    assert contract.account(customer)[0] == amount
    contract.withdraw(customer, amount, sender=customer)
    assert dollar.balanceOf(customer) == amount
    with ape.reverts():
        contract.withdraw(customer, 1, sender=customer)


def test_the_script_writes_the_manifest_that_the_product_reads(tmp_path: Path) -> None:
    out = tmp_path / "manifest.json"
    done = CliRunner().invoke(
        cli, ["--network", "ethereum:local:test", "--out", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    deployment = Deployment.load(out)
    assert deployment.market in done.output
    proven = json.loads((tmp_path / "manifest.verification.json").read_text())
    assert proven[0]["address"] == deployment.market
    assert (tmp_path / "manifest.input.json").exists()
    assert set(deployment.transactions) == {"DevDollar", "Market"}
    again = CliRunner().invoke(cli, ["--network", "ethereum:local:test", "--out", str(out)])
    assert again.exit_code != 0
    assert "describes a market already" in again.output


def test_the_console_finds_a_market_by_manifest_and_by_address(
    made: tuple[Any, Deployment], tmp_path: Path
) -> None:
    contract, deployment = made
    names = ape_console_extras.ape_init_extras()
    deployment.save(tmp_path / "m.json")
    assert names["market"](str(tmp_path / "m.json")).address == contract.address
    assert names["market"](deployment.market).token() == deployment.token


def test_a_chain_with_real_money_needs_a_token(accounts: Any) -> None:
    admin = str(accounts[0].address)
    with pytest.raises(ConfigurationError, match="name the token"):
        market.deploy(accounts[0], default_policy(admin), Roles(admin, admin, admin, admin), 1)
