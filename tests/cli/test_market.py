"""`prixfixe market` as it is typed: the book, one's orders, terms; and a batch replayed from a file and a
node alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketplace.store.tables import batches
from prixfixe.client import Client
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money
from tests.cli.conftest import Terminal
from tests.service.test_bids import ARCHIVE, quote
from tests.service.test_book import place, place_bid, product
from tests.support.market import LocalMarket
from tests.support.scheduling import Service
from tests.support.service import CUSTOMER, World


def test_a_book_without_asks_says_where_there_are_some(types: Terminal, world: World) -> None:
    shown = types("market", "book", "cpu-9x9/1m")
    assert (shown.code, "`prixfixe market index` lists" in shown.err) == (0, True)


def test_the_book_shows_both_sides_and_an_order_leaves_it(types: Terminal, world: World) -> None:
    world.register()
    place(world, world.ask(kinds=3))
    bid = place_bid(world, price=900_000)
    name = product(world)
    shown = types("market", "book", name)
    assert "1 live asks of 1" in shown.out
    assert "ask   $1.00" in shown.out
    assert "bid   $0.90" in shown.out
    assert types("market", "book", name, "--json").json["spread"] == "100000"
    (mine,) = types("market", "orders", "--json").json["orders"]
    assert (mine["order"], mine["why"]) == (bid, None)
    assert types("market", "cancel", bid).code == 0
    assert types("market", "orders").err.strip() == "no order of yours rests"
    assert types("market", "book", name, "--json").json["bids"] == []
    assert types("market", "batches").err.strip() == "no batch was cleared yet"
    assert types("market", "reputation").err.strip() == "no provider has had a deal in the last 30 days"


def test_a_waiting_bid_is_replaced_after_its_new_price_was_seen(types: Terminal, world: World) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    with Client() as client:
        old = client.buy(quote(world, kind="auction", price="500000")).id
    declined = types("market", "replace", old[:10], "--price", "0.70", answer="n\n")
    assert "at most $0.70 a task" in declined.err
    assert "nothing was ordered" in declined.err
    assert types("market", "replace", old, "--price", "0.70", "--budget", "0.60", "--yes").code != 0
    given = types("market", "replace", old[:10], "--price", "0.70", "--deadline", "2h", "--yes", "--json")
    assert (given.json["replaced"], given.json["state"]) == (old, "queued")
    (mine,) = types("market", "orders", "--json").json["orders"]
    assert (mine["order"], mine["price"]) == (given.json["id"], "700000")
    late = types("market", "replace", old, "--yes")
    assert "nothing to replace" in late.err
    again = types("market", "replace", given.json["id"], "--price", "0.80", "--yes")
    assert f"prixfixe jobs cancel {given.json['id'][:12]} --on-chain" in again.err


def test_a_bid_that_was_left_alone_names_its_secrets_and_takes_those_and_no_others(
    types: Terminal, world: World, tmp_path: Path
) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    with Client() as client:
        old = client.buy(quote(world, kind="auction", price="500000", secrets=("key.pem", "token"))).id
    new = types("market", "replace", old, "--price", "0.70", "--yes")
    (job,) = new.out.split()
    assert f"prixfixe jobs secrets {job[:12]} --secret key.pem=FILE --secret token=FILE\n" in new.err
    (tmp_path / "token").write_text("hunter2")
    some = types("jobs", "secrets", job[:12], "--secret", "token=token")
    assert (some.code, "takes the secrets key.pem, token, given were token" in some.err) == (3, True)
    none = types("jobs", "secrets", job[:12])
    assert (none.code, "Missing option '--secret'" in none.err) == (2, True)


def test_terms_change_with_a_note_by_the_pricing_desk_only(types: Terminal, world: World) -> None:
    name = product(world)
    assert types("market", "rules", name, "--reserve", "0.02").code == 2
    refused = types("market", "rules", name, "--reserve", "0.02", "--note", "floor")
    assert "no pricing role" in refused.err
    given = types("market", "rules", name, "--reserve", "0.02", "--note", "floor", "--key", "dev:1", "--json")
    (listing,) = given.json["products"]
    assert (listing["terms"]["low"], listing["note"]) == ("20000", "floor")
    assert "$0.02" in types("market", "rules").out


@pytest.mark.chain
def test_a_batch_is_replayed_from_a_file_and_a_node_alone(
    types: Terminal, market: LocalMarket, tmp_path: Path
) -> None:
    service = Service(market, tmp_path)
    node = ("--rpc", market.chain.url, "--contract", market.deployment.market)
    try:
        service.ready_worker(price=Money.parse("0.50"))
        service.bid()
        service.close_batch()
        service.report(development_signer(10))
        service.step()
        shown = types("market", "reputation", "--from-chain", *node).out
        assert shown.split("\n")[1].split()[:5] == [market.provider.address, "new", "100.0", "%", "1"]
        (row,) = service.rows(batches)
        published = service.blobs.find(row["digest"][2:]).read()
        file = tmp_path / "batch.json"
        file.write_bytes(published)

        honest = types("market", "replay", str(file), *node)
        assert (honest.code, "The batch is honest." in honest.out) == (0, True), honest.err
        assert types("market", "replay", str(file), *node, "--json").json["opened"] == 1

        lie = json.loads(published)
        lie["price"] = str(int(lie["price"]) - 1)
        file.write_text(json.dumps(lie))
        caught = types("market", "replay", str(file), *node)
        assert caught.code == 10
        assert "these orders clear at" in caught.out
        assert "never emitted its digest" in caught.out

        file.write_text("{}")
        assert types("market", "replay", str(file), *node).code == 3
        assert types("market", "replay", "nothing", *node).code == 3
    finally:
        service.close()
