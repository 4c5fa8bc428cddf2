"""What a worker is told of its income: paid, waiting, and taken again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update

from marketplace.earnings import MOST_SHOWN
from marketplace.store.tables import attempts, cases, deals, trades
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import Earnings
from tests.service.test_trades import address, paid
from tests.support.service import (
    CHAIN_TIME,
    DOLLAR,
    PROVIDER,
    STRANGER,
    WORKER,
    World,
    manifest_of,
    settle_on_chain,
    success,
)

WINDOW = 600


def earnings(world: World, **params: int) -> Earnings:
    path = f"/v1/workers/{WORKER.address}/earnings"
    answer = world.http.get(path, params=params, headers=world.sign_in(PROVIDER))
    assert answer.status_code == 200, answer.text
    return Earnings.model_validate(answer.json())


def settled(world: World) -> str:
    """A deal of the worker that is paid; its id."""
    world.publish()
    assignment = world.running(world.placed())
    settle_on_chain(world, assignment.deal, success(assignment.deal, manifest_of(out_csv=b"x")))
    with world.store.write() as connection:
        connection.execute(update(attempts).values(seconds=90.0))
    return assignment.deal_id


def test_pay_of_a_disputable_deal_waits_until_the_next_window_is_over(world: World) -> None:
    settled(world)
    found = earnings(world)
    assert (found.key, found.provider, found.slots) == (WORKER.address, PROVIDER.address, 2)
    (line,) = found.lines
    assert (line.bundle, line.lots, line.tasks, line.seconds) == ("echo 1.0.0 small", 1, 1, 90.0)
    assert line.day == "2030-03-17"
    assert (line.earned, line.waiting, line.taken) == (Money(DOLLAR), Money(DOLLAR), Money(0))
    free_at = ((CHAIN_TIME + 2) // WINDOW + 2) * WINDOW
    world.chain.time = free_at - 1
    assert earnings(world).lines[0].waiting == Money(DOLLAR)
    world.chain.time = free_at
    assert earnings(world).lines[0].waiting == Money(0)
    assert earnings(world).lines[0].earned == Money(DOLLAR)
    world.chain.time += 2 * 86_400
    assert earnings(world, days=1).lines == ()


def test_what_a_judgement_took_is_not_earned_and_its_fee_is_told(world: World) -> None:
    deal = settled(world)
    with world.store.write() as connection:
        for state in ("disputed", "guilty"):
            row = connection.execute(update(deals).values(state=state).returning(deals.c.job)).one()
        connection.execute(
            insert(cases).values(
                deal=deal, number=1, opening=1, job=row.job, lot=0, challenger=STRANGER.address, claim={},
                until=0, bond=1, fees=["250000"], fact="0", state="guilty", opened={}, ended={},
            )
        )  # fmt: skip
    (line,) = earnings(world).lines
    assert (line.lots, line.tasks, line.earned, line.waiting) == (1, 0, Money(0), Money(0))
    assert (line.taken, line.fees) == (Money(DOLLAR), Money(250_000))


@pytest.mark.both_databases
def test_a_providers_sales_are_added_up_by_days_of_utc(world: World) -> None:
    world.publish()
    world.register()
    job = world.placed()
    midnight = world.chain.time % 86_400
    ages = (0, midnight, midnight + 1, midnight + 86_400, midnight + 86_401)
    paid(world, job.id, [(10, PROVIDER.address, address(50), 3, age) for age in ages])
    with world.store.write() as connection:
        connection.execute(update(trades).values(worker=WORKER.address))
    days = world.services.income.activity(PROVIDER.address, 30).days
    assert [(each.lots, each.tasks, each.earned) for each in days] == [
        (2, 6, Money(60)),
        (2, 6, Money(60)),
        (1, 3, Money(30)),
    ]
    assert [each.day for each in days] == sorted((each.day for each in days), reverse=True)


def test_a_stranger_learns_nothing(world: World) -> None:
    settled(world)
    path = f"/v1/workers/{WORKER.address}/earnings"
    assert world.http.get(path, headers=world.sign_in(STRANGER)).status_code == 404
    assert world.http.get(path).status_code == 401


def test_a_providers_page_adds_up_the_newest_trades_and_shows_the_last_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    world.register()
    assert world.services.income.activity(PROVIDER.address, 30).earned == Money(0)
    job = world.placed()
    made = [(100 + at, PROVIDER.address, address(50), 1 + at % 3, 0) for at in range(30)]
    paid(world, job.id, [*made, (7, address(9), address(50), 1, 0), (7, PROVIDER.address, address(50), 1, 0)])
    with world.store.write() as connection:
        connection.execute(update(trades).values(worker=WORKER.address))
        for state in ("disputed", "guilty"):
            connection.execute(update(deals).where(deals.c.id == f"0x{32:064x}").values(state=state))
    found = world.services.income.activity(PROVIDER.address, 30)
    assert found.earned == Money(sum(price * tasks for price, _, _, tasks, _ in made))
    assert [trade.price for trade in found.trades] == [Money(129 - at) for at in range(MOST_SHOWN)]
    (day,) = found.days
    assert (day.lots, day.tasks, day.earned) == (30, sum(each[3] for each in made), found.earned)
    assert day.day == datetime.fromtimestamp(world.chain.time, UTC).strftime("%Y-%m-%d")
    monkeypatch.setattr("marketplace.earnings.MOST_TRADES", 25)
    found = world.services.income.activity(PROVIDER.address, 30)
    assert found.earned == Money(sum(price * tasks for price, _, _, tasks, _ in made[-25:]))
    world.chain.time += 31 * 86_400
    assert world.services.income.activity(PROVIDER.address, 30).trades == ()
