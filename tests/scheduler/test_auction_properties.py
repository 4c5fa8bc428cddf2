"""What no batch of the service may do, whatever rests: random books through the tables, the outbox and the
publication."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from marketplace.chain import AccountView
from marketplace.store.tables import (
    asks,
    attempts,
    batches,
    cursor,
    job_events,
    jobs,
    lots,
    open_batches,
    tasks,
    transactions,
    worker_moments,
    workers,
)
from prixfixe.keys import LocalSigner, development_signer
from prixfixe.market.auction import leg_limit
from prixfixe.market.batch import Batch
from prixfixe.protocol.orders import KIND_BIDS, KIND_BOTH
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import format_bytes32
from scheduler.auctioneer import Auctioneer
from tests.service.test_bids import wish
from tests.service.test_book import place_bid
from tests.support.scheduling import hurry
from tests.support.service import CHAIN_TIME, CUSTOMER, DOLLAR, DOMAIN, PROVIDER, STRANGER, WORKER, World

CENT = DOLLAR // 100
MACHINE = {"milli_vcpu": 200_000, "memory_mib": 409_600, "disk_mib": 819_200}
bids = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=5)
offers = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("auction"))
    made.chain.fee_bps = 250
    with made.store.write() as connection:
        connection.execute(insert(cursor).values(name="market", block=5, hash="0x" + "05" * 32))
    yield made
    made.close()


def rest(world: World, wanted: list[tuple[int, int]], offered: list[tuple[int, int]], purse: int) -> None:
    """An empty book, then bids (cents, lots) in order, and asks (cents, slots) of a provider each."""
    with world.store.write() as connection:
        for table in (
            batches,
            transactions,
            attempts,
            job_events,
            tasks,
            lots,
            jobs,
            asks,
            open_batches,
            worker_moments,
            workers,
        ):
            connection.execute(delete(table))
    world.chain.accounts[CUSTOMER.address] = AccountView(purse, 0, 3)
    for nonce, (price, number) in enumerate(wanted):
        place_bid(world, price=price * CENT, tasks=number, nonce=nonce)
    for (price, slots), (key, provider) in zip(
        offered, ((WORKER, PROVIDER), (STRANGER, STRANGER)), strict=False
    ):
        offer(world, key, provider, price, slots)


def offer(
    world: World, key: LocalSigner, provider: LocalSigner, price: int, slots: int, expiry: int = 60
) -> None:
    """A worker of a provider with so many slots, and its ask."""
    signed = world.ask(
        key, provider=provider.address, price=price * CENT, kinds=KIND_BIDS, expiry=CHAIN_TIME + expiry
    )
    enlist(world, [key], provider, slots)
    with world.store.write() as connection:
        connection.execute(
            insert(asks).values(
                worker=key.address,
                product=format_bytes32(signed.ask.product),
                provider=provider.address,
                price=signed.ask.price,
                slots=1,
                expiry=signed.ask.expiry,
                ask=signed.ask.to_json(),
                signature=signed.signature,
                placed_at=0,
            )
        )


def enlist(world: World, keys: Sequence[LocalSigner], provider: LocalSigner, slots: int = 1) -> None:
    """Workers of a provider, which its account and the contract know."""
    world.chain.accounts[provider.address] = AccountView(5 * DOLLAR, 0, 1)
    for key in keys:
        world.chain.workers[provider.address, key.address] = CHAIN_TIME + 86_400
    with world.store.write() as connection:
        connection.execute(
            insert(workers),
            [
                {
                    "key": key.address,
                    "provider": provider.address,
                    "name": "w",
                    "resources": {**MACHINE, "slots": slots},
                    "version": "1",
                    "registered_at": 0,
                    "heartbeat_at": time.time() + 3600,
                    "draining": False,
                    "cool_until": 0.0,
                }
                for key in keys
            ],
        )


def closed(world: World) -> tuple[Batch | None, list[dict[str, Any]]]:
    """The batch that closes now, with what is sent for it."""
    services = world.services
    auctioneer = Auctioneer(
        world.store, world.chain, services.blobs, services.terms, DOMAIN, services.newcomers
    )
    auctioneer.run_once()
    hurry(world.store)
    auctioneer.run_once()
    with world.store.read() as connection:
        digest = connection.execute(select(batches.c.digest)).scalar_one_or_none()
        calls = connection.execute(select(transactions.c.arguments)).scalars().all()
    if digest is None:
        assert not calls
        return None, []
    content = services.blobs.find(digest[2:]).read()
    return Batch.from_json(json.loads(content)), [fill for call in calls for fill in call["fills"]]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bids, offers, st.integers(0, 40))
def test_no_batch_of_the_service_breaks_a_promise(
    world: World, wanted: list[tuple[int, int]], offered: list[tuple[int, int]], purse: int
) -> None:
    rest(world, wanted, offered, purse * CENT)
    batch, sent = closed(world)
    with world.store.read() as connection:
        states = dict.fromkeys(("free", "matching"), 0) | Counter(
            connection.execute(select(lots.c.state)).scalars()
        )
        limits = dict(connection.execute(select(jobs.c.id, jobs.c.price)).all())
    # Every lot is where it was or under way, once.
    assert states["free"] + states["matching"] == sum(number for _, number in wanted)
    assert states["matching"] == len(sent) == len({(fill["job"], fill["lot"]) for fill in sent})
    if batch is None:
        return
    price = batch.cleared.price
    assert price is not None
    assert batch.faults() == []
    assert all(leg_limit(limits[fill["job"]], 1, 250) >= price for fill in sent)
    assert all(int(leg["ask"]["price"]) <= price for fill in sent for leg in fill["asks"])
    used = Counter(leg["worker"] for fill in sent for leg in fill["asks"])
    slots = {key.address: slots for (_, slots), key in zip(offered, (WORKER, STRANGER), strict=False)}
    assert all(count <= slots[worker] for worker, count in used.items())
    assert sum(limits[fill["job"]] for fill in sent) <= purse * CENT


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bids, offers, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing_where_all_can_pay(
    world: World, wanted: list[tuple[int, int]], offered: list[tuple[int, int]], random: Any
) -> None:
    def outcome(arrived: list[tuple[int, tuple[int, int]]]) -> tuple[int | None, Any]:
        rest(world, [], offered, 1000 * DOLLAR)
        for nonce, (price, number) in arrived:
            place_bid(world, price=price * CENT, tasks=number, nonce=nonce)
        batch, sent = closed(world)
        fills = sorted((f["job"], f["lot"], *(leg["worker"] for leg in f["asks"])) for f in sent)
        return (None if batch is None else batch.cleared.price), fills

    arrived = list(enumerate(wanted))
    before = outcome(arrived)
    random.shuffle(arrived)
    assert outcome(arrived) == before


def test_a_wall_that_is_cancelled_before_the_close_moves_no_price(world: World) -> None:
    offered = [(4, 1), (6, 1)]
    rest(world, [(9, 1), (8, 1)], offered, 1000 * DOLLAR)
    without, sent = closed(world)
    rest(world, [(9, 1), (8, 1)], offered, 1000 * DOLLAR)
    wall = place_bid(world, price=12 * CENT, tasks=50, nonce=99)
    gone = world.http.delete(f"/v1/orders/{wall}", headers=world.sign_in(CUSTOMER))
    assert gone.json()["lots"] == 50
    after, sent_after = closed(world)
    assert without is not None
    assert after is not None
    assert (after.cleared.price, len(sent_after)) == (without.cleared.price, len(sent))
    assert wall not in {fill["job"] for fill in sent_after}


def test_ten_slots_in_ten_keys_get_what_they_get_in_one(world: World) -> None:
    keys = [development_signer(number) for number in range(10, 20)]
    outcomes = []
    for slots in ((10,), (1,) * 10):
        rest(world, [(9, 4), (8, 3)], [], 1000 * DOLLAR)
        for at, (key, count) in enumerate(zip(keys, slots, strict=False)):
            offer(world, key, PROVIDER, 4, count, expiry=60 + at)
        batch, sent = closed(world)
        assert batch is not None
        outcomes.append((batch.cleared.price, len(sent)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == 7


def test_a_provider_with_a_hundred_keys_is_one_provider(world: World) -> None:
    """It may place as many asks as it has machines; that they are many buys neither price nor replicas."""
    keys = [LocalSigner(number.to_bytes(32, "big"), chain_id=DOMAIN.chain_id) for number in range(1000, 1100)]
    rest(world, [(9, 4), (8, 3)], [], 1000 * DOLLAR)
    offer(world, WORKER, PROVIDER, 4, 100)
    with_one, sent_with_one = closed(world)

    rest(world, [(9, 4), (8, 3)], [], 1000 * DOLLAR)
    enlist(world, keys, PROVIDER)
    signed = [
        world.ask(key, price=4 * CENT, kinds=KIND_BOTH, expiry=CHAIN_TIME + 60 + at)
        for at, key in enumerate(keys)
    ]
    placed = world.http.post("/v1/asks", json={"asks": [each.model_dump(mode="json") for each in signed]})
    assert [each["taken"] for each in placed.json()["items"]] == [True] * 100
    product = Product.from_bytes(signed[0].ask.product)
    assert world.http.get(f"/v1/book/{product.name}").json()["live"] == 100
    twice = {**wish(replicas=2), "product": format_bytes32(signed[0].ask.product)}
    refused = world.http.post("/v1/quotes", json=twice).json()
    assert f"2 providers of {product.name} are needed, and 1 could take it now" in refused["detail"]

    with_many, sent_with_many = closed(world)
    assert with_one is not None
    assert with_many is not None
    assert with_many.cleared.price == with_one.cleared.price
    assert (len(sent_with_many), len(sent_with_one)) == (7, 7)


def test_the_same_ask_by_two_keys_of_a_provider_is_in_a_batch_once(world: World) -> None:
    rest(world, [(9, 4)], [], 1000 * DOLLAR)
    for number in (10, 11):
        offer(world, development_signer(number), PROVIDER, 4, 1)
    batch, sent = closed(world)
    assert batch is not None
    assert batch.faults() == []
    assert (len(batch.asks), len(sent)) == (1, 1)
