"""A small bundle, an order for it, and the assignment that a worker gets: all hashes real, all signatures
too."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from prixfixe.chain.events import DealOpened
from prixfixe.keys import development_signer
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.deals import Deal, Due, Leg
from prixfixe.protocol.manifest import BundleReference, InputFile, JobManifest
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Purchase
from prixfixe.protocol.product import Product
from prixfixe.protocol.typed_data import Domain, format_bytes32

CUSTOMER, PROVIDER, WORKER = (development_signer(index) for index in (3, 4, 10))
DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
IMAGE = "sha256:" + "1a" * 32
PRODUCT = Product(milli_vcpu=500, memory_mib=64, disk_mib=16, max_seconds=20)


def definition(image: str = IMAGE, script: str = "true", *, max_seconds: int = 20) -> BundleDefinition:
    """A bundle that runs a shell script."""
    return BundleDefinition.model_validate(
        {
            "id": "shell",
            "version": "1.0.0",
            "title": "A shell script",
            "summary": "Runs a script.",
            "audience": "tests",
            "image": image,
            "command": ["/bin/sh", "-c", script],
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"n": {"type": "integer"}},
            },
            "inputs": {"formats": ["csv"], "max_bytes": 1000000},
            "tiers": [{"name": "small", "unit": "rows", "up_to": 100, "price": "1.50", "max_cost": "1.50"}],
            "limits": {"milli_vcpu": 500, "memory_mib": 64, "disk_mib": 16, "max_seconds": max_seconds},
            "replicas": 1,
            "determinism": "exact",
            "service_level": 600,
            "privacy": {"retention_days": 7},
            "proof": {"canonical": "bytes", "control_totals": "none"},
        }
    )


@dataclass(frozen=True)
class Bought:
    """An order, and what it is of."""

    definition: BundleDefinition
    manifest: JobManifest
    purchase: Purchase

    @property
    def digest(self) -> bytes:
        return self.manifest.digest()


def buy(
    bundle: BundleDefinition,
    *,
    now: int,
    inputs: tuple[InputFile, ...] = (),
    nonce: int = 1,
    tasks: int = 1,
    lot: int = 1,
) -> Bought:
    manifest = JobManifest(
        tasks=tasks,
        image=str(bundle.image),
        command=bundle.command,
        parameters={"n": 7},
        inputs=inputs,
        determinism=bundle.determinism,
        bundle=BundleReference(
            id=bundle.id, version=bundle.version, tier="small", definition=bundle.digest().hex()
        ),
    )
    offer = bundle.offer("small")
    purchase = Purchase(
        customer=CUSTOMER.address,
        bundle=offer.id,
        price=offer.price,
        tasks=tasks,
        lot=lot,
        job=manifest.digest(),
        expiry=now + 600,
        deliver_by=now + 1200,
        era=0,
        nonce=nonce,
    )
    return Bought(bundle, manifest, purchase)


def open_deal(market: Any, bought: Bought, *, lot: int = 0, slots: int = 1) -> tuple[Deal, int]:
    """Publish, match on the local chain: the deal of a lot and its packed due."""
    client, now = market.client, market.chain.time
    offer = bought.definition.offer("small")
    if client.bundle(offer.id).until == 0:
        client.publish(market.pricing, offer, now + 86_400, Money(0))
    ask = market.ask(price=Money.parse("1.00"))
    ask = replace(ask.ask, product=offer.product, slots=slots)
    from prixfixe.keys import sign_typed
    from prixfixe.protocol.orders import SignedAsk

    signed = SignedAsk(ask, sign_typed(market.worker, ask, client.domain))
    done = client.match_purchase(
        market.scheduler, bought.purchase, market.sign(bought.purchase), offer, lot, [signed]
    )
    opened = next(event for event in done.events if isinstance(event, DealOpened))
    return opened.data, opened.due


def unopened_deal(bought: Bought, domain: Domain = DOMAIN, **changes: Any) -> Deal:
    """The deal as the contract would open it, without a chain."""
    offer = bought.definition.offer("small")
    deal = Deal(
        order=bought.purchase.digest(domain),
        customer=bought.purchase.customer,
        bundle=bought.purchase.bundle,
        lot=0,
        count=1,
        quorum=1,
        disputable=False,
        price=offer.price,
        fee=0,
        legs=(Leg(PROVIDER.address, WORKER.address, 1_000_000),),
    )
    return replace(deal, **changes)


def assignment(bought: Bought, deal: Deal, due: int, **changes: Any) -> wire.Assignment:
    """What the service would hand to the worker."""
    first = deal.lot * bought.purchase.lot
    fields: dict[str, Any] = {
        "attempt": uuid.uuid4().hex,
        "deal": deal,
        "deal_id": format_bytes32(deal.id),
        "due": due,
        "deadline": Due.unpack(due).deadline,
        "order": bought.purchase,
        "manifest": bought.manifest,
        "definition": bought.definition.to_json(),
        "image_archive": None,
        "product": bought.definition.limits.product,
        "tasks": tuple(range(first, first + deal.count)),
        "limit_units": 100,
        **changes,
    }
    return wire.Assignment(**fields)
