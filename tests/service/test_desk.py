"""The pricing desk at the service: inputs, stop rules, history, exposure; for the pricing role alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from marketplace.store.tables import deals, transactions
from marketplace.trades import RULES
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.desk import DeskInputs, Exposure, PriceNote
from prixfixe.protocol.money import Money
from tests.service.test_trades import PRODUCT, address, paid
from tests.support.service import (
    CHAIN_TIME,
    DEFINITION,
    DOLLAR,
    PRICING,
    STRANGER,
    World,
    manifest_of,
    refusal,
    refuse_on_chain,
    settle_on_chain,
    success,
)


def get(world: World, what: str, **params: Any) -> Any:
    answer = world.http.get(f"/v1/pricing/{what}", params=params, headers=world.sign_in(PRICING))
    assert answer.status_code == 200, answer.text
    return answer.json()


def inputs(world: World, **params: Any) -> DeskInputs:
    return DeskInputs.model_validate(get(world, "inputs", product=PRODUCT.name, **params))


def publish(world: World, version: str, **fields: Any) -> httpx.Response:
    definition = BundleDefinition.model_validate({**DEFINITION, "version": version})
    for _, _, offer in definition.offers():
        world.chain.offers[offer.id] = CHAIN_TIME + 10**7
    body = {
        "definition": definition.to_json(),
        "image_archive": world.upload(PRICING, b"an image"),
        **fields,
    }
    return world.http.post("/v1/bundles", json=body, headers=world.sign_in(PRICING))


def history(world: World, **params: Any) -> list[PriceNote]:
    return [PriceNote.model_validate(item) for item in get(world, "history", **params)["items"]]


@pytest.mark.parametrize("what", ["inputs?product=cpu-1x1/1h", "history", "exposure"])
def test_only_the_pricing_role_sees_the_desk(world: World, what: str) -> None:
    answer = world.http.get(f"/v1/pricing/{what}", headers=world.sign_in(STRANGER))
    assert (answer.status_code, answer.json()["code"]) == (403, "not-pricing")


def test_inputs_tell_how_deals_ended_and_what_gas_they_took(world: World) -> None:
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    refuse_on_chain(world, assignment.deal, refusal(assignment.deal, assignment.due))
    deal = world.open_deal(world.placed(b"c,d\n", nonce=2).id)
    settle_on_chain(world, deal, success(deal, manifest_of(out_csv=b"x")))
    with world.store.write() as connection:
        for at, (call, legs, gas) in enumerate(
            [("match", 1, 80_000), ("match", 1, 82_000), ("match", 3, 99), ("settle", 1, 50_000)]
        ):
            name = {"match": "asks", "settle": "signatures"}[call]
            connection.execute(
                insert(transactions).values(
                    purpose=f"sample {at}", call=call, arguments={name: [{}] * legs}, state="confirmed",
                    gas_used=gas, sends=1, hashes=[], created_at=0.0, updated_at=0.0,
                )
            )  # fmt: skip
    found = inputs(world)
    assert (found.settled, found.failed) == (1, 1)
    assert (found.gas, found.gas_samples) == (80_000 + 50_000, 1)
    assert (found.index.status, found.stops) == ("fallback", ())
    assert inputs(world, replicas=3).gas is None


def test_a_publication_keeps_who_why_and_the_inputs(world: World) -> None:
    given = {"note": "first prices", "inputs": {"index": "fallback", "price": "4000000"}}
    assert publish(world, "1.0.0", **given).status_code == 201
    assert publish(world, "1.0.0", note="again").status_code == 201  # changes nothing
    body = {"note": "too cheap"}
    retired = world.http.post("/v1/bundles/echo/retire", json=body, headers=world.sign_in(PRICING))
    assert retired.status_code == 200
    acts = history(world, bundle="echo")
    assert [(each.act, each.note, each.by) for each in acts] == [
        ("retired", "too cheap", PRICING.address),
        ("published", "first prices", PRICING.address),
    ]
    assert acts[1].inputs == given["inputs"]
    assert history(world, bundle="other") == []
    assert [each.number for each in history(world, limit=1)] == [2]


def test_a_stale_index_freezes_new_versions_until_somebody_says_why(world: World) -> None:
    world.publish()
    job = world.placed()
    paid(world, job.id, [(100 + at, address(at + 1), address(at % 2 + 50), 1, 0) for at in range(9)])
    assert publish(world, "1.1.0").status_code == 201
    world.chain.time += RULES.live_seconds + 1
    frozen = publish(world, "1.2.0")
    assert (frozen.status_code, frozen.json()["code"]) == (409, "prices-frozen")
    assert "stale" in frozen.json()["detail"]
    assert publish(world, "1.1.0").status_code == 201  # what is for sale already is not new
    assert inputs(world, bundle="echo").stops == ("the price index is stale: nothing was paid for a day",)
    assert publish(world, "1.2.0", override="  ").status_code == 409
    assert publish(world, "1.2.0", override="a holiday").status_code == 201
    assert history(world)[0].override == "a holiday"


def test_a_spread_that_doubled_in_a_day_freezes(world: World) -> None:
    world.publish()
    job = world.placed()
    world.chain.time += 3 * 86_400
    old = [(100 + at, address(at + 1), address(at % 2 + 50), 1, 2 * 86_400) for at in range(9)]
    new = [(100 + 40 * at, address(at + 1), address(at % 2 + 50), 9, 0) for at in range(9)]
    paid(world, job.id, old + new)
    (why,) = inputs(world).stops
    assert why.startswith("the spread of prices doubled in a day")


def test_a_bundle_that_lost_money_is_frozen_and_another_is_not(world: World) -> None:
    world.publish()
    world.register()
    deal = world.open_deal(world.placed().id)
    settle_on_chain(world, deal, success(deal, manifest_of(out_csv=b"x")))
    assert inputs(world, bundle="echo").stops == ()
    with world.store.write() as connection:  # its legs were paid more than the customer's four dollars
        connection.execute(update(deals).values(paid=5 * DOLLAR))
    (why,) = inputs(world, bundle="echo").stops
    assert "cost more than they brought" in why
    assert inputs(world, bundle="other").stops == ()


def test_exposure_is_what_running_deals_cost_above_the_price(world: World) -> None:
    tiers = [{"name": "small", "unit": "rows", "up_to": 100, "price": "0.60", "max_cost": "1.50"}]
    world.publish(tiers=tiers)
    world.register()
    deal = world.open_deal(world.placed().id)
    (offer,) = Exposure.model_validate(get(world, "exposure")).offers
    assert (offer.bundle, offer.tier, offer.open) == ("echo", "small", 1)
    assert (offer.price, offer.max_cost, offer.above) == (
        Money.parse("0.60"),
        Money.parse("1.50"),
        Money.parse("0.40"),
    )
    settle_on_chain(world, deal, success(deal, manifest_of(out_csv=b"x")))
    (offer,) = Exposure.model_validate(get(world, "exposure")).offers
    assert (offer.open, offer.above) == (0, Money(0))
    world.chain.time = CHAIN_TIME + 10**6 + 1
    assert Exposure.model_validate(get(world, "exposure")).offers == ()
