"""What a worker sees for itself before it runs a stranger's job: pure functions of one assignment.

The service is not trusted with this: a worker that signs for another program than the customer bought would
be the one that pays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from prixfixe.errors import Fault, PrixfixeError, VerificationFailed
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.canonical import canonical_json, sha256_hex
from prixfixe.protocol.deals import Due, Offer
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.orders import Bid, Purchase
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.protocol.wire import Assignment
from worker.quoting import slot_fits
from worker.settings import WorkerSettings

_ATTEMPT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class NotOurs(VerificationFailed):
    """The assignment is not a deal of this worker: nothing is run, and nothing is signed."""

    default_code = "assignment-not-ours"


class NotAsBought(VerificationFailed):
    """The deal is this worker's, but what it was told to run is not what the customer signed: it refuses."""

    default_code = "assignment-not-as-bought"

    def __init__(self, message: str, *, fault: Fault = "platform") -> None:
        super().__init__(message, fault=fault)


def check_deal(assignment: Assignment, key: str, provider: str, domain: Domain) -> None:
    """NotOurs unless the deal is the one named, of the order given, with this worker as its leg."""
    deal, order = assignment.deal, assignment.order
    if not _ATTEMPT.fullmatch(assignment.attempt):
        raise NotOurs(f"{assignment.attempt[:80]!r} is no attempt's id: it becomes the name of a folder")
    if format_bytes32(deal.id) != assignment.deal_id:
        raise NotOurs(f"the deal hashes to {format_bytes32(deal.id)}, not to {assignment.deal_id}")
    if deal.order != order.digest(domain):
        raise NotOurs(f"deal {assignment.deal_id} is of another order than the one given")
    if not any((leg.key, leg.provider) == (key, provider) for leg in deal.legs):
        raise NotOurs(f"deal {assignment.deal_id} has no leg of key {key}")
    if Due.unpack(assignment.due).deadline != assignment.deadline:
        raise NotOurs(f"deal {assignment.deal_id} has another deadline than it says")
    bundle = bytes(32) if isinstance(order, Bid) else order.bundle
    if (deal.bundle, deal.customer) != (bundle, order.customer):
        raise NotOurs(f"deal {assignment.deal_id} is of another bundle or customer than its order")


def check_job(assignment: Assignment, settings: WorkerSettings) -> None:
    """NotAsBought unless manifest, definition, offer and product agree with what the customer signed."""
    manifest, order = assignment.manifest, assignment.order
    if manifest.digest() != order.job:
        raise NotAsBought(
            f"the manifest hashes to {manifest.digest().hex()}, the order is for {order.job.hex()}"
        )
    if isinstance(order, Bid):
        _require_product(assignment, order.product)
    else:
        _, offer = as_bought(manifest, assignment.definition, order)
        _require_product(assignment, offer.product)
    if manifest.matrix is not None and not isinstance(order, Bid):
        raise NotAsBought("a bundle's tasks have no parameters of their own")
    first, count = assignment.deal.lot * order.lot, assignment.deal.count
    if assignment.tasks != tuple(range(first, first + count)) or first + count > manifest.tasks:
        raise NotAsBought(f"the tasks given are not the deal's {count} from {first} on")
    if (unfit := slot_fits(settings, assignment.product)) is not None:
        raise NotAsBought(unfit, fault="provider")


def _require_product(assignment: Assignment, product: bytes) -> None:
    if assignment.product.to_bytes() != product:
        raise NotAsBought(f"the job's product is {assignment.product}, the order's another")


def as_bought(
    manifest: JobManifest, definition: Mapping[str, Any] | None, purchase: Purchase
) -> tuple[BundleDefinition, Offer]:
    """The definition and the offer that a purchase accepted; NotAsBought unless the definition is the one
    that the manifest names, and manifest and offer are what it says."""
    reference = manifest.bundle
    if reference is None or definition is None:
        raise NotAsBought("the order is for a bundle, and the job names none")
    canonical = canonical_json(definition)
    found = sha256_hex(canonical)
    if found != reference.definition:
        raise NotAsBought(f"the definition hashes to {found}, the manifest names {reference.definition}")
    read, offers = _read(canonical, reference.tier)
    for what, told, meant in (
        ("bundle", reference.id, read.id),
        ("version", reference.version, read.version),
        ("image", manifest.image, read.image),
        ("command", manifest.command, read.command),
        # A definition names no environment: a variable such as LD_PRELOAD would make it another program.
        ("environment", manifest.environment, {}),
        ("network", manifest.hosts, ()),
        ("determinism class", manifest.determinism, read.determinism),
    ):
        if told != meant:
            raise NotAsBought(f"the job's {what} is {told!r}, the bundle's {meant!r}")
    offer = offers.get(purchase.bundle)
    if offer is None:
        sold = ", ".join(format_bytes32(offer) for offer in offers)
        raise NotAsBought(
            f"the definition's offer is {sold}, the customer bought {format_bytes32(purchase.bundle)}"
        )
    return read, offer


@lru_cache(maxsize=64)
def _read(canonical: bytes, tier: str) -> tuple[BundleDefinition, dict[bytes, Offer]]:
    """The definition and one tier's offers by their ids, one a number of replicas; kept, since a standing
    bundle comes again and again."""
    try:
        definition = BundleDefinition.model_validate_json(canonical)
        offers = [definition.offer(tier, count) for count in definition.replicas]
        return definition, {offer.id: offer for offer in offers}
    except (PrixfixeError, ValueError) as error:
        raise NotAsBought(f"the bundle's definition is not usable: {str(error)[:300]}") from error
