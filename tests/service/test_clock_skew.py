"""Clocks that are wrong by hours: the chain's time is what orders and asks are signed by."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import select

from marketplace.store.tables import asks
from prixfixe.client import Client, Context
from prixfixe.protocol import wire
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask
from tests.service.test_bids import ARCHIVE, offering, quote, signed, wish
from tests.support.service import (
    CHAIN_ID,
    CHAIN_TIME,
    CONTRACT,
    CUSTOMER,
    DOLLAR,
    DOMAIN,
    HOST,
    MARKET,
    PROVIDER,
    WORKER,
    InProcess,
    World,
)
from worker.client import ServiceClient
from worker.heart import Heart
from worker.room import Room
from worker.settings import WorkerSettings
from worker.states import States
from worker.watch import Watch

TWO_HOURS = 7200
wrong_clocks = pytest.mark.parametrize("skew", [TWO_HOURS, -TWO_HOURS], ids=["ahead", "behind"])


@pytest.fixture
def host_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets this host's clock wrong by so many seconds. The service in the tests has a clock of its own."""
    right = time.time

    def set_wrong(skew: int) -> None:
        class Wrong(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return datetime.now(tz) + timedelta(seconds=skew)

        monkeypatch.setattr(time, "time", lambda: right() + skew)
        monkeypatch.setattr("prixfixe.protocol.siwe.datetime", Wrong)

    return set_wrong


class Dated(httpx.BaseTransport):
    """A service in this process that tells its own time, as one behind a socket does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._app = InProcess(world.app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._app.handle_request(request)
        answer.headers["Date"] = email.utils.formatdate(self._world.clock(), usegmt=True)
        return answer

    def close(self) -> None:
        self._app.close()


@wrong_clocks
def test_a_customer_whose_clock_is_two_hours_wrong_orders_by_the_chains_time(
    world: World,
    skew: int,
    host_clock: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    host_clock(skew)
    context = Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")
    with Client(context, transport=InProcess(world.app)) as client:
        request = wire.BidQuoteRequest.model_validate(wish(deliver_seconds=900))
        order = client.order(client.perform(client.operations.quote_request(request, ())))
        assert (order.order.expiry, order.order.deliver_by) == (CHAIN_TIME + 600, CHAIN_TIME + 900)
        assert client.buy(order).state == "queued"
        assert client.cancel(order.job).state == "refunded", "it signs in, too"


@pytest.fixture
def worker(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A worker's heart has this room; it is registered with the service, and its node is at the chain's
    time."""
    monkeypatch.setattr("worker.client.connection_options", lambda _: {"transport": Dated(world)})
    assert world.register().status_code == 200
    client = ServiceClient(f"http://{HOST}")
    settings = WorkerSettings(
        service=f"http://{HOST}",
        rpc="http://127.0.0.1:2",
        provider=PROVIDER.address,
        key="dev:10",
        data=tmp_path / "worker",
        memory_mib=4096,
        milli_vcpu=1000,
        rate=Decimal("0.06"),
        minimum=Money(100),
    )
    settings.data.mkdir()
    chain = SimpleNamespace(
        now=lambda: CHAIN_TIME,
        account=lambda _: SimpleNamespace(era=1),
        gas_balance=lambda _: 10**18,
        gas_price=lambda: 1,
    )
    room = SimpleNamespace(
        settings=settings,
        domain=DOMAIN,
        signer=WORKER,
        client=client,
        states=States(settings.data, lambda *_: None),
        at_hand=lambda _: (),
        duty=SimpleNamespace(rest=lambda _: None, admits=lambda _: True, draining=False),
        chain=chain,
        hands=SimpleNamespace(prepare=lambda _: None, ping=lambda: None),
        pool=None,
    )
    yield cast(Room, room)
    client.close()


def resting(world: World) -> list[Ask]:
    with world.store.read() as connection:
        return [Ask.from_json(each) for each in connection.execute(select(asks.c.ask)).scalars()]


@wrong_clocks
def test_a_worker_whose_clock_is_two_hours_wrong_asks_by_the_chains_time_until_it_knows_and_rests(
    world: World, worker: Room, skew: int, host_clock: Callable[[int], None]
) -> None:
    host_clock(skew)
    worker.client.sign_in(WORKER)
    heart = Heart(worker, MARKET, tuple, lambda _: None, lambda: None)
    heart.start()
    until = time.monotonic() + 20
    while not resting(world) and time.monotonic() < until:
        world.store.wait({"asks"}, 0.2)
    heart.stop()
    found = resting(world)
    life = worker.settings.ask_seconds
    assert found
    assert {each.expiry for each in found} == {
        CHAIN_TIME + life - int(WORKER.address, 16) % (life // 3),
    }
    Watch(worker).look()
    side = "ahead of" if skew > 0 else "behind"
    assert f"{side} the service's: no work is taken until it is right" in str(worker.states.trouble())
    assert abs(worker.client.skew_seconds + skew) <= 2


def test_an_order_that_would_end_later_than_quoted_or_has_ended_is_refused_with_both_times(
    world: World,
) -> None:
    offering(world)
    world.upload(CUSTOMER, ARCHIVE)
    found = quote(world, deliver_seconds=900)
    late = world.post_order(signed(found, expiry=found.order_expiry + TWO_HOURS))
    assert (late.status_code, late.json()["code"]) == (422, "not-as-quoted")
    assert f"expiry is {CHAIN_TIME + 600 + TWO_HOURS}, quoted at most {CHAIN_TIME + 600}" in late.text
    over = world.post_order(signed(found, expiry=CHAIN_TIME - TWO_HOURS))
    assert (over.status_code, over.json()["code"]) == (410, "too-late-to-deliver")
    assert f"could be matched until {CHAIN_TIME - TWO_HOURS}, and it is {CHAIN_TIME}" in over.text


@pytest.mark.parametrize("away", [-TWO_HOURS, 0])
def test_an_ask_that_has_ended_is_refused_with_both_times(world: World, away: int) -> None:
    assert world.register().status_code == 200
    (refused,) = world.beat([world.ask(expiry=CHAIN_TIME + away, price=DOLLAR)]).json()["refused"]
    assert str(CHAIN_TIME + away) in refused["message"]
    assert str(CHAIN_TIME) in refused["message"]
