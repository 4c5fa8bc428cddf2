"""`prixfixe pricing publish`: what it would do, what it refuses, and that doing it twice changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from prixfixe.cli import publishing
from prixfixe.client import Client, Context
from prixfixe.errors import ConfigurationError, Conflict, Forbidden, InvalidInput, NotFound
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import ZERO, Money
from tests.support.market import LocalMarket
from tests.support.service import CHAIN_ID, CONTRACT, DEFINITION, HOST, PRICING, InProcess, World

YEAR = publishing.YEAR_SECONDS


def definition(**changes: Any) -> BundleDefinition:
    return BundleDefinition.model_validate({**DEFINITION, **changes})


def plan(
    market: LocalMarket, of: BundleDefinition, float_: Money = ZERO, *, signer: str = ""
) -> publishing.Plan:
    address = signer or market.pricing.address
    return publishing.plan(market.client, address, of, seconds=YEAR, float_=float_)


@pytest.mark.chain
def test_a_plan_names_every_tier_before_anything_is_signed(market: LocalMarket) -> None:
    made = plan(market, definition())
    assert [(tier.name, tier.price, tier.until) for tier in made.new] == [
        ("small", Money.parse("4"), 0),
        ("large", Money.parse("9"), 0),
    ]
    assert made.until == made.now + YEAR


@pytest.mark.chain
def test_each_number_of_replicas_is_an_offer_of_its_own(market: LocalMarket) -> None:
    made = plan(market, definition(replicas=[1, 3]))
    assert [(tier.label, tier.price, tier.offer.quorum) for tier in made.new] == [
        ("small", Money.parse("4"), 1),
        ("small x3", Money.parse("12"), 2),
        ("large", Money.parse("9"), 1),
        ("large x3", Money.parse("27"), 2),
    ]
    assert len({tier.id for tier in made.tiers}) == 4


@pytest.mark.chain
def test_tiers_that_live_already_are_left_alone(market: LocalMarket) -> None:
    first = plan(market, definition())
    market.client.publish(market.pricing, first.tiers[0].offer, first.until, ZERO)
    second = plan(market, definition())
    assert [tier.name for tier in second.new] == ["large"]
    assert second.tiers[0].until == first.until
    market.client.retire(market.pricing, first.tiers[0].offer.id, first.now + 3600)
    assert [tier.name for tier in plan(market, definition()).new] == ["small", "large"]


@pytest.mark.chain
def test_only_the_pricing_role_publishes(market: LocalMarket) -> None:
    with pytest.raises(Forbidden, match="pricing role") as caught:
        plan(market, definition(), signer=market.customer.address)
    assert "dev:1" in str(caught.value.hint)


@pytest.mark.chain
def test_a_price_below_cost_needs_money_that_the_treasury_has(market: LocalMarket) -> None:
    tiers = [{**DEFINITION["tiers"][0], "max_cost": "5.00"}]
    with pytest.raises(InvalidInput, match="may cost") as caught:
        plan(market, definition(tiers=tiers))
    assert caught.value.code == "no-float"
    with pytest.raises(InvalidInput, match="the treasury holds") as caught:
        plan(market, definition(tiers=tiers), Money.parse("10"))
    assert caught.value.code == "treasury-short"


def archive_of(folder: Path, config: bytes) -> Path:
    """An archive as `docker save` writes it."""
    path = folder / "image.tar"
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    with tarfile.open(path, "w") as tar:
        for member, data in ((name, config), ("manifest.json", json.dumps([{"Config": name}]).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_is_known_by_the_image_that_it_holds(tmp_path: Path) -> None:
    config = b'{"os":"linux"}'
    path = archive_of(tmp_path, config)
    assert publishing.archive_image_id(path) == "sha256:" + hashlib.sha256(config).hexdigest()
    path.write_bytes(b"no archive")
    with pytest.raises(ConfigurationError, match="not an image archive"):
        publishing.archive_image_id(path)


@pytest.mark.chain
def test_a_publication_uploads_publishes_and_lists(
    market: LocalMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = b'{"os":"linux"}'
    image = "sha256:" + hashlib.sha256(config).hexdigest()
    monkeypatch.setattr(
        "prixfixe.cli.bundle_image.save_image", lambda _, path: archive_of(path.parent, config)
    )
    folder = tmp_path / "service"
    folder.mkdir()
    world = World(folder)
    context = Context("pricing", f"http://{HOST}", CHAIN_ID, CONTRACT)
    made = plan(market, definition(image=image))
    for tier in made.tiers:
        world.chain.offers[tier.offer.id] = world.chain.time + YEAR  # its clock is its own
    with Client(context, signer=PRICING, transport=InProcess(world.app)) as client:
        first = publishing.publish(made, client, market.client, market.pricing)
        assert set(first.transactions) == {"small", "large"}
        assert (first.id, first.version) == ("echo", "1.0.0")
        assert all(market.client.bundle(tier.offer.id).until == made.until for tier in made.tiers)
        again = plan(market, definition(image=image))
        second = publishing.publish(again, client, market.client, market.pricing)
        assert second.transactions == {}
        assert [each.version for each in client.bundles()] == ["1.0.0"]
        changed = plan(market, definition(image=image, title="Other"))
        with pytest.raises(Conflict, match="published with another definition"):
            publishing.publish(changed, client, market.client, market.pricing)
        assert market.client.bundle(changed.tiers[0].offer.id).until == 0
        with pytest.raises(ConfigurationError, match="saved another image"):
            publishing.publish(
                plan(market, definition(version="1.0.1")), client, market.client, market.pricing
            )
        assert publishing.listed(client, "echo", None).version == "1.0.0"
        with pytest.raises(NotFound, match="version 2"):
            publishing.listed(client, "echo", "2.0.0")
        client.retire_bundle("echo", "1.0.0")
        with pytest.raises(NotFound, match="for sale"):
            publishing.listed(client, "echo", None)
    world.close()
