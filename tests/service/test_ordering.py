"""From a price to a job, and every refusal on the way: nothing is stored, and it says what to do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from marketplace.chain import AccountView
from marketplace.store.tables import idempotency, job_events, jobs, lots, tasks
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.quotes import quote_digest
from prixfixe.protocol.signatures import compact, parse_signature, recover
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.service import (
    CHAIN_TIME,
    CUSTOMER,
    DOLLAR,
    DOMAIN,
    GRACE,
    OPERATOR,
    PRICING,
    PROVIDER,
    STRANGER,
    World,
)


def _count(world: World, table: Any) -> int:
    with world.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _refused(world: World, answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem; and that nothing was stored."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["hint"]
    assert (_count(world, jobs), _count(world, lots), _count(world, tasks)) == (0, 0, 0)
    assert _count(world, idempotency) == 0
    return problem


def test_a_queued_job_tells_how_many_of_its_product_are_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ahead(*placed: wire.Job) -> list[int | None]:
        return [world.services.jobs.get(job.id, None).ahead for job in placed]

    world.publish()
    first, second, third = (world.placed(b"%d\n" % nonce, nonce=nonce) for nonce in (1, 2, 3))
    assert ahead(first, second, third) == [0, 1, 2]
    monkeypatch.setattr("marketplace.jobs.MOST_AHEAD", 1)
    assert ahead(third) == [1]
    monkeypatch.undo()
    world.running(first)
    assert ahead(first, second, third) == [None, 0, 1]
    with world.store.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == second.id).values(product="0x" + "ab" * 32))
    assert ahead(third) == [0]


def test_a_quote_is_the_published_price_signed_by_the_operator(world: World) -> None:
    listing = world.publish()
    quote = world.quote()
    assert (quote.tier, str(quote.total), quote.tasks, quote.lot) == ("small", "$4.00", 1, 1)
    assert quote.offer_id == listing.tiers[0].offer_id == format_bytes32(quote.offer.id)
    assert quote.manifest.parameters == {"word": "hello", "times": 1}
    assert quote.job == format_bytes32(quote.manifest.digest())
    assert quote.deliver_by == CHAIN_TIME + 600
    assert quote.order_expiry == CHAIN_TIME + 600 - GRACE - 120
    assert (quote.era, quote.balance.units, quote.live_asks) == (3, 100 * DOLLAR, 0)
    assert quote.terms == BundleDefinition.model_validate(listing.definition).terms_digest()
    assert recover(quote_digest(quote, DOMAIN), parse_signature(quote.signature)) == OPERATOR.address


def test_the_units_choose_the_tier(world: World) -> None:
    world.publish()
    assert (world.quote(units=100).tier, world.quote(units=101).tier) == ("small", "large")
    assert str(world.quote(units=101).total) == "$9.00"


@pytest.mark.both_databases
def test_live_asks_are_counted_and_the_others_are_told_of(world: World) -> None:
    world.publish()
    world.register()
    assert world.beat([world.ask()]).json()["refused"] == []
    able = world.quote()
    assert (able.live_asks, able.excluded, able.nearest) == (1, (), None)
    world.clock.now += 60  # the worker falls silent
    silent = world.quote()
    assert silent.live_asks == 0
    assert [(each.reason, each.asks) for each in silent.excluded] == [("heartbeat lost", 1)]
    assert silent.nearest == "heartbeat lost: it comes back when its worker answers again"


@pytest.mark.parametrize(
    ("changes", "status", "code", "said"),
    [
        ({"units": 10_001}, 422, "above-tier", "10,000 for $9.00"),
        ({"parameters": {}}, 422, "invalid-parameters", "word"),
        ({"parameters": {"word": "x", "time": 3}}, 422, "invalid-parameters", "time"),
        ({"parameters": {"word": 3}}, 422, "invalid-parameters", "word"),
        ({"inputs": []}, 422, "input-count", "1 to 2 files"),
        (
            {"inputs": [{"name": "a", "sha256": "0" * 64, "size": 2_000_000}]},
            422,
            "input-too-large",
            "1,000,000",
        ),
        ({"bundle": "nothing"}, 404, "bundle-unknown", "nothing"),
        ({"version": "9.9.9"}, 404, "bundle-unknown", "9.9.9"),
        ({"units": -1}, 422, "invalid-request", "units"),
        ({"speed": "fast"}, 422, "invalid-request", "speed"),
        ({"customer": "0x12"}, 422, "bad-address", "0x12"),
    ],
)
def test_a_bad_request_for_a_price_is_refused(
    world: World, changes: dict[str, Any], status: int, code: str, said: str
) -> None:
    world.publish()
    problem = _refused(world, world.ask_quote(**changes), status, code)
    assert said in problem["detail"]


def test_two_inputs_of_one_name_are_refused(world: World) -> None:
    world.publish()
    twice = [{"name": "a", "sha256": "0" * 64, "size": 1}] * 2
    assert _refused(world, world.ask_quote(inputs=twice), 422, "invalid-request")


def test_a_silent_chain_is_said_and_may_be_tried_again(world: World) -> None:
    world.publish()
    world.chain.silent = True
    problem = _refused(world, world.ask_quote(), 503, "chain-unavailable")
    assert problem["retryable"] is True


@pytest.mark.both_databases
def test_an_order_becomes_a_job_with_lots_tasks_and_a_first_event(world: World) -> None:
    world.publish()
    job = world.placed()
    assert (job.state, job.bundle, job.tier, str(job.quoted), str(job.charged)) == (
        "queued",
        "echo",
        "small",
        "$4.00",
        "$0.00",
    )
    assert (_count(world, lots), _count(world, tasks), _count(world, job_events)) == (1, 1, 1)
    answer = world.http.get(f"/v1/jobs/{job.id}", headers=world.sign_in(CUSTOMER))
    assert wire.Job.model_validate(answer.json()) == job


@pytest.mark.both_databases
def test_the_same_order_again_is_the_same_job(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    order = world.order(world.quote())
    first, second = world.post_order(order), world.post_order(order)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    world.clock.now += 10**6  # even when its quote is long over
    assert world.post_order(order).status_code == 200
    assert _count(world, jobs) == 1


def test_a_short_signature_orders_too(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    order = world.order(world.quote())
    order["signature"] = "0x" + compact(parse_signature(order["signature"])).hex()
    assert world.post_order(order).status_code == 201


@pytest.mark.both_databases
def test_an_idempotency_key_belongs_to_one_order(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote()
    key = {"Idempotency-Key": "monday-report"}
    first = world.post_order(world.order(quote, nonce=1), **key)
    assert first.status_code == 201
    assert world.post_order(world.order(quote, nonce=1), **key).status_code == 200
    other = world.post_order(world.order(quote, nonce=2), **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    assert _count(world, jobs) == 1


def test_too_little_balance_is_refused_with_what_is_missing(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    world.chain.accounts[CUSTOMER.address] = AccountView(3 * DOLLAR, 0, 3)
    problem = _refused(world, world.post_order(world.order(world.quote())), 402, "insufficient-funds")
    assert "$1.00 is missing" in problem["detail"]
    assert "deposit 1.00" in problem["hint"]
    assert problem["missing"] == "1000000"


def test_what_waits_already_counts_against_the_balance(world: World) -> None:
    world.publish()
    world.chain.accounts[CUSTOMER.address] = AccountView(7 * DOLLAR, 0, 3)
    world.placed()
    answer = world.post_order(world.order(world.quote(), nonce=2))
    assert (answer.status_code, answer.json()["missing"]) == (402, "1000000")
    assert "$4.00 waits for orders before it" in answer.json()["detail"]


def test_the_surety_of_waiting_earnings_counts_against_the_balance(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    world.chain.accounts[CUSTOMER.address] = AccountView(8 * DOLLAR, 1, 3)
    problem = _refused(world, world.post_order(world.order(world.quote())), 402, "insufficient-funds")
    assert "$5.00 is kept as surety" in problem["detail"]


def test_replicas_are_quoted_at_their_multiple_with_the_majority_as_quorum(world: World) -> None:
    listing = world.publish(replicas=[1, 3])
    assert [(tier.label, tier.price.plain) for tier in listing.tiers] == [
        ("small", "4.00"),
        ("small x3", "12.00"),
        ("large", "9.00"),
        ("large x3", "27.00"),
    ]
    one, three = world.quote(), world.quote(replicas=3)
    assert (one.replicas, one.offer.quorum, one.total.plain) == (1, 1, "4.00")
    assert (three.replicas, three.offer.quorum, three.total.plain) == (3, 2, "12.00")
    assert three.offer_id == listing.tiers[1].offer_id != one.offer_id
    assert "replicas" not in one.model_dump(mode="json"), (
        "what was signed before there were more stays as it was"
    )
    problem = _refused(world, world.ask_quote(replicas=2), 422, "replicas-not-sold")
    assert problem["hint"] == "choose from: 1, 3"


def test_an_expired_quote_is_refused(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote()
    world.clock.now = quote.expires_at + 1
    problem = _refused(world, world.post_order(world.order(quote)), 410, "quote-expired")
    assert "new quote" in problem["hint"]


def test_a_quote_is_honoured_in_its_bundles_notice_and_refused_after_it(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote()
    retired = world.http.post(
        "/v1/bundles/echo/retire", params={"version": "1.0.0"}, headers=world.sign_in(PRICING)
    )
    assert retired.json()["retired"] is True
    dearer = [{**tier, "price": "12.00"} for tier in BUNDLE_TIERS]
    world.publish(version="1.1.0", tiers=dearer)
    world.chain.offers[quote.offer.id] = CHAIN_TIME + 5
    problem = _refused(world, world.post_order(world.order(quote)), 409, "price-changed")
    world.chain.offers[quote.offer.id] = CHAIN_TIME + 60
    assert world.post_order(world.order(quote)).status_code == 201
    assert "no longer sold at $4.00" in problem["detail"]
    assert (world.quote().version, str(world.quote().total)) == ("1.1.0", "$12.00")


def test_an_offer_that_ends_too_soon_on_chain_is_refused(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote()
    world.chain.offers[quote.offer.id] = CHAIN_TIME + 5
    _refused(world, world.post_order(world.order(quote)), 409, "price-changed")
    _refused(world, world.ask_quote(), 409, "bundle-retired")


def test_an_order_that_can_no_longer_be_delivered_is_refused(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote()
    world.chain.time = quote.deliver_by - GRACE - 119
    problem = _refused(world, world.post_order(world.order(quote)), 410, "too-late-to-deliver")
    assert "what was uploaded is kept" in problem["hint"]


def test_missing_inputs_are_named(world: World) -> None:
    world.publish()
    problem = _refused(world, world.post_order(world.order(world.quote())), 409, "inputs-missing")
    assert "table.csv" in problem["detail"]
    assert len(problem["missing"]) == 1


def test_a_strangers_upload_is_not_an_input_of_mine(world: World) -> None:
    world.publish()
    world.upload(STRANGER, b"a,b\n")
    _refused(world, world.post_order(world.order(world.quote())), 409, "inputs-missing")


def test_an_input_of_another_size_than_quoted_is_refused(world: World) -> None:
    world.publish()
    name = world.upload(CUSTOMER, b"a,b\n")
    quote = world.quote(inputs=[{"name": "table.csv", "sha256": name, "size": 3}])
    _refused(world, world.post_order(world.order(quote)), 422, "input-size")


def test_an_order_by_another_key_is_refused(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    problem = _refused(world, world.post_order(world.order(world.quote(), STRANGER)), 401, "bad-signature")
    assert "EIP-1271" in problem["hint"]
    assert STRANGER.address in problem["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"customer": STRANGER.address},
        {"price": 1},
        {"tasks": 2},
        {"lot": 2},
        {"job": b"\1" * 32},
        {"bundle": b"\1" * 32},
        {"deliver_by": CHAIN_TIME + 10**6},
        {"expiry": CHAIN_TIME + 10**6},
        {"era": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_order_that_is_not_the_quotes_is_refused(world: World, change: dict[str, Any]) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    signer = STRANGER if "customer" in change else CUSTOMER
    problem = _refused(
        world, world.post_order(world.order(world.quote(), signer, **change)), 422, "not-as-quoted"
    )
    assert "quoted" in problem["detail"]


def test_an_order_of_an_older_era_is_refused(world: World) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    order = world.order(world.quote())
    world.chain.accounts[CUSTOMER.address] = AccountView(100 * DOLLAR, 0, 4)
    _refused(world, world.post_order(order), 409, "era-changed")


def test_an_unknown_quote_is_refused(world: World) -> None:
    world.publish()
    order = world.order(world.quote())
    _refused(world, world.post_order({**order, "quote": "f" * 32}), 404, "quote-unknown")


def test_a_malformed_order_names_the_field(world: World) -> None:
    world.publish()
    order = world.order(world.quote())
    problem = _refused(world, world.post_order({**order, "signature": "0x12"}), 422, "invalid-request")
    assert problem["field"] == "signature"
    purchase = {**order["order"], "lot": 0}
    answer = world.post_order({**order, "order": purchase})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-struct")
    assert "Purchase.lot" in answer.json()["detail"]
    assert _count(world, jobs) == 0


def test_a_provider_cannot_be_counted_on_by_itself(world: World) -> None:
    world.publish()
    world.register()
    world.beat([world.ask()])
    assert world.quote(customer=PROVIDER.address).live_asks == 0


BUNDLE_TIERS = [
    {"name": "small", "unit": "rows", "up_to": 100, "price": "4.00", "max_cost": "3.00"},
    {"name": "large", "unit": "rows", "up_to": 10_000, "price": "19.00", "max_cost": "7.00"},
]


@pytest.mark.parametrize("name", ["table.csv\n", "../table.csv", ".table.csv", "a/b.csv", "a\0.csv"])
def test_an_input_name_that_is_no_plain_name_is_refused(world: World, name: str) -> None:
    world.publish()
    answer = world.ask_quote(inputs=[{"name": name, "sha256": "ab" * 32, "size": 4}])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
