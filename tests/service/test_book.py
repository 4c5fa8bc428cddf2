"""The order book over HTTP: asks one or a hundred, depth, own orders, and how they leave it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from marketplace.book import BookView
from marketplace.store import transitions
from marketplace.store.batches import batch_cleared, batch_closed, batch_opened
from marketplace.store.tables import asks, lots, quotes
from prixfixe.keys import sign_typed
from prixfixe.market.rules import UNPAID
from prixfixe.protocol.orders import Bid
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain, format_bytes32
from tests.support.memory import resident_kib
from tests.support.service import (
    CHAIN_TIME,
    CONTRACT,
    CUSTOMER,
    DOLLAR,
    DOMAIN,
    PRICING,
    STRANGER,
    WORKER,
    World,
    where,
)
from tests.support.serving import served

OTHER_DOMAIN = Domain(DOMAIN.chain_id, STRANGER.address)


def product(world: World) -> str:
    return format_bytes32(world.ask().ask.product)


def place_bid(world: World, *, price: int = 2 * DOLLAR, tasks: int = 1, nonce: int = 1) -> str:
    """A bid that rests, as the door for orders stores it."""
    order = Bid(
        customer=CUSTOMER.address,
        product=world.ask().ask.product,
        price=price,
        tasks=tasks,
        lot=1,
        quorum=1,
        job=b"\x0b" * 32,
        matcher=CONTRACT,
        expiry=CHAIN_TIME + 600,
        deliver_by=CHAIN_TIME + 6000,
        era=3,
        nonce=nonce,
    )
    job = format_bytes32(order.digest(DOMAIN))
    with world.store.write() as connection:
        if connection.execute(select(quotes.c.id)).first() is None:
            row = {"id": "q", "customer": CUSTOMER.address, "quote": {}, "expires_at": 0, "created_at": 0}
            connection.execute(insert(quotes).values(row))
        transitions.job_placed(
            connection,
            job=job,
            quote="q",
            order=order,
            signature="0x" + sign_typed(CUSTOMER, order, DOMAIN).hex(),
            manifest={"image": "sha256:" + "ab" * 32, "tasks": tasks},
            terms=transitions.OrderTerms("auction", order.product),
        )
    return job


def place(world: World, *signed: Any) -> list[dict[str, Any]]:
    body = {"asks": [each.model_dump(mode="json") for each in signed]}
    answer = world.http.post("/v1/asks", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def book(world: World) -> dict[str, Any]:
    answer = world.http.get(f"/v1/book/{product(world)}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.both_databases
def test_an_ask_is_placed_by_its_signature_alone_replaced_and_seen_in_the_depth(world: World) -> None:
    world.register()
    (answer,) = place(world, world.ask(kinds=3))
    assert (answer["taken"], answer["reason"]) == (True, None)
    assert answer["order"] == format_bytes32(world.ask(kinds=3).ask.digest(DOMAIN))
    place(world, world.ask(kinds=3, price=700_000))
    place_bid(world, price=900_000, tasks=3)
    place_bid(world, price=600_000, nonce=2)
    found = book(world)
    assert found["asks"] == [{"price": "700000", "volume": 1, "orders": 1}]
    assert found["bids"] == [
        {"price": "900000", "volume": 3, "orders": 1},
        {"price": "600000", "volume": 1, "orders": 1},
    ]
    assert (found["live"], found["resting"]) == (1, 1)


def test_each_of_a_hundred_asks_is_answered_on_its_own(world: World) -> None:
    world.register()
    elsewhere = world.ask(kinds=3)
    elsewhere = elsewhere.model_copy(
        update={"signature": "0x" + sign_typed(WORKER, elsewhere.ask, OTHER_DOMAIN).hex()}
    )
    answers = place(
        world,
        world.ask(kinds=3),
        world.ask(STRANGER, kinds=3),
        world.ask(era=9),
        world.ask(expiry=CHAIN_TIME),
        world.ask(slots=9),
        elsewhere,
    )
    assert [each["taken"] for each in answers] == [True, False, False, False, False, False]
    codes = [each["reason"]["code"] for each in answers[1:]]
    assert codes == ["ask-signature", "ask-era", "ask-expired", "ask-slots", "ask-signature"]
    told = answers[1]["reason"]
    assert STRANGER.address in told["message"]
    assert answers[1]["order"] in told["message"]
    assert told["details"] == {"digest": answers[1]["order"], "signer": STRANGER.address}
    assert "chain 31337" in answers[5]["reason"]["hint"]

    too_many = {"asks": [world.ask().model_dump(mode="json")] * 101}
    assert world.http.post("/v1/asks", json=too_many).status_code == 422


def test_a_silent_worker_has_no_place_in_the_depth_and_comes_back_with_its_heartbeat(world: World) -> None:
    world.register()
    place(world, world.ask(kinds=3))
    assert book(world)["live"] == 1
    world.clock.now += 60
    found = book(world)
    assert (found["asks"], found["live"], found["resting"]) == ([], 0, 1)
    world.beat()
    assert book(world)["live"] == 1


@pytest.mark.both_databases
def test_an_order_is_its_owners_to_see_and_to_cancel(world: World) -> None:
    world.register()
    place(world, world.ask(kinds=3))
    bid = place_bid(world, tasks=2)
    mine = world.http.get("/v1/orders", headers=world.sign_in(CUSTOMER)).json()["items"]
    assert [(each["order"], each["side"], each["volume"]) for each in mine] == [(bid, "bid", 2)]
    theirs = world.http.get("/v1/orders", headers=world.sign_in(WORKER)).json()["items"]
    assert [each["side"] for each in theirs] == ["ask"]

    stranger = world.http.delete(f"/v1/orders/{bid}", headers=world.sign_in(STRANGER))
    assert stranger.status_code == 404
    gone = world.http.delete(f"/v1/orders/{bid}", headers=world.sign_in(CUSTOMER))
    assert gone.json() == {"order": bid, "lots": 2}
    assert book(world)["bids"] == []
    again = world.http.delete(f"/v1/orders/{bid}", headers=world.sign_in(CUSTOMER))
    assert again.json()["code"] == "already-matched"
    ask = theirs[0]["order"]
    assert world.http.delete(f"/v1/orders/{ask}", headers=world.sign_in(WORKER)).json()["lots"] == 1
    with world.store.read() as connection:
        assert connection.execute(select(asks)).all() == []
        assert set(connection.execute(select(lots.c.state)).scalars()) == {"ended"}


def test_orders_survive_a_restart(world: World, tmp_path: Path) -> None:
    world.register()
    place(world, world.ask(kinds=3))
    place_bid(world)
    before = book(world)
    again = World(tmp_path)
    assert book(again) == before
    again.close()


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, cancels_per_minute=3)
    yield made
    made.close()


def test_many_cancels_of_one_account_are_limited_and_do_not_touch_another(strict: World) -> None:
    world = strict
    statuses = [
        world.http.delete("/v1/orders/0x" + "00" * 32, headers=world.sign_in(CUSTOMER)).status_code
        for _ in range(5)
    ]
    assert statuses == [404, 404, 404, 429, 429]
    other = world.http.delete("/v1/orders/0x" + "00" * 32, headers=world.sign_in(STRANGER))
    assert other.status_code == 404


def test_the_pricing_desk_changes_a_products_terms_and_nobody_else_does(world: World) -> None:
    path = f"/v1/products/{product(world)}/terms"
    terms = {"least_seconds": 2.5, "most_seconds": 9, "low": "20000", "high": None}
    change = {"terms": terms, "note": "a floor"}
    assert world.http.put(path, json=change, headers=world.sign_in(STRANGER)).status_code == 403
    given = world.http.put(path, json=change, headers=world.sign_in(PRICING)).json()
    assert (given["terms"]["low"], given["note"], given["changed_by"]) == (
        "20000",
        "a floor",
        PRICING.address,
    )
    assert book(world)["terms"]["most_seconds"] == 9
    listed = world.http.get("/v1/products").json()["items"]
    assert [each["terms"]["low"] for each in listed] == ["20000"]
    for wrong in ({"least_seconds": 10}, {"high": "10"}, {"low": "-1"}):
        bad = {"terms": {**terms, **wrong}, "note": "no"}
        assert world.http.put(path, json=bad, headers=world.sign_in(PRICING)).status_code == 422


def told(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) of each event of a stream."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


@pytest.mark.network_ports
def test_what_changes_in_the_book_is_told_as_it_happens_and_a_reader_who_does_not_read_holds_up_nobody(
    tmp_path: Path,
) -> None:
    with served(tmp_path / "data") as (world, url):
        world.register()
        bid = place_bid(world, price=900_000, tasks=2)
        path = f"{url}/v1/book/{product(world)}/events"
        idle = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0))
        with idle, httpx.Client(timeout=20, trust_env=False) as http, http.stream("GET", path) as stream:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            target = httpx.URL(path)
            idle.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc.decode()}\r\n\r\n".encode())
            assert stream.headers["content-type"].startswith("text/event-stream")
            seen = told(stream.iter_lines())
            whole = {"side": "bid", "price": "900000", "volume": 2, "orders": 1}
            assert next(seen) == ("depth", {"levels": [whole]})

            place(world, world.ask(kinds=3))
            ask = {"side": "ask", "price": str(DOLLAR), "volume": 1, "orders": 1}
            assert next(seen) == ("depth", {"levels": [ask]})

            world.http.delete(f"/v1/orders/{bid}", headers=world.sign_in(CUSTOMER))
            gone = {**whole, "volume": 0, "orders": 0}
            assert next(seen) == ("depth", {"levels": [gone]})

            with world.store.write() as connection:
                batch_opened(connection, world.ask().ask.product, world.clock.now + 4.5)
            assert next(seen) == ("close", {"at": world.clock.now + 4.5})
            found = book(world)["closes"]
            assert found == {"at": world.clock.now + 4.5, "seconds": 4.5}
            assert "closes in 4.5 s" in world.http.get(f"/market/{product(world)}").text

            publish_batch(world, number=1)
            kind, batch = next(seen)
            assert (kind, batch["number"], batch["price"], batch["transaction"]) == (
                "batch",
                1,
                "800000",
                None,
            )
            with world.store.write() as connection:
                batch_cleared(connection, batch["digest"], where(9))
            kind, batch = next(seen)
            assert (kind, batch["transaction"]) == ("batch", where(9)["transaction"])


@pytest.mark.network_ports
def test_a_reader_who_stops_reading_fills_its_own_socket_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event carries 700 kB here, so that all of them are more than any socket holds."""
    changes, size = 24, 700_000
    monkeypatch.setattr("marketplace.api.book._PAUSE_SECONDS", 0.0)
    made: Counter[int] = Counter()  # bytes for each reader
    with served(tmp_path / "data") as (world, url):
        world.register()
        tell = world.services.book.changes

        def told_at_length(product: Product, seen: BookView) -> list[tuple[str, dict[str, object]]]:
            found = tell(product, seen)
            if found:
                found.append(("padding", {"text": "x" * size}))
                made[id(seen)] += size
            return found

        monkeypatch.setattr(world.services.book, "changes", told_at_length)
        target = httpx.URL(f"{url}/v1/book/{product(world)}/events")
        with socket.socket() as idle, httpx.Client(timeout=20, trust_env=False) as http:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect((target.host, target.port or 0))
            idle.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc.decode()}\r\n\r\n".encode())
            with http.stream("GET", target) as stream:
                seen = (data for kind, data in told(stream.iter_lines()) if kind == "depth")
                before = resident_kib()
                for number in range(changes):
                    place(world, world.ask(kinds=3, price=DOLLAR + number))
                    levels = next(seen)["levels"]
                    assert {"side": "ask", "price": str(DOLLAR + number), "volume": 1, "orders": 1} in levels
            grown_kib = resident_kib() - before
        slow, quick = sorted(made.values())
        assert quick == changes * size
        # What the kernel takes for a socket, what waits to be written, and one event: then it is not asked.
        assert slow < quick // 2
        assert grown_kib < changes * size // 1024


def publish_batch(world: World, number: int) -> None:
    """A batch of the product, as the auctioneer stores it."""
    row = {
        "digest": "0x" + f"{number:064x}",
        "product": product(world),
        "number": number,
        "block": 7,
        "closed_at": CHAIN_TIME,
        "price": 800_000,
        "bids": 1,
        "asks": 1,
        "set_aside": 0,
        "fills": 0,
    }
    with world.store.write() as connection:
        batch_closed(connection, row, [])


def test_a_bid_that_the_last_batch_found_unpaid_is_out_of_the_depth_until_it_is_funded(world: World) -> None:
    bid = place_bid(world, price=900_000)
    assert len(book(world)["bids"]) == 1
    with world.store.write() as connection:
        transitions.lots_wait(connection, {(bid, 0): UNPAID})
    assert book(world)["bids"] == []
    assert book(world)["waiting"] == [{"reason": UNPAID, "bids": 1}]
    mine = world.http.get("/v1/orders", headers=world.sign_in(CUSTOMER)).json()["items"]
    assert [each["why"] for each in mine] == [UNPAID]
    with world.store.write() as connection:
        transitions.lots_wait(connection, {(bid, 0): "no worker offers this product"})
    assert len(book(world)["bids"]) == 1
