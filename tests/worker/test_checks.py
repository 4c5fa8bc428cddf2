"""A worker runs what the customer signed for, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prixfixe.protocol.deals import Leg
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.wire import Assignment
from tests.worker.orders import (
    DOMAIN,
    IMAGE,
    PROVIDER,
    WORKER,
    Bought,
    assignment,
    buy,
    definition,
    unopened_deal,
)
from worker.checks import NotAsBought, NotOurs, check_deal, check_job
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings(
    service="http://127.0.0.1:1",
    rpc="http://127.0.0.1:2",
    provider=PROVIDER.address,
    key="dev:10",
    data=Path("nowhere"),
)
BOUGHT = buy(definition(), now=1_000_000)


def make(bought: Bought = BOUGHT, **changes: Any) -> Assignment:
    return assignment(bought, unopened_deal(bought), 1_000_024, **changes)


def signed_for(manifest: JobManifest) -> Bought:
    """The same order for another manifest: the customer signed for this one."""
    return Bought(BOUGHT.definition, manifest, replace(BOUGHT.purchase, job=manifest.digest()))


def deal_check(given: Assignment) -> None:
    check_deal(given, WORKER.address, PROVIDER.address, DOMAIN)


def test_an_honest_assignment_passes() -> None:
    deal_check(make())
    check_job(make(), SETTINGS)


class TestADealThatIsNotOurs:
    def test_an_attempt_id_that_is_a_path_is_refused(self) -> None:
        with pytest.raises(NotOurs, match="no attempt's id"):
            deal_check(make(attempt="../../etc"))

    def test_another_id_than_the_deals_hash(self) -> None:
        with pytest.raises(NotOurs, match="hashes to"):
            deal_check(make(deal_id="0x" + "00" * 32))

    def test_another_order(self) -> None:
        other = replace(BOUGHT.purchase, nonce=2)
        with pytest.raises(NotOurs, match="another order"):
            deal_check(make(order=other))

    def test_another_workers_leg(self) -> None:
        deal = unopened_deal(BOUGHT, legs=(Leg(PROVIDER.address, PROVIDER.address, 1),))
        with pytest.raises(NotOurs, match="no leg of key"):
            deal_check(assignment(BOUGHT, deal, 1_000_024))

    def test_another_deadline(self) -> None:
        with pytest.raises(NotOurs, match="deadline"):
            deal_check(make(deadline=2_000_000))


class TestAJobThatWasNotBought:
    def test_another_manifest_than_was_signed_for(self) -> None:
        manifest = BOUGHT.manifest.model_copy(update={"parameters": {"n": 8}})
        with pytest.raises(NotAsBought, match="the order is for"):
            check_job(make(manifest=manifest), SETTINGS)

    def test_another_definition_than_the_manifest_names(self) -> None:
        with pytest.raises(NotAsBought, match="the manifest names"):
            check_job(make(definition=definition(script="evil").to_json()), SETTINGS)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("image", "sha256:" + "2b" * 32),
            ("command", ("/bin/sh", "-c", "evil")),
            ("environment", {"LD_PRELOAD": "/job/inputs/evil.so"}),
            ("determinism", "none"),
        ],
    )
    def test_a_manifest_that_is_not_its_bundles(self, field: str, value: Any) -> None:
        bought = signed_for(BOUGHT.manifest.model_copy(update={field: value}))
        with pytest.raises(NotAsBought, match="the bundle's"):
            check_job(make(bought), SETTINGS)

    def test_an_offer_that_is_not_the_definitions(self) -> None:
        bought = Bought(BOUGHT.definition, BOUGHT.manifest, replace(BOUGHT.purchase, bundle=b"\x09" * 32))
        with pytest.raises(NotAsBought, match="the customer bought"):
            check_job(make(bought), SETTINGS)

    def test_another_product_than_the_bundles(self) -> None:
        product = replace(BOUGHT.definition.limits.product, max_seconds=3600)
        with pytest.raises(NotAsBought, match="product"):
            check_job(make(product=product), SETTINGS)

    def test_a_job_without_a_bundle(self) -> None:
        bought = signed_for(BOUGHT.manifest.model_copy(update={"bundle": None}))
        with pytest.raises(NotAsBought, match="names none"):
            check_job(make(bought), SETTINGS)

    def test_tasks_that_are_not_the_deals(self) -> None:
        for tasks in ((), (0, 1), (5,)):
            with pytest.raises(NotAsBought, match="tasks"):
                check_job(make(tasks=tasks), SETTINGS)

    def test_a_product_that_does_not_fit_is_the_providers_fault(self) -> None:
        small = replace(SETTINGS, memory_mib=32)
        with pytest.raises(NotAsBought, match="64 MiB of memory") as caught:
            check_job(make(), small)
        assert caught.value.fault == "provider"

    def test_the_image_is_the_definitions(self) -> None:
        assert BOUGHT.manifest.image == IMAGE
