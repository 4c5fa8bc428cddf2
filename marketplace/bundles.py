"""Bundles: published definitions, each tier of which is an offer on chain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, insert, select, tuple_, update
from sqlalchemy.engine import RowMapping

from marketplace.blobs import owned
from marketplace.chain import ChainReader
from marketplace.desk import Desk, Note, noted, require_pricing
from marketplace.paging import no_cursor
from marketplace.store.database import Store
from marketplace.store.tables import bundles, offers
from marketplace.store.upsert import put
from prixfixe.errors import Conflict, InvalidInput, NotFound
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition, Tier
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import format_bytes32

# Seconds that a service level must leave beyond the longest run and the contract's grace: to be matched in.
MATCHING_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle version as the store has it. offers: rows by the name of the tier and the replicas."""

    row: RowMapping
    definition: BundleDefinition
    offers: Mapping[tuple[str, int], RowMapping]

    @property
    def retired(self) -> bool:
        return self.row["retired_at"] is not None

    def listing(self) -> wire.BundleListing:
        return wire.BundleListing(
            id=self.row["id"],
            version=self.row["version"],
            definition=self.row["definition"],
            definition_digest=self.row["definition_digest"],
            image=self.row["image"],
            image_archive=self.row["image_archive"],
            tiers=tuple(
                _listed(tier, count, self.offers[tier.name, count])
                for tier in self.definition.tiers
                for count in self.definition.replicas
            ),
            published_at=self.row["published_at"],
            retired=self.retired,
        )


class Bundles:
    """The catalogue. Only addresses with the contract's pricing role write it."""

    def __init__(
        self, store: Store, chain: ChainReader, desk: Desk, grace: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._chain = chain
        self._desk = desk
        self._grace = grace
        self._clock = clock

    def publish(self, publisher: str, publication: wire.BundlePublication) -> wire.BundleListing:
        """List a definition whose offers live on chain. The same publication again changes nothing."""
        require_pricing(self._chain, publisher)
        definition = _parse(publication.definition)
        self._require_feasible(definition)
        sold = list(definition.offers())
        view = self._chain.look(offers=[offer.id for _, _, offer in sold])
        for tier, count, offer in sold:
            if view.offers[offer.id] < view.time:
                of = f"of tier {tier.name}" + (f" with {count} replicas" if count > 1 else "")
                raise Conflict(
                    f"the offer {of} ({format_bytes32(offer.id)}) does not live on chain",
                    code="offer-not-live",
                    hint="publish it with the pricing key first: `prixfixe pricing publish`",
                )
        digest = definition.digest().hex()
        with self._store.read() as connection:
            listed = _row(connection, definition.id, definition.version)
        if listed is None or listed["retired_at"] is not None:
            self._desk.require_free(definition.limits.product, definition.id, publication.override)
        with self._store.write() as connection:
            known = _row(connection, definition.id, definition.version)
            if known is not None and known["definition_digest"] != digest:
                raise Conflict(
                    f"bundle {definition.id} {definition.version} is published with another definition",
                    code="version-published",
                    hint="a published version never changes: give the definition a new version",
                )
            if not owned(connection, [publication.image_archive], publisher):
                raise Conflict(
                    f"the image archive {publication.image_archive} is not here",
                    code="archive-missing",
                    hint="upload it first: PUT /v1/blobs/{sha256}",
                )
            if known is None:
                connection.execute(
                    insert(bundles).values(
                        id=definition.id,
                        version=definition.version,
                        definition=definition.to_json(),
                        definition_digest=digest,
                        image=definition.image,
                        image_archive=publication.image_archive,
                        published_by=publisher,
                        published_at=int(self._clock()),
                    )
                )
            else:
                _update(connection, definition.id, definition.version, retired_at=None)
            if known is None or known["retired_at"] is not None:
                act = Note("published", publisher, publication.note, publication.inputs, publication.override)
                noted(connection, definition.id, definition.version, act, self._clock())
            for position, (tier, count, offer) in enumerate(sold):
                put(
                    connection,
                    offers,
                    {
                        "offer_id": format_bytes32(offer.id),
                        "bundle": definition.id,
                        "version": definition.version,
                        "tier": tier.name,
                        "replicas": count,
                        "position": position,
                        "offer": offer.to_json(),
                        "product": format_bytes32(offer.product),
                        "price": Money(offer.price).require_uint64("price"),
                        "up_to": tier.up_to,
                        "until": view.offers[offer.id],
                    },
                )
            return find(connection, definition.id, definition.version).listing()

    def retire(self, publisher: str, bundle: str, version: str | None, note: str = "") -> wire.BundleListing:
        """Take a version off the list: it is quoted no more. The contract sells it up to its `until`. note:
        why, for the history."""
        require_pricing(self._chain, publisher)
        with self._store.write() as connection:
            published = find(connection, bundle, version)
            ids = [bytes.fromhex(row["offer_id"][2:]) for row in published.offers.values()]
            if not published.retired:
                chosen = published.row["version"]
                _update(connection, bundle, chosen, retired_at=int(self._clock()))
                noted(connection, bundle, chosen, Note("retired", publisher, note), self._clock())
        # Outside of the transaction: nobody waits for the store while the chain answers.
        untils = self._chain.look(offers=ids).offers
        with self._store.write() as connection:
            for identity, until in untils.items():
                connection.execute(
                    update(offers).where(offers.c.offer_id == format_bytes32(identity)).values(until=until)
                )
            return find(connection, bundle, published.row["version"]).listing()

    def listings(self) -> tuple[wire.BundleListing, ...]:
        """All versions, by bundle, the newest first."""
        with self._store.read() as connection:
            rows = connection.execute(_VERSIONS).all()
            return tuple(find(connection, row.id, row.version).listing() for row in rows)

    def page(self, cursor: str | None, limit: int) -> tuple[tuple[wire.BundleListing, ...], str | None]:
        """The same in parts, and the cursor of the next one: `BUNDLE@VERSION`, the last that was shown."""
        query = _VERSIONS.limit(limit + 1)
        with self._store.read() as connection:
            if cursor is not None:
                name, _, version = cursor.partition("@")
                last = _row(connection, name, version)
                if last is None:
                    raise no_cursor(cursor)
                query = query.where(
                    (bundles.c.id > name)
                    | (bundles.c.id == name)
                    & (tuple_(bundles.c.published_at, bundles.c.version) < (last["published_at"], version))
                )
            found = connection.execute(query).all()
            shown = tuple(find(connection, row.id, row.version).listing() for row in found[:limit])
        return shown, f"{shown[-1].id}@{shown[-1].version}" if len(found) > limit else None

    def listing(self, bundle: str, version: str | None) -> wire.BundleListing:
        """One version, the newest that is sold when none is named."""
        with self._store.read() as connection:
            return find(connection, bundle, version).listing()

    def _require_feasible(self, definition: BundleDefinition) -> None:
        if definition.image is None:
            raise InvalidInput("the definition names no image", hint="build it: `prixfixe bundle build`")
        least = definition.limits.max_seconds + self._grace + MATCHING_SECONDS
        if definition.service_level < least:
            raise InvalidInput(
                f"a service level of {definition.service_level} s cannot be kept: the longest run, the "
                f"contract's grace and {MATCHING_SECONDS} s to find a worker are {least} s",
                code="service-level-too-short",
            )


# Made once: making a statement takes longer than running it.
_NEWEST: Final = (
    select(bundles)
    .where(bundles.c.id == bindparam("bundle"))
    .order_by(bundles.c.retired_at.is_not(None), bundles.c.published_at.desc(), bundles.c.version.desc())
    .limit(1)
)
_ONE: Final = select(bundles).where(
    bundles.c.id == bindparam("bundle"), bundles.c.version == bindparam("version")
)
_VERSIONS: Final = select(bundles.c.id, bundles.c.version).order_by(
    bundles.c.id, bundles.c.published_at.desc(), bundles.c.version.desc()
)
_MOST_PARSED: Final = 256
_parsed: dict[str, BundleDefinition] = {}
_OFFERS: Final = select(offers).where(
    offers.c.bundle == bindparam("bundle"), offers.c.version == bindparam("version")
)


def find(connection: Connection, bundle: str, version: str | None = None) -> Published:
    """A published version; the newest when none is named, one that is sold before one that is retired."""
    row = _row(connection, bundle, version)
    if row is None:
        known = connection.execute(select(bundles.c.id).distinct().order_by(bundles.c.id)).scalars()
        raise NotFound(
            f"there is no bundle {bundle}" + (f" of version {version}" if version else ""),
            code="bundle-unknown",
            hint="published: " + (", ".join(known) or "none yet"),
        )
    of = {"bundle": row["id"], "version": row["version"]}
    rows = {(each["tier"], each["replicas"]): each for each in connection.execute(_OFFERS, of).mappings()}
    return Published(row, stored_definition(row["definition_digest"], row["definition"]), rows)


def _listed(tier: Tier, replicas: int, row: RowMapping) -> wire.ListedTier:
    offer = Offer.from_json(row["offer"])
    return wire.ListedTier(
        name=tier.name,
        replicas=replicas,
        unit=tier.unit,
        up_to=tier.up_to,
        price=Money(offer.price),
        offer_id=row["offer_id"],
        offer=offer,
        until=row["until"],
    )


def stored_definition(digest: str, definition: Mapping[str, Any]) -> BundleDefinition:
    """The parsed definition, its parameters in its author's order. A digest has one definition for ever, so
    it is parsed once."""
    found = _parsed.get(digest)
    if found is None:
        found = BundleDefinition.model_validate_json(json.dumps(definition))
        if len(_parsed) >= _MOST_PARSED:
            _parsed.clear()
        _parsed[digest] = found
    return found


def _row(connection: Connection, bundle: str, version: str | None) -> RowMapping | None:
    named = {"bundle": bundle} if version is None else {"bundle": bundle, "version": version}
    return connection.execute(_NEWEST if version is None else _ONE, named).mappings().one_or_none()


def _update(connection: Connection, bundle: str, version: str, **values: Any) -> None:
    connection.execute(
        update(bundles).where(bundles.c.id == bundle, bundles.c.version == version).values(**values)
    )


def _parse(document: Mapping[str, Any]) -> BundleDefinition:
    try:
        return BundleDefinition.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "definition"
        raise InvalidInput(
            f"the definition is no bundle: {place}: {first['msg']}", code="bad-definition"
        ) from error
