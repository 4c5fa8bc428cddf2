"""Lists that grow come in pages: what is read page by page is the whole list, in its order, and once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import insert, select

from marketplace.store.account_tables import accounts, top_ups, withdrawals
from prixfixe.protocol.product import Product
from tests.service.test_book import place, place_bid
from tests.support.accounts import Person
from tests.support.service import CUSTOMER, PRICING, WORKER, World

# By its path: whose it is, and what an entry is known by.
LISTS: dict[str, tuple[str, Callable[[dict[str, str]], str]]] = {
    "/v1/bundles": ("nobody", lambda each: f"{each['id']} {each['version']}"),
    "/v1/orders#bids": ("customer", lambda each: each["order"]),
    "/v1/orders#asks": ("worker", lambda each: each["order"]),
    "/v1/pricing/history": ("pricing", lambda each: f"{each['bundle']} {each['version']}"),
    "/v1/account/top-ups": ("ada", lambda each: each["invoice"]),
    "/v1/account/withdrawals": ("ada", lambda each: each["id"]),
}
MANY = 5


@pytest.fixture
def people(world: World) -> Iterator[dict[str, dict[str, str]]]:
    """Headers of each who asks, of a service that has five of everything, some of one second."""
    ada = Person(world, "ada@example.com")
    ada.sign_up()
    world.register()
    for at in range(MANY):
        world.publish(**({"id": "another"} if at > 2 else {}), version=f"{10 - at}.0.0")
        place_bid(world, nonce=at + 1)
        place(world, world.ask(kinds=3, product=Product.read(f"cpu-1x1/{at + 1}m").to_bytes()))
        world.clock.now += at % 2
    with world.store.write() as connection:
        number = connection.execute(select(accounts.c.number)).scalar_one()
        for at in range(MANY):
            own = {"account": number, "amount": at + 1, "created_at": 100 + at // 2}
            connection.execute(insert(top_ups).values(invoice=f"2026/{at}-a", note="", **own))
            gone = {"id": f"{at:032x}", "key": str(at), "to": CUSTOMER.address, "asked_by": "ada"}
            connection.execute(insert(withdrawals).values(**gone, **own))
    yield {
        "nobody": {},
        "customer": world.sign_in(CUSTOMER),
        "worker": world.sign_in(WORKER),
        "pricing": world.sign_in(PRICING),
        "ada": ada.key("read"),
    }
    ada.close()


@pytest.mark.both_databases
def test_a_list_is_the_same_page_by_page(world: World, people: dict[str, dict[str, str]]) -> None:
    for path, (who, known_by) in LISTS.items():
        whole = world.http.get(path, headers=people[who]).json()
        expected = [known_by(each) for each in whole["items"]]
        assert (len(set(expected)), whole["next"]) == (MANY, None), path
        for limit in (1, 2, MANY):
            found, query = [], {"limit": str(limit)}
            while True:
                page = world.http.get(path, params=query, headers=people[who]).json()
                assert len(page["items"]) <= limit, path
                found += [known_by(each) for each in page["items"]]
                if page["next"] is None:
                    break
                query["cursor"] = page["next"]
            assert found == expected, (path, limit)


def test_what_is_no_cursor_is_refused(world: World, people: dict[str, dict[str, str]]) -> None:
    for cursor in ("x", "1-", "-1", "9" * 20, "echo@9.9.9"):
        for path, (who, _) in LISTS.items():
            answer = world.http.get(path, params={"cursor": cursor}, headers=people[who])
            assert answer.status_code == 422, path
            assert "is no cursor" in answer.json()["detail"], path
