"""A hundred orders in one request: each counts, is checked and is answered as if it had come alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

from marketplace.chain import AccountView
from marketplace.store.tables import jobs
from prixfixe.client import Client, Context
from prixfixe.errors import InsufficientFunds, PrixfixeError
from prixfixe.keys import development_signer
from prixfixe.protocol import wire
from prixfixe.protocol.job_batch import JobAnswers
from tests.service.test_bids import ARCHIVE, quote, signed
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


def wanted(world: World, number: int, price: int = DOLLAR // 100, **changes: Any) -> wire.BidQuote:
    return quote(world, kind="auction", price=str(price), command=[str(number)], **changes)


def send(world: World, *orders: dict[str, Any], **headers: str) -> JobAnswers:
    answer = world.http.post("/v1/jobs/batch", json={"jobs": orders}, headers=headers)
    assert answer.status_code == 200, answer.text
    return JobAnswers.model_validate(answer.json())


def told(answers: JobAnswers) -> list[str]:
    """What became of each, in a word."""
    return [
        str((each.problem or {})["code"]) if each.job is None else "new" if each.new else "known"
        for each in answers.items
    ]


def stored(world: World) -> int:
    with world.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(jobs)).scalar_one())


def test_a_hundred_bids_are_one_look_at_the_chain_and_one_transaction(world: World) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    found = wanted(world, 1)
    orders = [signed(found, nonce=number) for number in range(100)]
    commits: list[int] = []
    event.listen(world.store.engine, "commit", lambda _: commits.append(1))
    world.chain.looks = 0
    answers = send(world, *orders)
    assert told(answers) == ["new"] * 100
    assert (world.chain.looks, len(commits), stored(world)) == (1, 1, 100)
    assert told(send(world, *orders)) == ["known"] * 100
    assert stored(world) == 100


@pytest.mark.both_databases
def test_an_error_in_one_touches_no_other(world: World) -> None:
    world.chain.accounts[SECOND.address] = AccountView(DOLLAR, 0, 3)
    for signer in (CUSTOMER, SECOND):
        world.upload(signer, ARCHIVE)
    first = signed(wanted(world, 1))
    forged = signed(wanted(world, 2), STRANGER)
    altered = signed(wanted(world, 3), price=1)
    unknown = signed(wanted(world, 4)) | {"quote": "never"}
    poor = signed(wanted(world, 5, 2 * DOLLAR, customer=SECOND.address), SECOND)
    rich = signed(wanted(world, 6, DOLLAR, customer=SECOND.address), SECOND)
    answers = send(world, first, forged, altered, unknown, poor, first, rich)
    assert told(answers) == [
        *("new", "bad-signature", "not-as-quoted", "quote-unknown", "insufficient-funds", "known", "new")
    ]
    assert stored(world) == 2
    alone = world.post_order(poor).json()
    assert alone["missing"] == "2000000", "what waits counts"
    problem = answers.items[4].problem or {}
    assert (problem["status"], problem["missing"]) == (402, "1000000")


def test_money_allowance_and_share_count_as_for_single_orders(tmp_path: Path) -> None:
    world = World(tmp_path, max_open_bids=3, jobs_per_minute=5)
    world.upload(CUSTOMER, ARCHIVE)
    orders = [signed(wanted(world, number, 40 * DOLLAR if number < 3 else 1)) for number in range(7)]
    assert told(send(world, *orders)) == [
        *("new", "new", "insufficient-funds", "new", "too-many-open", "over-share", "over-share")
    ]
    assert world.post_order(orders[5]).status_code == 429
    world.close()


def test_each_order_may_bring_a_key_of_its_own(world: World) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    first, second = (signed(wanted(world, number)) | {"idempotency_key": "monday"} for number in (1, 2))
    assert told(send(world, first, second)) == ["new", "idempotency-key-reused"]
    assert told(send(world, first)) == ["known"]
    alone = {each: first[each] for each in ("quote", "order", "signature")}
    assert world.post_order(alone, **{"Idempotency-Key": "monday"}).status_code == 200


def test_bids_are_replaced_in_a_batch_too(world: World) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    olds = send(world, *(signed(wanted(world, number, 30 * DOLLAR)) for number in range(3)))
    news = [
        signed(wanted(world, 9, 33 * DOLLAR, tasks=1, lot=at + 1)) | {"replaces": old.job.id}
        for at, old in enumerate(olds.items)
        if old.job is not None
    ]
    answers = send(world, *news, **world.sign_in(CUSTOMER))
    assert told(answers) == ["new"] * 3
    own = world.http.get("/v1/orders", headers=world.sign_in(CUSTOMER)).json()["items"]
    assert {each["price"] for each in own} == {str(33 * DOLLAR)}
    without = world.http.post("/v1/jobs/batch", json={"jobs": news})
    assert without.json()["code"] == "unauthorized"


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_has_one_order_at_least_and_a_hundred_at_most(world: World, count: int) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    body = {"jobs": [signed(wanted(world, 1))] * count}
    answer = world.http.post("/v1/jobs/batch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert stored(world) == 0


def test_what_does_not_parse_is_named_by_its_place_and_nothing_is_ordered(world: World) -> None:
    world.upload(CUSTOMER, ARCHIVE)
    good = signed(wanted(world, 1))
    answer = world.http.post("/v1/jobs/batch", json={"jobs": [good, {**good, "signature": "0x12"}]})
    assert (answer.status_code, stored(world)) == (422, 0)
    assert "jobs.1.signature" in answer.text
    large = world.http.post("/v1/jobs/batch", json={"jobs": [{**good, "quote": "q" * 2**20}]})
    assert large.status_code == 413


def test_the_client_sends_many_and_has_a_job_or_an_error_for_each(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    world.upload(CUSTOMER, ARCHIVE)
    quotes = [wanted(world, 1), wanted(world, 2, 200 * DOLLAR), wanted(world, 3)]
    context = Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")
    with Client(context, transport=InProcess(world.app)) as client:
        signed_orders = [client.order(each) for each in quotes]
        found = client.buy_many(signed_orders)
        assert client.buy_many([]) == ()
    assert [isinstance(each, PrixfixeError) for each in found] == [False, True, False]
    assert isinstance(found[1], InsufficientFunds)
    assert [each.id for each in (found[0], found[2]) if isinstance(each, wire.Job)] == [
        signed_orders[0].job,
        signed_orders[2].job,
    ]
