"""A market is deployed with a sensible policy, written down whole, and checked against its chain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.chain import artefacts, events, placing, verification
from prixfixe.chain.abi import snake_case
from prixfixe.chain.deployment import Deployment, deploy, manifest_path
from prixfixe.chain.parameters import Roles, asks_arbiter, check_policy, constructor_arguments, default_policy
from prixfixe.errors import ConfigurationError, InvalidInput, NotFound
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.money import MAX_UINT64
from tests.support.market import LocalMarket

pytestmark = pytest.mark.chain


def test_the_manifest_reads_back_and_names_sources_and_compiler(market: LocalMarket, tmp_path: Path) -> None:
    path = manifest_path(31337, tmp_path / "deployments")
    market.deployment.save(path)
    assert path.name == "31337.json"
    assert Deployment.load(path) == market.deployment
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["source_hash"] == artefacts.load("Market").source_hash
    assert written["compiler"].startswith("0.8.")
    assert set(written["transactions"]) == {"DevDollar", "Market"}


def test_the_chain_holds_what_the_manifest_says(market: LocalMarket) -> None:
    market.deployment.check(market.chain.rpc)


def test_a_manifest_that_says_something_else_is_refused(market: LocalMarket) -> None:
    deployment = market.deployment
    for change in (
        {"chain_id": 1337},
        {"market": "0x" + "11" * 20},
        {"market": deployment.token},
        {"token": "0x" + "11" * 20},
        {"policy": replace(deployment.policy, grace=60)},
        {"policy": replace(deployment.policy, deposit_cap=deployment.policy.deposit_cap + 1)},
    ):
        with pytest.raises(ConfigurationError):
            replace(deployment, **change).check(market.chain.rpc)  # type: ignore[arg-type]


def test_a_raised_deposit_cap_is_no_other_market(market: LocalMarket) -> None:
    market.client.send(market.admin, "raiseDepositCap", market.deployment.policy.deposit_cap + 1)
    market.deployment.check(market.chain.rpc)


def test_a_policy_that_the_contract_would_refuse_is_refused_before_anything_is_sent(
    market: LocalMarket,
) -> None:
    block = market.client.block()
    for change in ({"window": 0}, {"grace": 0}, {"surety": 0}, {"bond": 0}, {"max_fee_bps": 10_001}):
        policy = replace(market.deployment.policy, **change)
        with pytest.raises(ConfigurationError) as refused:
            deploy(market.chain.rpc, market.admin, policy, market.deployment.roles)
        assert refused.value.code == "bad-policy"
    assert market.client.block() == block


def test_off_a_local_chain_a_bug_costs_no_more_than_the_cap(market: LocalMarket) -> None:
    policy = replace(default_policy(market.admin.address), deposit_cap=MAX_UINT64)
    check_policy(policy, market.deployment.roles, 31337)
    with pytest.raises(ConfigurationError, match="cap"):
        check_policy(policy, market.deployment.roles, 1)


@pytest.mark.parametrize(
    ("code", "asks"),
    # nothing; a contract; a key that has delegated (EIP-7702)
    [("0x", False), ("0x600035", True), ("0xef0100" + "11" * 20, False)],
)
def test_an_arbiter_is_asked_if_it_is_a_contract_when_the_market_is_deployed(
    market: LocalMarket, code: str, asks: bool
) -> None:
    arbiter = "0x" + "a4" * 20
    market.chain.rpc.call("anvil_setCode", arbiter, code)
    policy = default_policy(arbiter)
    deployed = deploy(market.chain.rpc, market.admin, policy, market.deployment.roles, salt=len(code))
    market.chain.rpc.call("anvil_setCode", arbiter, "0x" if asks else "0x600035")  # changes nothing any more
    assert deployed.client(market.chain.rpc).asks_arbiter() is asks
    assert asks_arbiter(bytes.fromhex(code[2:])) is asks


def test_a_second_market_can_hold_the_same_token(market: LocalMarket) -> None:
    second = deploy(
        market.chain.rpc,
        market.admin,
        default_policy(market.admin.address),
        market.deployment.roles,
        token=market.deployment.token,
        salt=1,
    )
    assert second.token == market.deployment.token
    assert second.market != market.deployment.market
    assert set(second.transactions) == {"Market"}


def test_an_equal_market_has_its_address_before_it_is_there_and_is_deployed_once(market: LocalMarket) -> None:
    policy, roles, token = (
        default_policy(market.admin.address),
        market.deployment.roles,
        market.deployment.token,
    )
    arguments = constructor_arguments(token, policy, roles)
    artefact = artefacts.load("Market")
    creation = artefact.creation_code + artefact.constructor.encode_call(arguments)[4:]
    expected = placing.proxied_address(creation, 7)
    # Whoever sends it: here somebody who has no role in it.
    made = deploy(market.chain.rpc, market.customer, policy, roles, token=token, salt=7)
    assert made.market == expected
    with pytest.raises(ConfigurationError) as taken:
        deploy(market.chain.rpc, market.admin, policy, roles, token=token, salt=7)
    assert taken.value.code == "market-exists"
    assert expected in taken.value.message


def test_roles_go_to_the_given_addresses_and_not_to_the_sender(market: LocalMarket) -> None:
    people = [f"0x{i:040x}" for i in (0xA1, 0xA2, 0xA3, 0xA4)]
    roles = Roles(*people)
    policy = default_policy(market.admin.address)
    made = deploy(market.chain.rpc, market.admin, policy, roles, token=market.deployment.token)
    client = made.client(market.chain.rpc)
    admin_role = bytes(32)
    assert client.has_role(admin_role, people[0])
    assert client.has_role(keccak256(b"PRICING_ROLE"), people[1])
    assert client.config().scheduler == roles.scheduler
    assert client.has_role(keccak256(b"PAUSER_ROLE"), people[3])
    for role in (admin_role, keccak256(b"PRICING_ROLE"), keccak256(b"PAUSER_ROLE")):
        assert not client.has_role(role, market.admin.address)


def test_a_chain_without_the_proxy_gets_its_market_too(market: LocalMarket) -> None:
    rpc = market.chain.rpc
    rpc.call("anvil_setCode", placing.PROXY, "0x60006000fd")  # not the proxy, whatever it is
    try:
        made = deploy(
            rpc,
            market.admin,
            default_policy(market.admin.address),
            market.deployment.roles,
            token=market.deployment.token,
            salt=7,
        )
    finally:
        rpc.call("anvil_setCode", placing.PROXY, "0x" + placing.PROXY_CODE.hex())
    made.check(rpc)


def test_beside_the_manifest_lies_what_proves_its_sources(market: LocalMarket, tmp_path: Path) -> None:
    given, told = verification.save(market.deployment, tmp_path / "31337.json")
    compiled = json.loads(given.read_text(encoding="utf-8"))
    entries = {entry["contract"]: entry for entry in json.loads(told.read_text(encoding="utf-8"))}
    assert set(entries) == {
        "src/Market.sol:Market",
        "src/Desk.sol:Desk",
        "src/dev/DevDollar.sol:DevDollar",
    }
    for contract, entry in entries.items():
        source, _, name = contract.partition(":")
        assert source in compiled["sources"]
        assert entry["compiler"].startswith("v0.8.")
        code = bytes.fromhex(market.chain.rpc.call("eth_getCode", entry["address"], "latest")[2:])
        assert artefacts.load(name).is_code(code)
    # The transaction to the proxy ends with exactly these arguments.
    sent = market.chain.rpc.call("eth_getTransactionByHash", market.deployment.transactions["Market"])
    assert sent["input"].endswith(entries["src/Market.sol:Market"]["constructor_arguments"])


def test_a_token_that_is_none_is_refused(market: LocalMarket) -> None:
    for wrong in ("0x" + "11" * 20, market.deployment.market):
        with pytest.raises(Exception, match=r"6 decimals|refused|revert"):
            deploy(
                market.chain.rpc, market.admin, market.deployment.policy, market.deployment.roles, token=wrong
            )


def test_the_constructor_takes_its_arguments_in_the_order_of_the_abi(market: LocalMarket) -> None:
    constructor = artefacts.load("Market").constructor
    deployment = market.deployment
    values = constructor_arguments(deployment.token, deployment.policy, deployment.roles)
    assert constructor.encode_call(values) == constructor.encode_call(
        [deployment.token, deployment.policy, deployment.roles]
    )


def test_a_missing_or_broken_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        Deployment.load(tmp_path / "31337.json")
    assert "prixfixe dev" in str(missing.value.hint)
    (tmp_path / "1.json").write_text("{")
    with pytest.raises(InvalidInput):
        Deployment.load(tmp_path / "1.json")


def test_every_event_of_the_contract_has_a_class_with_its_fields() -> None:
    known = {cls.__name__: cls for cls in events.EVENTS}
    ours = {event.name: event for event in artefacts.load("Market").events.values()}
    # Of OpenZeppelin's bases, never emitted here or of no use to anyone.
    for name in ("EIP712DomainChanged", "RoleAdminChanged"):
        ours.pop(name, None)
    assert set(known) == set(ours)
    for name, event in ours.items():
        fields = {snake_case(field) for field, _ in event.indexed} | {
            snake_case(field) for field in event.plain.names
        }
        if name == "DealOpened":  # its packed words are one deal
            fields = fields - {"bundle", "head", "money", "legs"} | {"data"}
        assert set(known[name].__dataclass_fields__) - {"at"} == fields


def test_an_artefact_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError) as missing:
        artefacts.load("Panel2")
    assert "scripts/contracts" in str(missing.value.hint)
