"""Publishing a bundle's prices: image, offers on chain, listing, in this order, each step skipped when done.

What is offered on chain never changes, so publishing twice changes nothing, and a publication that was
interrupted is finished by running it again.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.client.contexts import Context
from prixfixe.client.files import describe_input
from prixfixe.errors import ConfigurationError, Conflict, Forbidden, InvalidInput, NotFound
from prixfixe.protocol.bundle import BundleDefinition, load
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.money import ZERO, Money
from prixfixe.protocol.typed_data import format_bytes32, parse_bytes32
from prixfixe.protocol.wire import BundleListing, BundlePublication

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Client
    from prixfixe.client.calls import Progress
    from prixfixe.keys import Signer

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class TierPlan:
    """One tier with one number of replicas as it will be on chain. until: its present end, 0 when it is not
    published yet."""

    name: str
    replicas: int
    unit: str
    up_to: int
    price: Money
    offer: Offer
    until: int

    @property
    def id(self) -> str:
        return format_bytes32(self.offer.id)

    @property
    def label(self) -> str:
        """The tier's name, with its replicas when there are several."""
        return self.name if self.replicas == 1 else f"{self.name} x{self.replicas}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a publication does, before it is done. float_: money from the treasury for each
    offer."""

    definition: BundleDefinition
    tiers: tuple[TierPlan, ...]
    until: int
    now: int
    float_: Money
    treasury: Money

    @property
    def new(self) -> tuple[TierPlan, ...]:
        """Tiers that need a transaction: to live as long as wanted (give or take a day), or for their
        float."""
        return tuple(tier for tier in self.tiers if tier.until < self.until - DAY_SECONDS or self.float_)


@dataclass(frozen=True, slots=True)
class Why:
    """What the history keeps of a publication. inputs: what its prices rest on. override: why it goes out
    although a stop rule says no."""

    note: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    override: str = ""

    def fields(self) -> dict[str, Any]:
        return {"note": self.note, "inputs": dict(self.inputs), "override": self.override}


@dataclass(frozen=True, slots=True)
class Retired:
    """What a retirement did. until: when the offers end on chain. transactions: hash by tier's label."""

    listing: BundleListing
    until: int
    transactions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did. transactions: hash by tier's label; empty for one that was live already."""

    listing: BundleListing
    transactions: dict[str, str]

    @property
    def id(self) -> str:
        return self.listing.id

    @property
    def version(self) -> str:
        return self.listing.version


def plan(
    market: MarketClient, pricing: str, definition: BundleDefinition, *, seconds: int, float_: Money
) -> Plan:
    """What would be published, checked against role, treasury and clock of the chain.

    pricing: the address that will sign. seconds: how long the offers shall live. float_: for each new offer.
    """
    from prixfixe.chain.client import PRICING_ROLE

    if not market.has_role(PRICING_ROLE, pricing):
        raise Forbidden(
            f"{pricing} does not have the pricing role of {market.contract}",
            code="not-pricing",
            hint="use the pricing desk's key with --key, on a devnet dev:1; or let the admin grant the role",
        )
    now = market.block().time
    tiers = tuple(
        TierPlan(
            tier.name, count, tier.unit, tier.up_to, Money(offer.price), offer, market.bundle(offer.id).until
        )
        for tier, count, offer in definition.offers()
    )
    for tier in tiers:
        if tier.offer.max_cost > tier.offer.price and not float_ and tier.until <= now:
            raise InvalidInput(
                f"tier {tier.label} may cost {Money(tier.offer.max_cost)} and sells for {tier.price}",
                code="no-float",
                hint="a price below cost needs treasury money behind it: --float DOLLARS for each tier",
            )
    made = Plan(definition, tiers, now + seconds, now, float_, market.account(market.contract).free)
    needed = float_ * len(made.new)
    if needed > made.treasury:
        raise InvalidInput(
            f"{needed} are to go into floats and the treasury holds {made.treasury}",
            code="treasury-short",
            hint="give a smaller --float",
        )
    return made


def publish(
    made: Plan,
    client: Client,
    market: MarketClient,
    signer: Signer,
    *,
    why: Why = Why(),
    say: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Published:
    """Upload the image, put the offers on chain, list the bundle. Conflict before all that when it cannot be
    listed, or a stop rule freezes new versions and `why` does not override it."""
    if _is_new(client, made.definition) and not why.override:
        require_free(client, made.definition)
    with tempfile.TemporaryDirectory(prefix="prixfixe-image-") as folder:
        archive = _archive(made.definition, Path(folder))
        say(f"image archive: {archive.stat().st_size:,} bytes")
        digest = client.upload(archive, describe_input(archive), progress=progress)
    transactions = {}
    for tier in made.new:
        outcome = market.publish(signer, tier.offer, max(made.until, tier.until), made.float_)
        transactions[tier.label] = outcome.transaction_hash
        say(f"tier {tier.label} is on chain: {tier.price} up to {tier.up_to:,} {tier.unit}")
    publication = BundlePublication(
        definition=made.definition.to_json(), image_archive=digest, **why.fields()
    )
    return Published(client.publish_bundle(publication), transactions)


def _is_new(client: Client, definition: BundleDefinition) -> bool:
    """Whether the version is not for sale yet. Conflict when it is another definition's: the service would
    refuse that too, but only after the offers are on chain."""
    for listing in client.bundles():
        same = (listing.id, listing.version) == (definition.id, definition.version)
        if same and listing.definition_digest != definition.digest().hex():
            raise Conflict(
                f"bundle {definition.id} {definition.version} is published with another definition or image",
                code="version-published",
                hint="a published version never changes: give the definition a new version",
            )
        if same:
            return listing.retired
    return True


def require_free(client: Client, definition: BundleDefinition) -> None:
    """Conflict while a stop rule freezes new versions of the bundle: before anything is on chain."""
    inputs = client.perform(client.operations.desk_inputs(definition.limits.product, 1, definition.id))
    require_free_of(inputs.stops, definition.id)


def require_free_of(stops: Sequence[str], bundle: str) -> None:
    """Conflict that names the stop rules, when there are any."""
    if stops:
        raise Conflict(
            f"new versions of {bundle} are frozen: {'; '.join(stops)}",
            code="prices-frozen",
            hint="wait, or say why it is right all the same: --override WHY, which is kept",
        )


def retire(
    client: Client, market: MarketClient, signer: Signer, listing: BundleListing, *, note: str = ""
) -> Retired:
    """Take a version off the list, and end its offers on chain as soon as notice and open quotes allow."""
    client.perform(client.operations.retire_bundle(listing.id, listing.version, note))
    until = retired_until(market, listing)
    transactions = {}
    for tier in listing.tiers:
        offer = parse_bytes32(tier.offer_id)
        if market.bundle(offer).until > until:
            transactions[tier.label] = market.retire(signer, offer, until).transaction_hash
    return Retired(client.retire_bundle(listing.id, listing.version), until, transactions)


def retired_until(market: MarketClient, listing: BundleListing) -> int:
    """When a version that is retired now ends on chain."""
    notice = max(market.policy().notice, service_level(listing))
    # A minute more than the notice: the block that takes it is later than the one that was asked.
    return market.block().time + notice + 60


def publish_bundle(
    folder: Path,
    *,
    service: str,
    rpc: str,
    contract: str,
    key: str,
    say: Callable[[str], None] = lambda line: None,
) -> Published:
    """Build and publish the bundle in `folder` for a year, without asking: what a devnet does."""
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Client
    from prixfixe.keys import load_signer

    definition = built(folder, say=say)
    market = MarketClient(rpc, contract)
    signer = load_signer(key, chain_id=market.chain_id)
    context = Context("pricing", service, market.chain_id, contract, rpc, key)
    with Client(context, signer=signer) as client:
        made = plan(market, signer.address, definition, seconds=YEAR_SECONDS, float_=ZERO)
        return publish(made, client, market, signer, say=say)


def built(
    folder: Path, *, base: str | None = None, say: Callable[[str], None] = lambda line: None
) -> BundleDefinition:
    """The definition in a bundle's folder with the image that is built, or found, for it."""
    from prixfixe.cli.bundle_image import DEFAULT_BASE, build_image

    definition = load(folder)
    return definition.with_image(build_image(folder, base=base or DEFAULT_BASE, say=say))


def _archive(definition: BundleDefinition, folder: Path) -> Path:
    """The image as an archive that an engine loads; ConfigurationError when it is another image."""
    from prixfixe.cli.bundle_image import save_image

    assert definition.image is not None
    archive = folder / "image.tar"
    save_image(definition.image, archive)
    if archive_image_id(archive) != definition.image:
        raise ConfigurationError(
            f"the engine saved another image than {definition.image}",
            hint="build it again: prixfixe bundle build",
        )
    return archive


def archive_image_id(archive: Path) -> str:
    """The id of the image in an archive: SHA-256 of the configuration that its manifest names."""
    import hashlib

    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            name = json.load(manifest)[0]["Config"]
            config = tar.extractfile(name)
            assert config is not None
            return "sha256:" + hashlib.sha256(config.read()).hexdigest()
    except (tarfile.TarError, KeyError, IndexError, ValueError, AssertionError) as error:
        raise ConfigurationError(f"{archive.name} is not an image archive") from error


def listed(client: Client, name: str, version: str | None) -> BundleListing:
    """The listing that a command means: the named version, else the only one that is sold."""
    found = [each for each in client.bundles() if each.id == name]
    chosen = [each for each in found if (each.version == version if version else not each.retired)]
    if not chosen:
        known = ", ".join(f"{each.version}{' (retired)' if each.retired else ''}" for each in found)
        raise NotFound(
            f"there is no bundle {name}" + (f" of version {version}" if version else " for sale"),
            hint=f"its versions: {known}" if known else "see what there is: `prixfixe pricing list`",
        )
    if len(chosen) > 1:
        raise Conflict(
            f"several versions of {name} are for sale: {', '.join(each.version for each in chosen)}",
            hint="name one with --version",
        )
    return chosen[0]


def service_level(listing: BundleListing) -> int:
    """Seconds within which the bundle promises a result."""
    level = listing.definition.get("service_level")
    return level if isinstance(level, int) else 0
