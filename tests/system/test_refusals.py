"""What is refused before anything is stored or paid, each time with what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.client import Client
from prixfixe.development_keys import ADDRESSES
from prixfixe.errors import AboveTier, InsufficientFunds, PrixfixeError
from prixfixe.keys import development_signer
from tests.support.devnet import Devnet

PIVOT = ["--rows", "account", "--values", "amount:sum", "--types", "amount:decimal(18,2)"]


def jobs(devnet: Devnet, client: Client) -> int:
    return len(client.jobs())


def test_too_little_money_is_refused_and_says_how_much_is_missing(devnet: Devnet) -> None:
    poor = development_signer(17)
    with Client(devnet.context, signer=poor) as client:
        quote = devnet.quote(client, "ok")
        client.upload(devnet.table)
        with pytest.raises(InsufficientFunds) as refused:
            client.buy(quote)
        assert refused.value.hint
        assert "2.00" in str(refused.value)
        assert jobs(devnet, client) == 0
    assert devnet.account(ADDRESSES[17]).free.units == 0


def test_a_table_above_the_top_tier_is_refused_with_the_limit(devnet: Devnet) -> None:
    with devnet.client() as client, pytest.raises(AboveTier) as refused:
        devnet.quote(client, "ok", units=1_000_001)
    assert "1,000,000" in str(refused.value)


def test_the_tier_and_its_price_follow_the_rows(devnet: Devnet) -> None:
    with devnet.client() as client:
        assert devnet.quote(client, "ok", units=1000).total.units == 2_000_000
        assert devnet.quote(client, "ok", units=1001).total.units == 4_000_000


def test_an_order_for_another_price_than_the_quote_is_refused(devnet: Devnet) -> None:
    with devnet.client() as client:
        before = jobs(devnet, client)
        quote = devnet.quote(client, "ok")
        client.upload(devnet.table)
        order = client.order(quote)
        cheaper = order.request.model_copy(update={"order": replace(order.order, price=1)})
        forged = replace(order, request=cheaper)
        with pytest.raises(PrixfixeError):
            client.buy(forged)
        assert jobs(devnet, client) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("account,amount\n1,1.00\n2,seven\n", ["amount", "seven", "2"]),
        ("account,sum\n1,1.00\n", ["amount"]),
        ("", ["empty"]),
        ("account,amount\n1,2.00,3\n", ["1"]),
    ],
    ids=["text in a decimal column", "missing column", "empty file", "ragged row"],
)
def test_a_bad_table_is_refused_on_the_customers_machine(
    devnet: Devnet, tmp_path: Path, content: str, said: list[str]
) -> None:
    before = devnet.account().free
    table = tmp_path / "bad.csv"
    table.write_text(content)
    refused = devnet.types(
        "run", "pivot", str(table), *PIVOT, "--yes", "--out", str(tmp_path / "out.xlsx"), expect=3
    )
    assert all(word in refused.stderr for word in ["bad.csv", *said]), refused.stderr
    assert not (tmp_path / "out.xlsx").exists()
    assert devnet.account().free == before


def test_a_retired_bundle_is_no_longer_sold(devnet: Devnet) -> None:
    listed = json.loads(devnet.types("pricing", "list", "--json").stdout)
    assert {"probe", "pivot"} <= {bundle["id"] for bundle in listed["bundles"]}
