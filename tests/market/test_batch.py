"""A published batch: recomputed by anyone, and every lie in it named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.market.auction import Collar
from prixfixe.market.batch import Batch, BatchAsk, BatchBid, SetAside
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.orders import Ask, Bid
from prixfixe.protocol.product import Product
from prixfixe.protocol.signatures import address_of_key, sign
from prixfixe.protocol.typed_data import Domain

DOMAIN = Domain(31337, "0x" + "11" * 20)
PRODUCT = Product.parse("cpu-2x4/10m").to_bytes()
NOW = 1_000_000


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def bid(number: int, price: int, lots: int = 1, **changes: Any) -> BatchBid:
    fields = {
        "customer": address_of_key(key(number)),
        "product": PRODUCT,
        "price": price,
        "tasks": lots,
        "lot": 1,
        "quorum": 1,
        "job": bytes(32),
        "matcher": ZERO_ADDRESS,
        "expiry": NOW + 60,
        "deliver_by": NOW + 9000,
        "era": 0,
        "nonce": number,
    }
    order = Bid(**fields | changes)
    return BatchBid(order, sign(order.digest(DOMAIN), key(number)), tuple(range(lots)))


def ask(number: int, price: int, slots: int = 1, **changes: Any) -> BatchAsk:
    fields = {
        "provider": address_of_key(key(number)),
        "product": PRODUCT,
        "price": price,
        "slots": slots,
        "kinds": 3,
        "customer": ZERO_ADDRESS,
        "matcher": ZERO_ADDRESS,
        "expiry": NOW + 60,
        "era": 0,
    }
    order = Ask(**fields | changes)
    return BatchAsk(order, sign(order.digest(DOMAIN), key(number)), order.provider, slots)


def closed(bids: list[BatchBid], asks: list[BatchAsk]) -> Batch:
    return Batch.close(
        domain=DOMAIN,
        product=PRODUCT,
        number=7,
        block=1234,
        seed=b"\x05" * 32,
        time=NOW,
        fee_bps=250,
        collar=Collar(),
        bids=tuple(bids),
        asks=tuple(asks),
        set_aside=(SetAside(b"\x09" * 32, "heartbeat lost"),),
    )


BATCH = closed([bid(1, 1000, 2), bid(2, 900)], [ask(11, 500, 2), ask(12, 700), ask(13, 2000)])


def test_an_honest_batch_has_no_faults_and_survives_its_publication() -> None:
    assert BATCH.cleared.price is not None
    assert len(BATCH.cleared.fills) == 3
    assert BATCH.faults() == []
    again = Batch.from_json(json.loads(canonical_json(BATCH.to_json())))
    assert again == BATCH
    assert again.digest() == BATCH.digest()


def test_the_fee_comes_off_what_a_bid_may_pay_its_legs() -> None:
    exact = closed([bid(1, 1025)], [ask(11, 1000)])  # 1000 and 2.5 percent
    short = closed([bid(1, 1024)], [ask(11, 1000)])
    assert exact.cleared.price == 1000
    assert short.cleared.price is None


def raised(value: dict[str, Any]) -> None:
    value["price"] = str(int(value["price"]) + 1)


def friend_first(value: dict[str, Any]) -> None:
    value["fills"][0][2], value["fills"][2][2] = value["fills"][2][2], value["fills"][0][2]


def left_out(value: dict[str, Any]) -> None:
    del value["fills"][0]


def hidden(value: dict[str, Any]) -> None:
    del value["asks"][0]


def twice(value: dict[str, Any]) -> None:
    value["bids"].append(value["bids"][0])


def other_limit(value: dict[str, Any]) -> None:
    value["bids"][0]["bid"]["price"] = "950"


def other_seed(value: dict[str, Any]) -> None:
    value["collar"] = ["0", "400"]


def made_up_reason(value: dict[str, Any]) -> None:
    value["excluded"][value["set_aside"][0]["order"]] = "could not be filled whole"


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (raised, "these orders clear at"),
        (friend_first, "is not what the auction fills"),
        (left_out, "left out"),
        (hidden, "these orders clear at"),
        (twice, "in the batch 2 times"),
        (other_limit, "was signed by"),
        (other_seed, "these orders clear at"),
        (made_up_reason, "exclusions"),
    ],
)
def test_every_lie_is_named_and_changes_the_digest(lie: Callable[[dict[str, Any]], None], said: str) -> None:
    value = json.loads(canonical_json(BATCH.to_json()))
    lie(value)
    batch = Batch.from_json(value)
    assert any(said in fault for fault in batch.faults()), batch.faults()
    assert batch.digest() != BATCH.digest()


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (closed([bid(1, 1000, expiry=NOW - 1)], [ask(11, 1)]), "had expired"),
        (closed([bid(1, 1000)], [ask(11, 1, expiry=NOW - 1)]), "had expired"),
        (closed([bid(1, 1000)], [ask(11, 1, kinds=2)]), "not for bids"),
        (closed([bid(1, 1000, product=b"\x01" * 32)], [ask(11, 1)]), "another product"),
    ],
)
def test_orders_that_had_no_place_in_it_are_named(batch: Batch, said: str) -> None:
    assert any(said in fault for fault in batch.faults())


@pytest.mark.parametrize(
    "value",
    [{}, {"version": 2}, {"version": 1}, BATCH.to_json() | {"fills": [1]}, BATCH.to_json() | {"bids": None}],
)
def test_what_is_not_a_batch_is_refused_with_a_hint(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Batch.from_json(value)
    assert caught.value.hint
