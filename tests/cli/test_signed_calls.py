"""What an account signs, somebody else previews and sends for its fee."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prixfixe.client.contexts import Context, save_context
from prixfixe.protocol.deals import LOT_CANCELLED
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Order
from tests.cli.conftest import Terminal
from tests.support.market import LocalMarket
from tests.support.service import CHAIN_ID

pytestmark = pytest.mark.chain

SENDER = ("--key", "dev:9")


@pytest.fixture(autouse=True)
def context(home: Path, market: LocalMarket) -> Context:
    made = Context(
        "chain", "http://127.0.0.1:1", CHAIN_ID, market.deployment.market, market.client.rpc.url, "dev:3"
    )
    save_context(made)
    return made


def written(folder: Path, out: str) -> str:
    path = folder / "call.json"
    path.write_text(out)
    return str(path)


def test_a_signed_withdrawal_is_previewed_and_sent_for_its_fee(
    types: Terminal, market: LocalMarket, tmp_path: Path
) -> None:
    client, target = market.client, "0x" + "22" * 20
    signed = types("account", "sign-withdraw", "5", "--fee", "0.25", "--to", target, "--yes")
    assert signed.code == 0, signed.err
    assert "$5.25 of the $100.00 free" in signed.err
    file = written(tmp_path, signed.out)

    asked = types("chain", "send", file, *SENDER)
    assert asked.code == 130
    assert "$0.25 to " + market.stranger.address in asked.err
    assert f"$5.00 to {target}" in asked.err
    assert client.account(market.customer.address).free == Money.parse("100")

    sent = types("chain", "send", file, *SENDER, "--yes", "--json").json
    assert (sent["type"], sent["fee"], sent["account"]) == ("Withdraw", "250000", market.customer.address)
    assert client.account(market.customer.address).free == Money.parse("94.75")
    assert client.token_balance(target) == Money.parse("5")
    assert client.token_balance(market.stranger.address) == Money.parse("0.25")

    again = types("chain", "send", file, *SENDER, "--yes")
    assert again.code != 0
    assert "used before" in again.err


def test_a_withdrawal_is_not_signed_unless_its_owner_says_so(types: Terminal) -> None:
    refused = types("account", "sign-withdraw", "5")
    assert (refused.code, refused.out) == (130, "")


def test_a_signed_bump_ends_the_era_it_names_and_pays_nothing(
    types: Terminal, market: LocalMarket, tmp_path: Path
) -> None:
    file = written(tmp_path, types("account", "sign-bump", "--yes").out)
    sent = types("chain", "send", file, *SENDER, "--yes")
    assert sent.code == 0, sent.err
    assert "nothing" in sent.err
    assert market.client.account(market.customer.address).era == 1


@pytest.mark.parametrize("kind", ["purchase", "bid"])
def test_a_signed_cancel_closes_one_lot_of_a_purchase_or_a_bid(
    types: Terminal, market: LocalMarket, tmp_path: Path, kind: str
) -> None:
    order: Order = market.purchase(tasks=2) if kind == "purchase" else market.bid(tasks=2)
    held = tmp_path / "order.json"
    held.write_text(json.dumps({"order": order.to_json()}))  # as in a receipt
    signed = types("account", "sign-cancel", str(held), "--lot", "1", "--yes")
    assert signed.code == 0, signed.err
    sent = types("chain", "send", written(tmp_path, signed.out), *SENDER, "--yes", "--json")
    assert sent.json["account"] == market.customer.address
    digest = order.digest(market.client.domain)
    assert market.client.lot(digest, 1) == LOT_CANCELLED
    assert market.client.lot(digest, 0) != LOT_CANCELLED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contract": "0x" + "11" * 20}, "the market is"),
        ({"signature": "0x" + "11" * 65}, "signature"),
        ({"signature": "0x11"}, "is not a signature"),
        ({"type": "Purchase"}, "is not known"),
        ({"more": 1}, "unknown fields"),
    ],
)
def test_what_is_not_for_this_market_or_not_signed_is_not_sent(
    types: Terminal, market: LocalMarket, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    call = types("account", "sign-bump", "--yes").json
    refused = types("chain", "send", written(tmp_path, json.dumps(call | change)), *SENDER, "--yes")
    assert refused.code != 0
    assert said in refused.err
    assert market.client.account(market.customer.address).era == 0


def test_a_file_that_is_no_json_is_told(types: Terminal, tmp_path: Path) -> None:
    refused = types("chain", "send", written(tmp_path, "no"), *SENDER, "--yes")
    assert refused.code == 3
    assert "is not JSON" in refused.err
