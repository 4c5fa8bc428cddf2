"""Quotes: a signed price for exactly one job, before any money moves."""

from __future__ import annotations

import secrets

from marketplace.bundles import Published, find
from marketplace.issued import UNSIGNED, refused_by_models
from marketplace.outlook import busy_until, past_runs
from marketplace.quoting import Quoting
from prixfixe.errors import AboveTier, Conflict, InvalidInput
from prixfixe.market.rules import Wanted
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition, Tier
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.manifest import BundleReference, InputFile, JobManifest
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import format_bytes32


class Quotes:
    """Prices by the published definitions, signed by the operator."""

    def __init__(self, quoting: Quoting) -> None:
        self._at = quoting

    def quote(self, request: wire.QuoteRequest) -> wire.Quote:
        """The price of a job, good for some minutes. What is wrong with the request is said here, before a
        byte is uploaded."""
        with self._at.store.read() as connection:
            published = find(connection, request.bundle, request.version)
            definition = published.definition
            if published.retired:
                raise _not_sold(published)
            tier = tier_of(definition, request.units)
            manifest = _manifest(published, tier, request)
            require_inputs(definition, request.inputs)
            replicas = definition.require_replicas(request.replicas)
            row = published.offers[tier.name, replicas]
            offer = Offer.from_json(row["offer"])
            sellers = self._at.live.accounts(offer.product, connection)
            past = past_runs(connection, manifest.image)
        view = self._at.chain.look(accounts=(request.customer, *sellers), offers=(offer.id,))
        deliver_by = view.time + definition.service_level
        if view.offers[offer.id] < deliver_by:
            raise _not_sold(published)
        account = view.accounts[request.customer]
        price = Money(offer.price)
        wanted = wanted_for(offer, replicas, request.customer, deliver_by)
        with self._at.live.seen(offer.product, view) as shelf:
            why = shelf.diagnose(wanted, self._at.terms.conditions(view.time), self._at.clock())
            busy = self._at.live.busy(shelf)
        until = None
        if why.able < replicas and busy:
            with self._at.store.read() as connection:
                until = busy_until(connection, busy)
        unsigned = wire.Quote(
            id=secrets.token_hex(16),
            customer=request.customer,
            bundle=definition.id,
            version=definition.version,
            tier=tier.name,
            unit=tier.unit,
            units=request.units,
            total=price * manifest.tasks,
            price=price,
            replicas=replicas,
            tasks=manifest.tasks,
            lot=1,
            offer_id=row["offer_id"],
            offer=offer,
            manifest=manifest,
            job=format_bytes32(manifest.digest()),
            expires_at=int(self._at.clock()) + self._at.settings.quote_seconds,
            # A deal that opens then still ends within the service level, should it take all its time.
            order_expiry=deliver_by - self._at.terms.grace - definition.limits.max_seconds,
            deliver_by=deliver_by,
            era=account.era,
            balance=Money(account.free),
            terms=definition.terms_digest(),
            starts_in=0 if why.able >= replicas else None if until is None else max(0, until - view.time),
            past=past,
            live_asks=why.providers,
            excluded=tuple(wire.Excluded(reason=each.reason, asks=each.asks) for each in why.excluded),
            nearest=why.nearest,
            index=self._at.issued.index(definition.limits.product, view.time),
            signature=UNSIGNED,
        )
        return self._at.issued.issue(unsigned)


def wanted_for(offer: Offer, replicas: int, customer: str, deliver_by: int) -> Wanted:
    """What the matcher would look for, so that the quote tells of the same asks."""
    return Wanted(
        job="",
        lot=0,
        customer=customer,
        product=offer.product,
        max_cost=offer.max_cost,
        disputable=offer.disputable,
        count=1,
        expiry=deliver_by,
        deliver_by=deliver_by,
        replicas=replicas,
    )


def tier_of(definition: BundleDefinition, units: int) -> Tier:
    top = definition.tiers[-1]
    if units > top.up_to:
        raise AboveTier(
            f"{units:,} {top.unit} are more than bundle {definition.id} takes: "
            f"its largest tier, {top.name}, takes {top.up_to:,} for {top.price}",
            hint=f"split the input into parts of at most {top.up_to:,} {top.unit}",
            units=units,
            limit=top.up_to,
            unit=top.unit,
            price=str(top.price.units),
        )
    return definition.tier_for(units)


def _manifest(published: Published, tier: Tier, request: wire.QuoteRequest) -> JobManifest:
    definition = published.definition
    assert definition.image is not None  # a published definition has one
    with refused_by_models():
        return JobManifest(
            image=definition.image,
            command=definition.command,
            parameters=definition.validate_parameters(request.parameters),
            inputs=request.inputs,
            tasks=1,
            determinism=definition.determinism,
            bundle=BundleReference(
                id=definition.id,
                version=definition.version,
                tier=tier.name,
                definition=published.row["definition_digest"],
            ),
        )


def require_inputs(definition: BundleDefinition, inputs: tuple[InputFile, ...]) -> None:
    allowed = definition.inputs
    if not 1 <= len(inputs) <= allowed.max_files:
        most = "1 file" if allowed.max_files == 1 else f"1 to {allowed.max_files} files"
        raise InvalidInput(
            f"bundle {definition.id} takes {most}, not {len(inputs)}",
            code="input-count",
            hint="name every file of the job once",
            inputs=len(inputs),
        )
    total = sum(file.size for file in inputs)
    if total > allowed.max_bytes:
        raise InvalidInput(
            f"the inputs have {total:,} bytes, bundle {definition.id} takes {allowed.max_bytes:,}",
            code="input-too-large",
            hint="leave out columns that are not used, or split the table",
            bytes=total,
            limit=allowed.max_bytes,
        )


def _not_sold(published: Published) -> Conflict:
    return Conflict(
        f"bundle {published.row['id']} {published.row['version']} is no longer sold",
        code="bundle-retired",
        hint="ask for a quote without naming a version, or see GET /v1/bundles",
    )
