"""Bids: any image, quoted by the asks that rest, ordered through the same door as a bundle's run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from marketplace.chain import AccountView
from marketplace.store.tables import lots
from marketplace.vetting import unvet, vet, vetted
from marketplace.wanted import COLUMNS, SOURCE, wanted_of
from prixfixe.errors import NotFound
from prixfixe.keys import LocalSigner, development_signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.orders import Bid
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.signatures import recover
from prixfixe.protocol.typed_data import Domain
from tests.support.service import (
    CHAIN_TIME,
    CONTRACT,
    CUSTOMER,
    DOLLAR,
    DOMAIN,
    PROVIDER,
    STRANGER,
    World,
)

PRODUCT = Product(1000, 1024, max_seconds=60)
IMAGE = f"sha256:{'1' * 64}"
ARCHIVE = b"an image of one's own"


def wish(**changes: Any) -> dict[str, Any]:
    return {
        "customer": CUSTOMER.address,
        "kind": "flat",
        "product": "0x" + PRODUCT.to_bytes().hex(),
        "image": IMAGE,
        "image_archive": sha256_hex(ARCHIVE),
        "command": ["true"],
        **changes,
    }


def offering(world: World, price: int = DOLLAR, **changes: Any) -> None:
    """The worker's ask for the product rests."""
    assert world.register().status_code == 200
    ask = world.ask(product=PRODUCT.to_bytes(), price=price, kinds=3, **changes)
    answer = world.beat([ask])
    assert answer.json()["refused"] == [], answer.text


def ask_quote(world: World, **changes: Any) -> httpx.Response:
    return world.http.post("/v1/quotes", json=wish(**changes))


def quote(world: World, **changes: Any) -> wire.BidQuote:
    answer = ask_quote(world, **changes)
    assert answer.status_code == 200, answer.text
    return wire.BidQuote.model_validate(answer.json())


def signed(given: wire.BidQuote, signer: LocalSigner = CUSTOMER, **changes: Any) -> dict[str, Any]:
    bid = order_of(given, CONTRACT, expiry=given.order_expiry, nonce=1)
    assert isinstance(bid, Bid)
    bid = replace(bid, **changes)
    signature = "0x" + sign_typed(signer, bid, DOMAIN).hex()
    return {"quote": given.id, "order": bid.to_json(), "signature": signature}


def test_a_flat_bid_is_quoted_at_what_the_asks_cost_with_the_fee(world: World) -> None:
    world.chain.fee_bps = 100
    offering(world)
    found = quote(world, tasks=4)
    assert found.price.units == DOLLAR + DOLLAR // 100
    assert found.total.units == 4 * found.price.units
    assert found.expected == found.total
    assert (found.live_asks, found.starts_in, found.past) == (1, 0, None)


def test_a_vetted_placement_admits_none_but_whom_the_operator_vouches_for(world: World) -> None:
    offering(world)
    refused = ask_quote(world, placement="vetted")
    assert (refused.status_code, refused.json()["code"]) == (409, "none-vetted")
    vet(world.store, PROVIDER.address, "known since May")
    assert quote(world, placement="vetted").providers == (PROVIDER.address,)
    assert ask_quote(world, placement="vetted", providers=[CUSTOMER.address]).json()["code"] == "none-vetted"
    assert quote(world).providers is None
    with world.store.read() as connection:
        assert [(each.provider, each.note) for each in vetted(connection)] == [
            (PROVIDER.address, "known since May")
        ]
    unvet(world.store, PROVIDER.address)
    with pytest.raises(NotFound):
        unvet(world.store, PROVIDER.address)


def test_the_order_becomes_a_job_of_lots(world: World) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    found = quote(world, tasks=5, lot=2)
    answer = world.post_order(signed(found))
    assert answer.status_code == 201, answer.text
    job = wire.Job.model_validate(answer.json())
    assert (job.kind, job.bundle, job.image, job.tasks, job.state) == ("flat", None, IMAGE, 5, "queued")
    with world.store.read() as connection:
        rows = connection.exec_driver_sql("SELECT count FROM lots ORDER BY lot").scalars().all()
    assert rows == [2, 2, 1]
    assert world.post_order(signed(found)).status_code == 200


def test_an_order_for_an_image_that_was_not_uploaded_is_refused(world: World) -> None:
    offering(world)
    answer = world.post_order(signed(quote(world)))
    assert (answer.status_code, answer.json()["code"]) == (409, "inputs-missing")
    assert "the image's archive" in answer.json()["detail"]
    world.upload(STRANGER, ARCHIVE)
    assert world.post_order(signed(quote(world))).json()["code"] == "inputs-missing"


@pytest.mark.parametrize(
    "change",
    [{"price": 1}, {"quorum": 2}, {"matcher": PROVIDER.address}, {"tasks": 2}, {"product": b"\x01" * 32}],
    ids=["price", "quorum", "matcher", "tasks", "product"],
)
def test_an_order_that_says_otherwise_than_its_quote_is_refused(world: World, change: Any) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    answer = world.post_order(signed(quote(world), **change))
    assert (answer.status_code, answer.json()["code"]) == (422, "not-as-quoted"), answer.text
    assert next(iter(change)) in answer.json()["detail"]


def test_a_strangers_signature_is_refused_with_the_digest_that_was_checked(world: World) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    order = signed(quote(world), signer=STRANGER)
    answer = world.post_order(order)
    assert answer.json()["code"] == "bad-signature"
    assert answer.json()["digest"] == "0x" + Bid.from_json(order["order"]).digest(DOMAIN).hex()
    assert answer.json()["signer"] == STRANGER.address


def test_without_an_ask_there_is_no_price_unless_the_customer_names_one(world: World) -> None:
    refused = ask_quote(world).json()
    assert (refused["code"], refused["detail"]) == (
        "no-price",
        "nobody offers cpu-1x1/1m now, so there is no price to quote",
    )
    found = quote(world, kind="auction", price="700000")
    assert (found.price.units, found.expected, found.live_asks, found.starts_in) == (700000, None, 0, None)


def test_an_auction_without_a_limit_offers_half_more_than_the_asks(world: World) -> None:
    offering(world)
    found = quote(world, kind="auction")
    assert (found.price.units, found.expected.units if found.expected else None) == (
        DOLLAR * 3 // 2,
        DOLLAR,
    )


def test_what_keeps_the_asks_away_is_said(world: World) -> None:
    offering(world)
    found = quote(world, kind="auction", price=str(DOLLAR // 2))
    assert [(each.reason, each.asks) for each in found.excluded] == [("above the price", 1)]
    assert found.nearest is not None
    assert "$0.50" in found.nearest
    named = quote(world, price=str(DOLLAR), providers=[STRANGER.address])
    assert [each.reason for each in named.excluded] == ["not of the providers that the customer names"]


def test_an_ask_for_bundles_only_serves_no_bid(world: World) -> None:
    assert world.register().status_code == 200
    world.beat([world.ask(product=PRODUCT.to_bytes(), kinds=2)])
    found = quote(world, price=str(DOLLAR))
    assert [each.reason for each in found.excluded] == ["not for bids"]


def test_times_that_cannot_be_kept_are_refused_with_those_that_can(world: World) -> None:
    offering(world)
    answer = ask_quote(world, deliver_seconds=30)
    assert answer.json()["code"] == "too-short"
    least = answer.json()["least"]
    found = quote(world, deliver_seconds=least)
    assert found.deliver_by == CHAIN_TIME + least


@pytest.mark.parametrize(
    "change",
    [
        {"image": "ubuntu"},
        {"image": f"registry.test/a@sha256:{'1' * 64}"},
        {"image_archive": None},
        {"tasks": 65_537},
        {"tasks": 0},
        {"product": "0x00"},
        {"price": "-1"},
        {"kind": "bundle"},
        {"providers": []},
        {"surprise": 1},
    ],
)
def test_a_malformed_wish_is_refused_and_nothing_is_kept(world: World, change: Any) -> None:
    offering(world)
    answer = ask_quote(world, **change)
    assert answer.status_code in (400, 422), answer.text
    with world.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM quotes").scalar_one() == 0


def test_what_waits_in_bids_is_kept_back_from_the_next_order(world: World) -> None:
    offering(world, price=60 * DOLLAR)
    world.upload(CUSTOMER, ARCHIVE)
    assert world.post_order(signed(quote(world))).status_code == 201
    other = quote(world, command=["false"])
    assert world.post_order(signed(other)).json()["code"] == "insufficient-funds"


def test_workers_are_asked_for_what_bids_want_and_for_the_catalogue(world: World) -> None:
    offering(world)
    wanted = Product(1500, 2048, max_seconds=77)
    world.upload(CUSTOMER, ARCHIVE)
    code = "0x" + wanted.to_bytes().hex()
    assert code not in world.beat().json()["products"]
    found = quote(world, kind="auction", price="5", product=code)
    assert world.post_order(signed(found)).status_code == 201
    products = world.beat().json()["products"]
    assert code in products
    assert "0x" + Product.parse("cpu-2x4/10m").to_bytes().hex() in products


def test_an_account_has_room_for_so_many_bids_and_tasks_and_another_is_untouched(tmp_path: Path) -> None:
    world = World(tmp_path, max_open_bids=2, max_open_tasks=9)
    other = development_signer(7)
    world.chain.accounts[other.address] = AccountView(100 * DOLLAR, 0, 3)
    offering(world)
    for signer in (CUSTOMER, other):
        world.upload(signer, ARCHIVE)

    def order(number: int, tasks: int = 4, signer: LocalSigner = CUSTOMER) -> httpx.Response:
        wanted = quote(world, customer=signer.address, command=[str(number)], tasks=tasks)
        return world.post_order(signed(wanted, signer))

    first = order(1)
    assert first.status_code == 201, first.text
    refused = order(2, tasks=6)
    assert (refused.status_code, refused.json()["code"]) == (409, "too-many-open")
    assert "has 4 tasks that wait or run, this order has 6" in refused.json()["detail"]
    assert order(3).status_code == 201
    refused = order(4, tasks=1)
    assert refused.json()["code"] == "too-many-open"
    assert "2 bids" in refused.json()["detail"]
    assert "cancel what waits" in refused.json()["hint"]
    assert order(5, signer=other).status_code == 201

    cancelled = world.http.post(f"/v1/jobs/{first.json()['id']}/cancel", headers=world.sign_in(CUSTOMER))
    assert cancelled.status_code == 200
    assert order(4, tasks=1).status_code == 201
    world.close()


def test_a_bid_for_another_chain_or_contract_is_refused_with_hash_and_signer_as_computed_here(
    world: World,
) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    found = quote(world)
    order = order_of(found, CONTRACT, expiry=found.order_expiry, nonce=1)
    for elsewhere in (Domain(DOMAIN.chain_id + 1, CONTRACT), Domain(DOMAIN.chain_id, STRANGER.address)):
        signature = CUSTOMER.sign_digest(order.digest(elsewhere))
        body = {"quote": found.id, "order": order.to_json(), "signature": "0x" + signature.hex()}
        problem = world.post_order(body).json()
        assert problem["code"] == "bad-signature"
        assert problem["digest"] == "0x" + order.digest(DOMAIN).hex()
        assert problem["signer"] == recover(order.digest(DOMAIN), signature)
        assert problem["signer"] not in (CUSTOMER.address, None)
        assert f"chain {DOMAIN.chain_id} and contract {CONTRACT}" in problem["hint"]


def test_a_half_signed_body_or_a_wrong_type_or_unit_orders_nothing(world: World) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    body = signed(quote(world))
    signatures: list[Any] = ["0x" + "11" * 64, "0x" + "11" * 20, "", None]
    orders: list[Any] = [{}, None, [], "product"]
    halves = [{"signature": each} for each in signatures] + [{"order": each} for each in orders]
    for half in halves:
        answer = world.post_order({**body, **half})
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["fault"] == "customer"
    wrong: list[tuple[str, Any]] = [
        *(("price", value) for value in (1.5, "1.50", -1, "-1", "$1")),
        *(("tasks", "1"), ("product", "0x12"), ("era", None)),
    ]
    for name, value in wrong:
        answer = world.post_order({**body, "order": {**body["order"], name: value}})
        assert answer.status_code == 422, answer.text
        assert name in answer.text
    with world.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one() == 0


def test_a_body_replayed_under_another_quote_or_after_its_cancel_starts_nothing(world: World) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    body = signed(quote(world))
    job = world.post_order(body).json()["id"]
    world.http.post(f"/v1/jobs/{job}/cancel", headers=world.sign_in(CUSTOMER))
    again = world.post_order(body)
    assert (again.status_code, again.json()["state"]) == (200, "refunded")
    elsewhere = world.post_order({**body, "quote": quote(world, command=["false"]).id})
    assert (elsewhere.status_code, elsewhere.json()["state"]) == (200, "refunded")
    with world.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one() == 1


@pytest.mark.parametrize(
    ("required", "capability"),
    [
        ({"isolation": "gvisor"}, "gvisor"),
        ({"hosts": ["API.example.com"]}, "egress"),
        ({"secrets": ["token"]}, "secrets"),
    ],
)
def test_what_a_job_needs_of_its_worker_is_in_its_manifest_and_counted_where_it_is_missing(
    world: World, required: dict[str, Any], capability: str
) -> None:
    offering(world)
    found = quote(world, price=str(2 * DOLLAR), **required)
    assert found.manifest.needs == {capability}
    assert found.live_asks == 0
    assert [each.reason for each in found.excluded] == ["without what the job requires of its worker"]
    assert f"would have to offer {capability}" in str(found.nearest)
    world.upload(CUSTOMER, ARCHIVE)
    job = world.post_order(signed(found)).json()["id"]
    query = select(*COLUMNS).select_from(SOURCE).where(lots.c.job == job)
    with world.store.read() as connection:
        row = connection.execute(query).mappings().one()
    assert wanted_of(row, {}, 0).needs == {capability}, "as the matcher reads it"
    refused = ask_quote(world, kind="auction", price=str(2 * DOLLAR), **required)
    if capability == "secrets":
        assert refused.json()["live_asks"] == 1, "which a batch does not tell asks by"
    else:
        assert (refused.status_code, refused.json()["code"]) == (422, "auction-needs")


def test_gvisor_and_hosts_exclude_each_other(world: World) -> None:
    refused = ask_quote(world, isolation="gvisor", hosts=["api.example.com"])
    assert refused.json()["code"] == "egress-in-gvisor"
    refused = ask_quote(world, hosts=["10.0.0.1"])
    assert refused.status_code == 422, refused.text
