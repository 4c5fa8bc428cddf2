"""What a process keeps of the resting asks is right when another one writes, and asks the chain little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from marketplace.chain import AccountView, ChainView
from marketplace.live_asks import ACCOUNT_SECONDS, LiveAsks
from marketplace.resting import MarketTerms, resting_asks
from marketplace.store.database import Store
from marketplace.store.tables import asks, workers
from prixfixe.market.rules import CAPPED, Conditions, Wanted, WhyNot, diagnose
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import format_bytes32
from tests.support.service import CHAIN_TIME, CONTRACT, CUSTOMER, OPERATOR, Clock
from tests.support.stores import migrated_store

PRODUCT = Product.parse("cpu-2x4/10m").to_bytes()
TERMS = MarketTerms(CONTRACT, OPERATOR.address, 4, 5, 3.0, newcomer_cap=250)
WANTED = Wanted("", 0, CUSTOMER.address, PRODUCT, 200, True, 1, CHAIN_TIME + 99, CHAIN_TIME + 9999)


class Pair:
    """A service's asks, and another process that writes into its store."""

    def __init__(self, folder: Path) -> None:
        self.store = migrated_store(folder / "prixfixe.db")
        self.other = Store(self.store.url)
        self.clock = Clock()
        self.under_way: dict[str, int] = {}
        self.live = LiveAsks(TERMS, self.clock, lambda providers, now: dict(self.under_way))
        self.free: dict[str, int] = {}
        self.block = 0
        self.looked: list[str] = []

    def rest(self, number: int, price: int) -> None:
        """One more worker with an ask, of a provider of its own."""
        key, provider = f"0x{number + 1000:040d}", f"0x{number:040d}"
        ask = Ask(provider, PRODUCT, price, 1, 3, ZERO_ADDRESS, CONTRACT, CHAIN_TIME + 60, 0)
        self.free[provider] = 5
        with self.other.write() as connection:
            connection.execute(
                insert(workers).values(
                    key=key,
                    provider=provider,
                    name="w",
                    resources={"slots": 1},
                    version="1",
                    registered_at=0,
                    heartbeat_at=self.clock.now,
                )
            )
            connection.execute(
                insert(asks).values(
                    worker=key,
                    product=format_bytes32(PRODUCT),
                    provider=provider,
                    price=price,
                    slots=1,
                    expiry=ask.expiry,
                    ask=ask.to_json(),
                    signature="0x",
                    placed_at=0,
                )
            )

    def why(self) -> WhyNot:
        """As the quotes ask, each in a block of its own."""
        self.block += 1
        with self.store.read() as connection:
            self.looked = self.live.accounts(PRODUCT, connection)
        view = ChainView(self.block, CHAIN_TIME, {each: self._account(each) for each in self.looked})
        with self.live.seen(PRODUCT, view) as shelf:
            return shelf.diagnose(WANTED, self._conditions, self.clock.now)

    def exactly(self) -> WhyNot:
        """By every rule of every ask, as the matcher asks."""
        with self.other.read() as connection:
            resting = resting_asks(connection, (PRODUCT,))
        view = ChainView(0, CHAIN_TIME, {each: self._account(each) for each in resting.providers})
        return diagnose(
            WANTED, resting.offered(view, self.clock.now, under_way=self.under_way), self._conditions
        )

    @property
    def _conditions(self) -> Conditions:
        return TERMS.conditions(CHAIN_TIME)

    def _account(self, provider: str) -> AccountView:
        return AccountView(self.free[provider], 0, 0)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.other.close()
    made.store.close()


@pytest.mark.both_databases
def test_what_another_process_writes_is_in_the_next_quote(pair: Pair) -> None:
    assert pair.why() == pair.exactly()
    for number in range(1, 4):
        pair.rest(number, 100 * number)
    assert pair.why() == pair.exactly()
    assert pair.why().able == 2
    with pair.other.write() as connection:
        connection.execute(update(workers).where(workers.c.key == f"0x{1001:040d}").values(draining=True))
    assert pair.why() == pair.exactly()
    assert pair.why().able == 1
    with pair.other.write() as connection:
        connection.execute(delete(asks).where(asks.c.worker == f"0x{1002:040d}"))
    assert pair.why() == pair.exactly()
    assert (pair.why().asks, pair.why().able) == (2, 0)


def test_a_worker_that_falls_silent_or_beats_again_is_counted_so(pair: Pair) -> None:
    pair.rest(1, 100)
    assert pair.why().able == 1
    pair.clock.now += TERMS.silence_seconds + 1
    assert pair.why() == pair.exactly()
    assert pair.why().excluded[0].reason == "heartbeat lost"
    with pair.other.write() as connection:
        connection.execute(update(workers).values(heartbeat_at=pair.clock.now))
    assert pair.why().able == 1


def test_a_write_that_is_taken_back_changes_nothing(pair: Pair) -> None:
    pair.rest(1, 100)
    assert pair.why().able == 1
    with pair.other.write() as connection:
        taken_back = connection.begin_nested()
        connection.execute(delete(asks))
        taken_back.rollback()
    assert pair.why().able == 1


def test_of_many_accounts_the_best_are_of_now_and_none_is_old(pair: Pair) -> None:
    for number in range(1, 101):
        pair.rest(number, 100 + number)
    assert pair.why().able == 100
    assert len(pair.looked) == 100
    pair.free[f"0x{1:040d}"] = 0
    assert pair.why().able == 99
    assert len(pair.looked) == 16
    assert pair.why() == pair.exactly()
    assert len(pair.looked) == 17  # the best sixteen, and the one that lacks its surety
    pair.free[f"0x{90:040d}"] = 0
    with pair.other.write() as connection:
        pair.clock.now += ACCOUNT_SECONDS
        connection.execute(update(workers).values(heartbeat_at=pair.clock.now))
    assert pair.why() == pair.exactly()
    assert len(pair.looked) == 100


def test_a_newcomer_with_enough_under_way_is_not_counted_as_able_a_second_later(pair: Pair) -> None:
    for number in (1, 2):
        pair.rest(number, 100)
    assert pair.why().able == 2
    pair.under_way[f"0x{1:040d}"] = 151
    pair.clock.now += 1.0
    assert pair.why() == pair.exactly()
    assert (pair.why().able, pair.why().excluded[0].reason) == (1, CAPPED)
    pair.under_way.clear()
    pair.clock.now += 1.0
    assert pair.why() == pair.exactly()
    assert pair.why().able == 2
