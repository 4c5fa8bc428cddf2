"""The tape and the index: what was paid, from settled lots alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import insert, update

from marketplace.store.tables import cursor, deals, trades
from marketplace.store.upsert import put
from marketplace.trades import RULES
from prixfixe.client import Client, Context
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import PriceIndex
from prixfixe.protocol.product import Product
from tests.support.service import (
    CHAIN_ID,
    CHAIN_TIME,
    CONTRACT,
    CUSTOMER,
    DEFINITION,
    DOLLAR,
    HOST,
    PROVIDER,
    InProcess,
    World,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
    success,
    where,
)

pytestmark = pytest.mark.both_databases

PRODUCT = BundleDefinition.model_validate(DEFINITION).limits.product
CODE = "0x" + PRODUCT.to_bytes().hex()


def paid(world: World, job: str, rows: Sequence[tuple[int, str, str, int, int]]) -> None:
    """Trades of other deals: (price, provider, customer, tasks, age in seconds) each, in another block."""
    with world.store.write() as connection:
        put(connection, cursor, {"name": "market", "block": len(rows), "hash": f"0x{len(rows):064x}"})
        for at, (price, provider, customer, tasks, age) in enumerate(rows):
            deal = f"0x{at + 1:064x}"
            connection.execute(
                insert(deals).values(
                    id=deal, opening=1, job=job, lot=0, deal={}, due=0, deadline=0, state="settled",
                    opened={}, ended={},
                )
            )  # fmt: skip
            connection.execute(
                insert(trades).values(
                    block=100 + at, log_index=0, leg=0, time=world.chain.time - age, deal=deal, opening=1,
                    product=CODE, kind="bundle", price=price, tasks=tasks, provider=provider,
                    worker=provider, customer=customer,
                )
            )  # fmt: skip


def address(number: int) -> str:
    from prixfixe.protocol.addresses import format_address

    return format_address(number.to_bytes(20, "big"))


def index(world: World) -> PriceIndex:
    answer = world.http.get(f"/v1/index/{PRODUCT.name}")
    assert answer.status_code == 200, answer.text
    return PriceIndex.model_validate(answer.json())


def test_a_settled_lot_is_a_trade_and_a_refused_one_is_none(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    refuse_on_chain(world, assignment.deal, refusal(assignment.deal, assignment.due))
    assert world.http.get("/v1/trades").json() == {"items": [], "next": None}

    other = world.placed(b"c,d\n", nonce=2)
    deal = world.open_deal(other.id)
    settle_on_chain(world, deal, success(deal, manifest_of(out_csv=b"x")))
    (trade,) = world.http.get("/v1/trades", params={"product": PRODUCT.name}).json()["items"]
    assert trade == {
        "deal": "0x" + deal.id.hex(),
        "leg": 0,
        "product": CODE,
        "kind": "bundle",
        "price": str(DOLLAR),
        "tasks": 1,
        "provider": PROVIDER.address,
        "customer": CUSTOMER.address,
        "bundle": "0x" + deal.bundle.hex(),
        "batch": None,
        "block": 2,
        "time": where(2)["time"],
    }


def test_the_tape_is_paged_newest_first_and_leaves_out_what_was_judged_wrong(world: World) -> None:
    world.publish()
    job = world.placed()
    paid(world, job.id, [(each, address(each), address(99), 1, 0) for each in range(1, 8)])
    with world.store.write() as connection:
        for state in ("disputed", "guilty"):
            connection.execute(update(deals).where(deals.c.id == f"0x{3:064x}").values(state=state))
    first = world.http.get("/v1/trades", params={"limit": 4}).json()
    second = world.http.get("/v1/trades", params={"limit": 4, "cursor": first["next"]}).json()
    assert [each["price"] for each in first["items"] + second["items"]] == ["7", "6", "5", "4", "2", "1"]
    assert second["next"] is None
    context = Context("c", f"http://{HOST}", CHAIN_ID, CONTRACT)
    with Client(context, transport=InProcess(world.app)) as client:
        assert [each.price.units for each in client.trades(PRODUCT, 3)] == [7, 6, 5]
        assert client.indexes()[0] == client.index(PRODUCT.name)
    other = Product.parse("cpu-64x64/1h").name
    assert world.http.get("/v1/trades", params={"product": other}).json()["items"] == []


@pytest.mark.parametrize("wrong", ["x", "1-2", "9" * 30 + "-1-1"])
def test_a_cursor_that_is_none_is_refused(world: World, wrong: str) -> None:
    assert world.http.get("/v1/trades", params={"cursor": wrong}).status_code == 422


def test_an_index_is_live_with_five_makers_then_stale_then_forgotten(world: World) -> None:
    world.publish()
    job = world.placed()
    paid(world, job.id, [(100 + 10 * at, address(at + 1), address(at % 2 + 50), 1, 0) for at in range(9)])
    found = index(world)
    assert (found.status, found.source, found.trades, found.makers) == ("live", "index", 9, 9)
    assert [price and price.units for price in (found.p10, found.p50, found.p90)] == [100, 140, 180]
    world.chain.time += RULES.live_seconds + 1
    assert index(world).status == "stale"
    world.chain.time += RULES.memory
    gone = index(world)
    assert (gone.status, gone.source, gone.p50) == ("fallback", "none", None)


def test_without_a_market_the_index_says_where_its_prices_are_from(world: World) -> None:
    world.publish()
    assert index(world).source == "none"
    world.register()
    world.beat([world.ask(price=700)])
    world.chain.time += 60  # past what is kept
    world.beat([world.ask(price=700, expiry=CHAIN_TIME + 600)])
    asked = index(world)
    assert (asked.status, asked.source, asked.p50 and asked.p50.units) == ("fallback", "asks", 700)
    job = world.placed()
    paid(world, job.id, [(300, address(1), address(2), 1, 0), (500, address(1), address(2), 1, 0)])
    world.chain.time += 60
    few = index(world)
    assert (few.status, few.source, few.p50 and few.p50.units) == ("fallback", "trades", 300)


def test_an_index_is_computed_once_a_block(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    before = index(world)
    monkeypatch.setattr("marketplace.trades.price_index", None)  # would fail if it were asked again
    assert index(world) == before


def test_hundred_keys_of_one_provider_move_the_index_no_further_than_one_key_could(world: World) -> None:
    """The cap counts providers: a worker's key is nobody."""
    world.publish()
    job = world.placed()
    honest = [(100 + 10 * at, address(at + 1), address(at % 4 + 50), 1, 0) for at in range(20)]
    attack = [(10**6, address(99), address(98), 1000, 0)] * 100
    paid(world, job.id, honest + attack)
    found = index(world)
    # At most a fifth of all weight lies above the honest: the median is at most their 62.5th percentile.
    share = RULES.cap_bps / 10_000
    bound = sorted(price for price, *_ in honest)[int(len(honest) * 0.5 / (1 - share))]
    assert found.p50 is not None
    assert found.p50.units <= bound


def test_a_quote_repeats_the_index(world: World) -> None:
    world.publish()
    assert world.quote().index == wire.QuotedIndex(status="fallback", p50=None)
    job = world.placed()
    paid(world, job.id, [(100 + 10 * at, address(at + 1), address(at % 2 + 50), 1, 0) for at in range(9)])
    world.chain.time += 60  # a quote's may be a minute old
    assert world.quote().index == wire.QuotedIndex(status="live", p50=Money(140))
