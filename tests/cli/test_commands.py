"""`context`, `keys`, `account`, `pricing list` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.client.contexts import Context, save_context
from prixfixe.protocol.money import Money
from tests.cli.conftest import Terminal
from tests.support.market import PAY, LocalMarket
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, World


def test_contexts_are_added_listed_used_and_removed(types: Terminal) -> None:
    assert "no contexts yet" in types("context", "list").err
    for name in ("one", "two"):
        added = types(
            "context",
            "add",
            name,
            "--service",
            f"http://{name}.example",
            "--chain-id",
            "1",
            "--contract",
            CONTRACT,
        )
        assert added.code == 0, added.err
    listed = types("context", "list", "--json").json
    assert listed["current"] == "two"
    assert types("context", "use", "one").code == 0
    assert types("context", "show", "--json").json["service"] == "http://one.example"
    assert "*  one" in types("context", "list").out
    assert types("context", "remove", "one").code == 0
    assert types("context", "use", "one").code == 6


def test_a_context_asks_the_service_and_says_that_its_word_is_to_be_checked(
    types: Terminal, world: World
) -> None:
    service = types("context", "show", "--json").json["service"]
    added = types("context", "add", "asked", "--service", service, "--json")
    assert (added.json["chain_id"], added.json["contract"]) == (CHAIN_ID, CONTRACT)
    assert "Compare that with a trusted source" in added.err
    wrong = types("context", "add", "wrong", "--service", service, "--chain-id", "1")
    assert wrong.code == 2
    assert types("context", "add", "dead", "--service", "http://127.0.0.1:1").code == 7


def test_a_key_is_made_once_and_found_by_name(
    types: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    monkeypatch.setenv("PRIXFIXE_PASSWORD_FILE", str(password))
    made = types("keys", "new", "finance", "--json").json
    assert types("keys", "list", "--json").json == {"keys": [{"name": "finance", "address": made["address"]}]}
    assert types("keys", "address", "finance").out.strip() == made["address"]
    assert types("keys", "address", "dev:3").out.strip() == CUSTOMER.address
    assert types("keys", "new", "finance").code == 6
    assert "correct horse" not in Path(made["path"]).read_text()


def test_prices_are_listed(types: Terminal, world: World) -> None:
    shown = types("pricing", "list")
    assert "small" in shown.out
    assert "$4.00" in shown.out
    (bundle,) = types("pricing", "list", "--json").json["bundles"]
    assert [tier["price"] for tier in bundle["tiers"]] == ["4000000", "9000000"]


@pytest.fixture
def on_chain(market: LocalMarket) -> LocalMarket:
    """The customer's context on a real chain, without any service."""
    save_context(
        Context(
            "chain",
            "http://127.0.0.1:1",
            CHAIN_ID,
            market.deployment.market,
            rpc=market.client.rpc.url,
            key="dev:3",
        )
    )
    return market


@pytest.mark.chain
def test_money_goes_in_and_out_without_the_service(types: Terminal, on_chain: LocalMarket) -> None:
    before = types("account", "show", "--json").json
    assert before["address"] == CUSTOMER.address
    assert types("account", "faucet", "50").code == 0
    after = types("account", "show", "--json").json
    assert int(after["free"]) - int(before["free"]) == Money.parse("50").units
    assert types("account", "withdraw", "20", "--yes").code == 0
    shown = types("account", "show", "--json").json
    assert int(shown["wallet"]) - int(before["wallet"]) == Money.parse("20").units
    assert types("account", "deposit", "20", "--yes", "--json").json["free"] == after["free"]
    assert "can be spent or withdrawn" in types("account", "show").out


@pytest.mark.chain
def test_earnings_that_wait_are_shown_with_the_time_of_their_end(
    types: Terminal, on_chain: LocalMarket
) -> None:
    on_chain.settled(b"\x05" * 32)
    provider, window = on_chain.provider.address, on_chain.deployment.policy.window
    told = types("account", "show", provider, "--json").json
    end_of_this_window = (on_chain.chain.time // window + 1) * window
    assert told["waiting"] == [{"amount": str(PAY.units), "free_at": end_of_this_window + window}]
    assert "earnings that can still be disputed; free 20" in types("account", "show", provider).out
    on_chain.chain.move_to(end_of_this_window)
    told = types("account", "show", provider, "--json").json
    assert told["waiting"] == [{"amount": str(PAY.units), "free_at": end_of_this_window + window}]
    on_chain.chain.move_to(end_of_this_window + window)
    assert types("account", "show", provider, "--json").json["waiting"] == []


@pytest.mark.chain
def test_a_bump_ends_all_that_was_signed_after_asking(types: Terminal, on_chain: LocalMarket) -> None:
    before = types("account", "show", "--json").json["era"]
    assert types("account", "bump").code == 130
    assert types("account", "bump", "--yes", "--json").json["era"] == before + 1


@pytest.mark.chain
def test_a_new_key_on_a_local_chain_gets_all_that_it_needs(
    types: Terminal, on_chain: LocalMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    monkeypatch.setenv("PRIXFIXE_PASSWORD_FILE", str(password))
    assert types("keys", "new", "mine").code == 0
    made = types("account", "faucet", "20", "--key", "mine", "--json").json
    assert made["free"] == str(Money.parse("20").units)
    assert types("account", "withdraw", "5", "--key", "mine", "--yes").code == 0


def test_play_money_is_refused_off_local_chains_before_a_password_is_asked_for(types: Terminal) -> None:
    save_context(Context("real", "http://127.0.0.1:1", 1, CONTRACT, rpc="http://127.0.0.1:1", key="ops"))
    refused = types("account", "faucet", "--context", "real")
    assert "chain 1 is not a local one" in refused.err


@pytest.mark.chain
def test_more_than_there_is_cannot_be_moved(types: Terminal, on_chain: LocalMarket) -> None:
    short = types("account", "deposit", "1000000")
    assert short.code == 4
    assert "prixfixe account faucet" in short.err
    refused = types("account", "withdraw", "1000000", "--yes")
    assert refused.code == 8
    assert types("account", "withdraw", "1").code == 130
    types("account", "withdraw", "2", "--yes")
    asked = types("account", "deposit", "1")
    assert asked.code == 130
    assert "which keeps $1.00" in asked.err
    assert "one transaction, with a signed permit for $1.00" in asked.err
    assert types("account", "withdraw", "1.0000001", "--yes").code == 2
    assert types("account", "withdraw", "1", "--to", "0x12", "--yes").code == 3
