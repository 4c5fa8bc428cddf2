"""A bundle's definition: what an application is, what it takes, what it costs, what is promised.

Written by people in `bundles/NAME/bundle.toml`, published as JSON, hashed as canonical JSON (RFC 8785). The
hash goes on chain with the image and the tier, so a change of price, image or limit is another bundle
version."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from prixfixe.errors import AboveTier, ConfigurationError, InvalidInput
from prixfixe.protocol.canonical import canonical_digest, canonical_json
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.manifest import ImageId
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import ReplicaCounts, quorum_of
from prixfixe.protocol.sample import Sample
from prixfixe.protocol.schema import check_schema, defaults, place_of, validator

Refund = Literal[
    "timeout",
    "no-consensus",
    "provider-error",
    "invalid-input-found-late",
    "cancelled-before-start",
    "dispute-upheld",
]
REFUNDS: tuple[Refund, ...] = (
    "timeout",
    "no-consensus",
    "provider-error",
    "invalid-input-found-late",
    "cancelled-before-start",
    "dispute-upheld",
)
"""When the whole price goes back without being asked for. A bundle cannot promise less."""

_DOLLARS = re.compile(r"(?:0|[1-9][0-9]{0,11})\.[0-9]{2,6}", re.ASCII)


def _dollars(value: Any) -> Money:
    """Money of "4.00". The point is required: units of the token ("4000000") cannot be taken for dollars."""
    if isinstance(value, Money):
        return value
    if not isinstance(value, str) or _DOLLARS.fullmatch(value) is None:
        raise ValueError('dollars as text with two to six decimals, such as "4.00"')
    return Money.parse(value)


Dollars = Annotated[Money, PlainValidator(_dollars), PlainSerializer(lambda m: m.plain, return_type=str)]
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\n\r]+$")]
Count = Annotated[StrictInt, Field(gt=0, lt=2**53)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


class Inputs(_Frozen):
    """What may be handed in. `max_bytes` is of all files together."""

    formats: Annotated[tuple[Literal["csv", "xlsx", "parquet"], ...], Field(min_length=1)]
    max_bytes: Count
    max_files: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    preflight: Literal["none", "table", "rows"] = "none"
    """How the client counts units and checks inputs before it asks for a price: `prixfixe.tables` for
    tables."""


class Tier(_Frozen):
    """A flat price for anything up to so many units, and the most that it may cost us; each of one
    replica."""

    name: Name
    unit: Name
    up_to: Count
    price: Dollars
    max_cost: Dollars

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if not self.price or not self.max_cost:
            raise ValueError("price and max_cost are above zero")
        return self


class Limits(_Frozen):
    """The product that a run is given, the cap of its time included. Our risk, never the buyer's."""

    milli_vcpu: Count
    memory_mib: Count
    disk_mib: Count
    gpu_model: str = ""
    gpu_count: Annotated[StrictInt, Field(ge=0, le=255)] = 0
    max_seconds: Count
    network: Literal["none"] = "none"

    @cached_property
    def product(self) -> Product:
        return Product(
            milli_vcpu=self.milli_vcpu,
            memory_mib=self.memory_mib,
            disk_mib=self.disk_mib,
            gpu_model=self.gpu_model,
            gpu_count=self.gpu_count,
            max_seconds=self.max_seconds,
        )

    @model_validator(mode="after")
    def _tradable(self) -> Self:
        try:
            _ = self.product
        except InvalidInput as error:
            raise ValueError(error.message) from error
        return self


class Privacy(_Frozen):
    """What happens to the customer's data. `pseudonymise` names the parameters that list such columns."""

    pseudonymise: tuple[Name, ...] = ()
    retention_days: Annotated[StrictInt, Field(ge=0, le=3650)]
    deletion_receipt: StrictBool = False


class Proof(_Frozen):
    """What a result can be checked by: what is hashed, which file has the control totals."""

    canonical: Line
    control_totals: Line
    certificate: StrictBool = False


class BundleDefinition(_Frozen):
    """One immutable version of a bundle. `image` is None only until it has been built."""

    id: Name
    version: Annotated[
        str, StringConstraints(strict=True, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", max_length=32)
    ]
    title: Line
    summary: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2000)]
    audience: Line
    image: ImageId | None = None
    command: Annotated[
        tuple[Annotated[str, StringConstraints(strict=True, min_length=1)], ...], Field(min_length=1)
    ]
    parameters: dict[str, Any]
    inputs: Inputs
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=16)]
    limits: Limits
    replicas: ReplicaCounts
    """How many providers a customer may let run its task, the usual number first."""
    determinism: Literal["exact", "canonical", "none"]
    normaliser: Line | None = None
    disputable: StrictBool = False
    """Whether a settled result can be challenged: same bytes everywhere, and inputs that judges may see."""
    service_level: Count
    """Result within so many seconds of the purchase, else the full price back by the contract."""
    refunds: tuple[Refund, ...] = REFUNDS
    placement: Literal["public", "vetted", "own"] = "public"
    privacy: Privacy
    proof: Proof
    rollout: Literal[1, 5, 15, 100] = 100
    # Left out when there is none, so that digests of such definitions stay.
    sample: Annotated[Sample | None, Field(exclude_if=lambda sample: sample is None)] = None

    @field_validator("parameters")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        check_schema(schema)
        return schema

    @field_validator("tiers")
    @classmethod
    def _ascending(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if len({tier.name for tier in tiers}) != len(tiers):
            raise ValueError("two tiers have the same name")
        if len({tier.unit for tier in tiers}) != 1:
            raise ValueError("all tiers count the same unit")
        for lower, upper in pairwise(tiers):
            if not lower.up_to < upper.up_to or upper.price < lower.price:
                raise ValueError(f"tier {upper.name} takes more units than {lower.name} and costs no less")
        return tiers

    @field_validator("refunds")
    @classmethod
    def _complete(cls, refunds: tuple[Refund, ...]) -> tuple[Refund, ...]:
        if set(refunds) != set(REFUNDS) or len(refunds) != len(REFUNDS):
            raise ValueError(f"refunds are automatic and complete: {', '.join(REFUNDS)}")
        return refunds

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.determinism == "canonical") != (self.normaliser is not None):
            raise ValueError("a normaliser is named exactly when determinism is canonical")
        if self.determinism == "none" and self.replicas != (1,):
            raise ValueError("replicas cannot agree without determinism: replicas is 1")
        if self.disputable and (self.determinism == "none" or self.placement == "own"):
            raise ValueError(
                "disputable needs determinism exact or canonical, and inputs that judges may see"
            )
        if self.service_level < self.limits.max_seconds:
            raise ValueError("service_level is shorter than the run may take (limits.max_seconds)")
        if self.sample is not None and "csv" not in self.inputs.formats:
            raise ValueError("the sample is CSV, which is none of inputs.formats")
        return self

    # --- identity

    def to_json(self) -> dict[str, Any]:
        """The published form: JSON values only, every default written out."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """RFC 8785 bytes of the published form."""
        return canonical_json(self.to_json())

    def digest(self) -> bytes:
        """SHA-256 of `canonical()`, 32 bytes."""
        return canonical_digest(self.to_json())

    def with_image(self, image: str) -> BundleDefinition:
        """The same definition with the image that was built for it."""
        return BundleDefinition.model_validate({**self.to_json(), "image": image})

    def application(self, tier: str) -> bytes:
        """`Offer.application` of a tier: the definition, the image and the tier's name, in one hash."""
        return application_digest(self.digest().hex(), self._built_image(), self.tier(tier).name)

    def offer(self, tier: str, replicas: int | None = None) -> Offer:
        """A tier with so many replicas (None: the usual number) as it is offered on chain.

        Each number is an offer of its own: its price, a multiple of the tier's, makes another hash.
        """
        chosen, count = self.tier(tier), self.require_replicas(replicas)
        return Offer(
            product=self.limits.product.to_bytes(),
            application=self.application(tier),
            price=(chosen.price * count).units,
            max_cost=(chosen.max_cost * count).units,
            quorum=quorum_of(count),
            disputable=self.disputable,
        )

    def offers(self) -> Iterator[tuple[Tier, int, Offer]]:
        """Everything that is sold: each tier with each number of replicas, the smallest tier first."""
        for tier in self.tiers:
            for count in self.replicas:
                yield tier, count, self.offer(tier.name, count)

    def terms_digest(self) -> str:
        """SHA-256 of what is promised (refunds, service level, privacy), 64 hex digits: a quote repeats
        it."""
        whole = self.to_json()
        return canonical_digest({key: whole[key] for key in ("refunds", "service_level", "privacy")}).hex()

    def require_replicas(self, count: int | None) -> int:
        """The number of replicas that is meant, the usual one for None; InvalidInput when it is not sold."""
        chosen = self.replicas[0] if count is None else count
        if chosen not in self.replicas:
            raise InvalidInput(
                f"bundle {self.id} is not sold with {chosen} replicas",
                code="replicas-not-sold",
                hint=f"choose from: {', '.join(str(each) for each in self.replicas)}",
            )
        return chosen

    def _built_image(self) -> str:
        if self.image is None:
            raise ConfigurationError(
                f"bundle {self.id} {self.version} has no image yet",
                hint=f"build it first: prixfixe bundle build bundles/{self.id}",
            )
        return self.image

    # --- what a run needs

    @property
    def replica_choices(self) -> str:
        """The numbers of replicas that are sold, in words: "1" or "1 or 3"."""
        return " or ".join(str(count) for count in self.replicas)

    @property
    def unit(self) -> str:
        """What the tiers count."""
        return self.tiers[0].unit

    def tier(self, name: str) -> Tier:
        """The tier of that name; InvalidInput when there is none."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        names = ", ".join(tier.name for tier in self.tiers)
        raise InvalidInput(f"bundle {self.id} has no tier {name!r}", hint=f"its tiers are {names}")

    def tier_for(self, units: int) -> Tier:
        """The smallest tier that takes so many units; AboveTier when none does."""
        for tier in self.tiers:
            if units <= tier.up_to:
                return tier
        top = self.tiers[-1]
        raise AboveTier(
            f"{units:,} {self.unit} are more than bundle {self.id} takes: {top.up_to:,}",
            hint=f"hand in at most {top.up_to:,} {self.unit}; tier {top.name} costs {top.price}",
            units=units,
            limit=top.up_to,
        )

    def require_tier(self, name: str, units: int) -> Tier:
        """The named tier if it takes so many units; AboveTier names the one that does, and its price."""
        tier = self.tier(name)
        if units <= tier.up_to:
            return tier
        fitting = self.tier_for(units)
        raise AboveTier(
            f"{units:,} {self.unit} are more than tier {tier.name} takes: {tier.up_to:,}",
            hint=f"tier {fitting.name} takes {fitting.up_to:,} {self.unit} and costs {fitting.price}",
            units=units,
            limit=tier.up_to,
            next_tier=fitting.name,
            next_price=fitting.price.plain,
        )

    def validate_parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The request's parameters with the schema's defaults filled in; InvalidInput names what is wrong."""
        if not isinstance(parameters, Mapping) or not all(isinstance(name, str) for name in parameters):
            raise InvalidInput(
                f"parameters are a mapping of names to values, and {type(parameters).__name__} was given",
                code="invalid-parameters",
                hint=f"bundle {self.id} takes {', '.join(self.parameters.get('properties', {}))}",
                parameter="parameters",
            )
        completed = {**defaults(self.parameters), **parameters}
        found = min(validator(self.parameters).iter_errors(completed), key=place_of, default=None)
        if found is not None:
            place = ".".join(str(part) for part in found.absolute_path) or "parameters"
            raise InvalidInput(
                f"{place}: {found.message[:300]}",
                code="invalid-parameters",
                hint=f"`prixfixe run {self.id} --options` says what each parameter may be; there are "
                + ", ".join(self.parameters.get("properties", {})),
                parameter=place,
            )
        canonical_json(completed)  # refuses what a manifest cannot hold: floats, integers above 2^53
        return completed


def application_digest(definition: str, image: str, tier: str) -> bytes:
    """`Offer.application`: SHA-256 of the canonical JSON of definition digest (hex), image id and tier
    name."""
    return canonical_digest({"definition": definition, "image": image, "tier": tier})


def load(path: str | os.PathLike[str]) -> BundleDefinition:
    """Read `bundle.toml`, or the one in a bundle's folder. ConfigurationError names file and field."""
    path = Path(path)
    if path.is_dir():
        path = path / "bundle.toml"
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", hint="name a folder that holds a bundle.toml"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    return parse(document, str(path))


def parse(document: Mapping[str, Any], source: str = "the bundle's definition") -> BundleDefinition:
    """The definition in a TOML or JSON document. ConfigurationError names every field at fault."""
    try:
        return BundleDefinition.model_validate(dict(document))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'definition'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False)
        )
        raise ConfigurationError(f"{source} is not a bundle: {faults}", hint="see docs/bundles") from error
