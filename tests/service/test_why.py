"""Why a lot did not come to a worker: the market's own rules, asked of the moment in which others got it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, update

from marketplace.store.tables import attempts, worker_moments
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import WorkerWhy
from tests.support.service import DOLLAR, PROVIDER, STRANGER, WORKER, World

OTHERS = ((STRANGER.address, development_signer(11).address),)  # a provider and its worker, paid a dollar


def why(world: World, **params: int) -> WorkerWhy:
    path = f"/v1/workers/{WORKER.address}/why"
    answer = world.http.get(path, params=params, headers=world.sign_in(PROVIDER))
    assert answer.status_code == 200, answer.text
    return WorkerWhy.model_validate(answer.json())


@pytest.fixture
def market(world: World) -> World:
    world.publish()
    assert world.register().status_code == 200
    return world


def asks(world: World, price: int = DOLLAR, **changes: Any) -> None:
    answer = world.beat([world.ask(price=price, **changes)])
    assert answer.json()["refused"] == [], answer.text


def lost(world: World, nonce: int = 1) -> str:
    """A lot that others get; its job."""
    job = world.placed(f"{nonce},b\n".encode(), nonce=nonce)
    world.open_deal(job.id, people=OTHERS)
    return job.id


def test_an_ask_above_the_price_is_told_by_how_much(market: World) -> None:
    asks(market, 5 * DOLLAR)
    job = lost(market)
    found = why(market)
    (miss,) = found.misses
    assert (miss.job, miss.outcome, miss.kind) == (job, "elsewhere", "bundle")
    assert (miss.price, miss.paid) == (Money(5 * DOLLAR), Money(DOLLAR))
    assert miss.reasons == ("above the price: at $5.00 a task instead of $3.00 it would do",)
    assert [(each.reason, each.lots) for each in found.counts] == [("above the price", 1)]
    assert found.nearest == miss.reasons[0]


def test_who_was_outbid_learns_what_would_have_won(market: World) -> None:
    asks(market, 2 * DOLLAR)
    lost(market)
    assert why(market).misses[0].reasons == (
        "others asked less: below $1.00 a task instead of $2.00 it would have come",
    )


def test_at_equal_prices_reputation_and_then_the_draw_decides(market: World) -> None:
    asks(market)
    lost(market)
    found = why(market)
    assert found.counts[0].reason == "behind at the same price"
    assert str(found.standing) == "new: no deals in 30 days"


def test_the_moment_counts_and_not_the_present(market: World) -> None:
    """It was silent when the first lot was given away, drained at the second, dear at the third."""
    start = market.clock.now
    asks(market)
    market.clock.now = start + 1000
    lost(market, 1)
    with market.store.write() as connection:
        connection.execute(update(attempts).values(created_at=int(start + 500)))
    market.beat(draining=True)
    market.clock.now = start + 2000
    lost(market, 2)
    with market.store.write() as connection:
        later = update(attempts).where(attempts.c.created_at != int(start + 500))
        connection.execute(later.values(created_at=int(start + 1500)))
    asks(market, 4 * DOLLAR)
    market.clock.now = start + 2002
    reasons = [miss.reasons[0].partition(":")[0] for miss in why(market).misses]
    assert reasons == ["draining", "heartbeat lost"]


def test_a_price_that_was_asked_then_is_judged_and_not_the_new_one(market: World) -> None:
    start = market.clock.now
    asks(market, 5 * DOLLAR)
    lost(market)
    with market.store.write() as connection:
        connection.execute(update(attempts).values(created_at=int(start + 1)))
    market.clock.now = start + 2.5
    asks(market, DOLLAR // 2)
    market.clock.now = start + 4
    (miss,) = why(market).misses
    assert miss.price == Money(5 * DOLLAR)


def test_a_lot_that_waits_and_one_that_came(market: World) -> None:
    asks(market, 5 * DOLLAR)
    got = market.placed(b"1,b\n", nonce=1)
    market.open_deal(got.id)
    waiting = market.placed(b"2,b\n", nonce=2)
    found = why(market)
    assert found.got == 1
    (miss,) = found.misses
    assert (miss.job, miss.outcome) == (waiting.id, "waiting")
    assert miss.paid == Money(3 * DOLLAR)


def test_the_nearest_miss_is_the_one_that_fewest_rules_kept_out(market: World) -> None:
    asks(market, 5 * DOLLAR)
    for nonce in (1, 2, 3):
        lost(market, nonce)
    found = why(market, limit=2)
    assert [each.lots for each in found.counts] == [2]
    assert found.nearest is not None
    assert "instead of $3.00" in found.nearest


def test_a_worker_that_asks_for_nothing_has_no_products(market: World) -> None:
    lost(market)
    found = why(market)
    assert (found.products, found.misses, found.nearest) == ((), (), None)


def test_what_is_remembered_of_a_worker_is_bounded_and_a_renewal_is_not_remembered(
    market: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.store.moments.KEPT", 4)
    for _ in range(3):
        asks(market, expiry=market.chain.time + 100)
        market.chain.time += 1
    with market.store.read() as connection:
        count = select(func.count()).select_from(worker_moments)
        assert connection.execute(count).scalar_one() == 1
    for at in range(6):
        asks(market, 1000 + at)
    with market.store.read() as connection:
        assert connection.execute(count).scalar_one() == 4


def test_a_stranger_learns_nothing(market: World) -> None:
    path = f"/v1/workers/{WORKER.address}/why"
    assert market.http.get(path, headers=market.sign_in(STRANGER)).status_code == 404
