"""A bid in the place of another: one transaction, or nothing; and only by who may cancel."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from marketplace.chain import AccountView
from marketplace.store.tables import jobs, lots
from prixfixe.client import Client, Context
from prixfixe.errors import Conflict, InsufficientFunds
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money
from tests.service.test_bids import ARCHIVE, PRODUCT, quote, signed
from tests.support.service import (
    CHAIN_ID,
    CONTRACT,
    CUSTOMER,
    DOLLAR,
    HOST,
    STRANGER,
    InProcess,
    World,
)

SECOND = development_signer(7)


def bid(world: World, price: int, replaces: str | None = None, **headers: str) -> httpx.Response:
    """A bid for the auction, posted by its customer."""
    wanted = quote(world, kind="auction", price=str(price), command=[str(price)])
    body = signed(wanted) | ({} if replaces is None else {"replaces": replaces})
    return world.http.post("/v1/jobs", json=body, headers=headers or world.sign_in(CUSTOMER))


@pytest.fixture
def resting(world: World) -> str:
    """A bid of sixty dollars, of an account that holds a hundred."""
    world.upload(CUSTOMER, ARCHIVE)
    return str(bid(world, 60 * DOLLAR).json()["id"])


def job(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.http.get(f"/v1/jobs/{name}", headers=world.sign_in(CUSTOMER)).json()
    return found


def depth(world: World) -> list[tuple[str, int]]:
    book = world.http.get(f"/v1/book/0x{PRODUCT.to_bytes().hex()}").json()
    return [(each["price"], each["volume"]) for each in book["bids"]]


def test_the_new_bid_stands_where_the_old_one_stood_and_its_money_is_not_counted_twice(
    world: World, resting: str
) -> None:
    assert bid(world, 70 * DOLLAR).json()["code"] == "insufficient-funds"
    answer = bid(world, 70 * DOLLAR, resting)
    assert answer.status_code == 201, answer.text
    new = answer.json()["id"]
    old = job(world, resting)
    assert (old["state"], old["charged"]) == ("refunded", "0")
    assert old["reason"]["code"] == "replaced"
    assert old["reason"]["message"] == f"replaced by {new}; nothing was charged"
    assert depth(world) == [(str(70 * DOLLAR), 1)]
    events = world.services.jobs.events(resting, CUSTOMER.address, 0)[0]
    assert [each.kind for each in events][-1] == "end"


def test_a_replacement_that_is_sent_again_is_the_same_job(world: World, resting: str) -> None:
    wanted = quote(world, kind="auction", price=str(DOLLAR))
    body = signed(wanted) | {"replaces": resting}
    sent = [world.http.post("/v1/jobs", json=body, headers=world.sign_in(CUSTOMER)) for _ in range(2)]
    assert [each.status_code for each in sent] == [201, 200]
    assert sent[0].json()["id"] == sent[1].json()["id"]


@pytest.mark.both_databases
def test_a_new_bid_that_is_refused_leaves_the_old_one_where_it_was(world: World, resting: str) -> None:
    refused = bid(world, 101 * DOLLAR, resting)
    assert (refused.status_code, refused.json()["code"]) == (402, "insufficient-funds")
    assert refused.json()["missing"] == str(DOLLAR), "the old bid's money is not counted"
    assert job(world, resting)["state"] == "queued"
    assert depth(world) == [(str(60 * DOLLAR), 1)]


def test_what_was_matched_meanwhile_is_not_replaced(world: World, resting: str) -> None:
    with world.store.write() as connection:
        connection.execute(lots.update().where(lots.c.job == resting).values(state="matching"))
    refused = bid(world, 70 * DOLLAR, resting)
    assert (refused.status_code, refused.json()["code"]) == (409, "too-late-to-replace")
    assert f"job {resting} cannot be replaced: it was matched" in refused.json()["detail"]
    with world.store.read() as connection:
        assert connection.execute(select(jobs.c.id)).scalars().all() == [resting]


def test_a_bid_that_came_back_from_a_worker_waits_and_is_replaced(world: World, resting: str) -> None:
    with world.store.write() as connection:
        connection.execute(jobs.update().where(jobs.c.id == resting).values(state="running"))
    assert bid(world, 70 * DOLLAR, resting).status_code == 201
    assert job(world, resting)["state"] == "refunded"


def test_what_is_over_or_unknown_is_not_replaced(world: World, resting: str) -> None:
    world.http.post(f"/v1/jobs/{resting}/cancel", headers=world.sign_in(CUSTOMER))
    over = bid(world, 70 * DOLLAR, resting)
    assert (over.status_code, over.json()["code"]) == (409, "nothing-to-replace")
    unknown = bid(world, 70 * DOLLAR, "0x" + "00" * 32)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "replaced-unknown")


def test_replacing_needs_the_session_that_a_cancel_needs_and_ordering_none(
    world: World, resting: str
) -> None:
    body = signed(quote(world, kind="auction", price=str(DOLLAR)))
    replacing = body | {"replaces": resting}
    assert world.http.post("/v1/jobs", json=replacing).json()["code"] == "unauthorized"
    stranger = world.http.post("/v1/jobs", json=replacing, headers=world.sign_in(STRANGER))
    assert (stranger.status_code, stranger.json()["code"]) == (403, "forbidden")
    assert job(world, resting)["state"] == "queued"
    plain = world.http.post("/v1/jobs", json=body, headers={"Authorization": "Bearer of a day long past"})
    assert plain.status_code == 201


def test_nobody_replaces_a_strangers_bid(world: World, resting: str) -> None:
    world.chain.accounts[SECOND.address] = AccountView(100 * DOLLAR, 0, 3)
    world.upload(SECOND, ARCHIVE)
    wanted = quote(world, customer=SECOND.address, kind="auction", price=str(DOLLAR))
    body = signed(wanted, SECOND) | {"replaces": resting}
    answer = world.http.post("/v1/jobs", json=body, headers=world.sign_in(SECOND))
    assert (answer.status_code, answer.json()["code"]) == (404, "replaced-unknown")
    assert job(world, resting)["state"] == "queued"


def test_a_bundles_order_and_a_bid_do_not_replace_each_other(world: World, resting: str) -> None:
    world.publish()
    world.upload(CUSTOMER, b"a,b\n")
    purchase = world.order(world.quote()) | {"replaces": resting}
    answer = world.http.post("/v1/jobs", json=purchase, headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (422, "not-a-bid")
    bought = world.placed()
    assert bid(world, DOLLAR, bought.id).json()["code"] == "not-a-bid"


def test_the_client_replaces_what_was_ordered_from_this_machine(
    world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    world.upload(CUSTOMER, ARCHIVE)
    context = Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")
    first = quote(world, kind="auction", price=str(60 * DOLLAR), command=["a", "b"], tasks=1)
    with Client(context, transport=InProcess(world.app)) as client:
        old = client.buy(first)
        with pytest.raises(InsufficientFunds, match="budget"):
            client.replace(old, price=Money(70 * DOLLAR), budget=Money(DOLLAR))
        new = client.replace(old, price=Money(70 * DOLLAR))
        assert (client.job(old).state, new.state, new.quoted.units) == ("refunded", "queued", 70 * DOLLAR)
        assert client.cancel(old).state == "refunded", "cancelled twice is no error"
        with pytest.raises(Conflict) as over:
            client.replace(old, price=Money(DOLLAR))
        assert over.value.code == "nothing-to-replace"
    assert depth(world) == [(str(70 * DOLLAR), 1)]
