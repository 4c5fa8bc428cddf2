"""What the client checks of a quote before it shows it, and again before it signs."""

from __future__ import annotations

from collections.abc import Sequence

from prixfixe.errors import SignatureError, VerificationFailed
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition, application_digest
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.quotes import quote_digest
from prixfixe.protocol.replicas import quorum_of
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.typed_data import Domain, format_bytes32


def quote_faults(quote: wire.Quote | wire.BidQuote, domain: Domain, operator: str) -> list[str]:
    """Everything that does not hold in a quote by itself, in words; empty when it is sound."""
    faults = []
    try:
        require_signer(quote_digest(quote, domain), parse_signature(quote.signature), operator)
    except SignatureError as error:
        faults.append(f"it is not signed by the market's operator: {error}")
    if quote.job != format_bytes32(quote.manifest.digest()):
        faults.append("its job is not the digest of its manifest")
    if quote.total != quote.price * quote.tasks:
        faults.append(f"its total {quote.total} is not {quote.tasks} x {quote.price}")
    if quote.manifest.tasks != quote.tasks:
        faults.append("its number of tasks is not its manifest's")
    return faults + (_bid_faults(quote) if isinstance(quote, wire.BidQuote) else _bundle_faults(quote))


def _bid_faults(quote: wire.BidQuote) -> list[str]:
    faults = []
    if quote.manifest.bundle is not None:
        faults.append("its manifest is of a bundle")
    if quote.expected is not None and quote.expected > quote.total:
        faults.append(f"it expects {quote.expected}, more than its total {quote.total}")
    return faults


def _bundle_faults(quote: wire.Quote) -> list[str]:
    faults = []
    if quote.offer_id != format_bytes32(quote.offer.id):
        faults.append("its offer id is not the hash of its offer")
    if quote.offer.price != quote.price.units:
        faults.append("its price is not its offer's")
    if quote.offer.quorum != quorum_of(quote.replicas):
        faults.append(f"its offer has a quorum of {quote.offer.quorum} for {quote.replicas} replicas")
    named = quote.manifest.bundle
    if named is None or (named.id, named.version, named.tier) != (quote.bundle, quote.version, quote.tier):
        faults.append("its manifest is of another bundle, version or tier")
    elif quote.offer.application != application_digest(named.definition, quote.manifest.image, quote.tier):
        faults.append("its offer is of another definition, image or tier than its manifest")
    return faults


def require_quote(quote: wire.Quote | wire.BidQuote, domain: Domain, operator: str) -> None:
    """VerificationFailed unless the quote is sound."""
    if faults := quote_faults(quote, domain, operator):
        raise VerificationFailed(
            f"the service's quote cannot be accepted: {'; '.join(faults)}",
            code="bad-quote",
            fault="platform",
            hint="nothing was signed and nothing was charged",
        )


def require_same_terms(quote: wire.Quote, request: wire.QuoteRequest) -> None:
    """VerificationFailed unless the quote is for exactly what was asked."""
    differing = [
        name
        for name, quoted, asked in (
            ("customer", quote.customer, request.customer),
            ("bundle", quote.bundle, request.bundle),
            ("version", quote.version, request.version or quote.version),
            ("units", quote.units, request.units),
            ("replicas", quote.replicas, request.replicas or quote.replicas),
            (
                "parameters",
                canonical_json(quote.manifest.parameters),
                canonical_json(request.parameters),
            ),
            ("inputs", quote.manifest.inputs, request.inputs),
        )
        if quoted != asked
    ]
    require_as_asked(differing)


def require_as_asked(differing: Sequence[str]) -> None:
    """VerificationFailed when a quote differs from what was asked. differing: in what, by name."""
    if differing:
        raise VerificationFailed(
            f"the service quoted for something else than was asked: {', '.join(differing)}",
            code="bad-quote",
            fault="platform",
            hint="nothing was signed and nothing was charged",
        )


def require_definition(quote: wire.Quote, definition: BundleDefinition) -> None:
    """VerificationFailed unless the definition that was shown is the one that is sold."""
    named = quote.manifest.bundle
    promised = (definition.digest().hex(), definition.image, definition.terms_digest())
    sold = (named.definition if named else None, quote.manifest.image, quote.terms)
    if (
        promised != sold
        or quote.manifest.command != definition.command
        or quote.offer != definition.offer(quote.tier, quote.replicas)
    ):
        raise VerificationFailed(
            f"the service shows another definition of bundle {quote.bundle} than it sells",
            code="bad-quote",
            fault="platform",
            hint="nothing was signed and nothing was charged",
        )
