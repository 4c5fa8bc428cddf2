"""Quotes for bids: what tasks of any image cost by the asks that rest now, before any money moves."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Final

from marketplace.chain import ChainView
from marketplace.issued import UNSIGNED, refused_by_models
from marketplace.orders import MATCH_SECONDS
from marketplace.outlook import busy_until, past_runs
from marketplace.quoting import Quoting
from marketplace.vetting import admitted
from prixfixe.errors import InvalidInput
from prixfixe.market.auction import leg_limit
from prixfixe.market.estimate import Estimate, estimate, lot_size
from prixfixe.market.rules import Conditions, Wanted, WhyNot
from prixfixe.protocol import wire
from prixfixe.protocol.manifest import Capability, Egress, JobManifest, needs_of
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import KIND_BIDS
from prixfixe.protocol.typed_data import format_bytes32

_ANY_PRICE: Final = 2**62  # above every ask, and within what an account can hold
_HALF_MORE: Final = (3, 2)  # an auction's limit when none is named


class BidQuotes:
    """Prices of bids, by the asks that rest and the rules of the matcher."""

    def __init__(self, quoting: Quoting) -> None:
        self._at = quoting

    def quote(self, request: wire.BidQuoteRequest) -> wire.BidQuote:
        """The most that the order can cost, what it would cost now, and who could run it. InvalidInput for
        what could never run: an image that nobody can get, times that do not fit, a flat bid that nobody
        asks a price for."""
        _require_image(request)
        _require_matchable(request)
        manifest = _manifest(request)
        product = request.product.to_bytes()
        with self._at.store.read() as connection:
            sellers = self._at.live.accounts(product, connection)
            past = past_runs(connection, request.image)
            request = request.model_copy(update={"providers": admitted(connection, request)})
        view = self._at.chain.look(accounts=(request.customer, *sellers), fee=True)
        conditions, clock = self._at.terms.conditions(view.time), self._at.clock()
        with self._at.live.seen(product, view) as shelf:
            lot = request.lot or lot_size(request.tasks, shelf.slots, request.replicas)
            wanted = self._wanted(request, lot, -(-lot // shelf.least_slots), view)
            able = shelf.able(wanted, conditions, clock)
            sizes = [min(lot, request.tasks - at) for at in range(0, request.tasks, lot)]
            now = estimate(sizes, request.replicas, able, view.fee_bps)
            if request.price is None and now is None:
                raise _no_price(request, shelf.diagnose(wanted, conditions, clock))
            price = _price(request, now)
            at_price = replace(wanted, max_cost=leg_limit(price.units, 1, view.fee_bps))
            why = shelf.diagnose(at_price, conditions, clock)
            busy = self._at.live.busy(shelf)
        until = None
        if busy:
            with self._at.store.read() as connection:
                until = busy_until(connection, busy)
        affordable = now if now is not None and now.price <= price.units else None
        account = view.accounts[request.customer]
        return self._at.issued.issue(
            wire.BidQuote(
                id=secrets.token_hex(16),
                customer=request.customer,
                kind=request.kind,
                product=request.product,
                image_archive=request.image_archive,
                fee_bps=view.fee_bps,
                total=price * request.tasks,
                price=price,
                expected=None if affordable is None else Money(affordable.total),
                starts_in=_starts_in(affordable, until, conditions),
                past=past,
                replicas=request.replicas,
                tasks=request.tasks,
                lot=lot,
                whole=request.whole,
                providers=request.providers,
                manifest=manifest,
                job=format_bytes32(manifest.digest()),
                expires_at=int(self._at.clock()) + self._at.settings.quote_seconds,
                order_expiry=wanted.expiry,
                deliver_by=wanted.deliver_by,
                era=account.era,
                balance=Money(account.free),
                live_asks=why.providers,
                excluded=tuple(wire.Excluded(reason=each.reason, asks=each.asks) for each in why.excluded),
                nearest=why.nearest,
                index=self._at.issued.index(request.product, view.time),
                signature=UNSIGNED,
            )
        )

    def _wanted(self, request: wire.BidQuoteRequest, lot: int, waves: int, view: ChainView) -> Wanted:
        """The first lot at any price; its times as the order will have them. waves: in how many steps the
        worker that runs fewest tasks side by side runs a lot."""
        longest = self._at.terms.grace + request.product.max_seconds * waves
        deliver = request.deliver_seconds or request.wait_seconds + longest
        if deliver < longest + MATCH_SECONDS:
            raise InvalidInput(
                f"a result within {deliver} s cannot be promised: a lot of {lot} task(s) of "
                f"{request.product} may take {longest} s",
                code="too-short",
                hint=f"allow at least {longest + MATCH_SECONDS} s, take smaller lots, or a product of less "
                "time",
                least=longest + MATCH_SECONDS,
            )
        deliver_by = view.time + deliver
        return Wanted(
            job="",
            lot=0,
            customer=request.customer,
            product=request.product.to_bytes(),
            max_cost=_ANY_PRICE,
            disputable=False,
            count=min(lot, request.tasks),
            expiry=min(view.time + request.wait_seconds, deliver_by - longest),
            deliver_by=deliver_by,
            replicas=request.replicas,
            kind=KIND_BIDS,
            providers=None if request.providers is None else frozenset(request.providers),
            needs=_needs(request),
        )


def _needs(request: wire.BidQuoteRequest) -> frozenset[Capability]:
    """What its worker must have. An auction is refused what a batch does not tell asks by, but for secrets: a
    worker that takes none refuses the lot, and it is tried elsewhere."""
    secret = bool(request.secrets) and request.kind == "flat"
    return needs_of(request.isolation, calls=bool(request.hosts), secret=secret)


def _price(request: wire.BidQuoteRequest, now: Estimate | None) -> Money:
    """The most per task: what the customer names, or what the asks say."""
    if request.price is not None:
        if not 0 <= request.price.units <= _ANY_PRICE // request.tasks:
            raise InvalidInput(f"{request.price} a task is no price that an account could pay", code="price")
        return request.price
    assert now is not None  # or there is no price
    if request.kind == "flat":
        return Money(now.price)
    more, than = _HALF_MORE
    return Money(-(-now.price * more // than))


def _no_price(request: wire.BidQuoteRequest, why: WhyNot) -> InvalidInput:
    """Nobody names a price, neither the customer nor enough providers."""
    if why.asks == 0:
        there = f"nobody offers {request.product.name} now"
    elif request.replicas == 1:
        there = f"none of the {why.asks} ask(s) for {request.product.name} could take it ({why})"
    else:
        needed = f"{request.replicas} providers of {request.product.name} are needed"
        others = f" ({why})" if why.excluded else ""
        there = f"{needed}, and {why.providers or 'none'} could take it now{others}"
    return InvalidInput(
        f"{there}, so there is no price to quote",
        code="no-price",
        hint="name the most that you would pay (`--price`) and let it wait in the auction, or see "
        "`prixfixe market book` for what is offered",
        nearest=why.nearest,
    )


def _starts_in(now: Estimate | None, busy_until: int | None, conditions: Conditions) -> int | None:
    """Seconds until the first lot finds room: at once, or at the latest when the first deal has ended."""
    if now is None:
        return None
    if now.at_once:
        return 0
    return None if busy_until is None else max(0, busy_until - conditions.now)


def _require_matchable(request: wire.BidQuoteRequest) -> None:
    """A batch is published with all that it looked at, and no order of it says what cage it needs."""
    needs = _needs(request)
    if needs >= {"gvisor", "egress"}:
        raise InvalidInput(
            "gVisor has no network, so that a job in it cannot call hosts",
            code="egress-in-gvisor",
            hint="require one of the two",
        )
    if request.kind == "auction" and needs:
        raise InvalidInput(
            f"an auction does not tell asks with {', '.join(sorted(needs))} from others",
            code="auction-needs",
            hint="order it flat, or name providers that have it (`--provider`) and leave the requirement out",
        )


def _require_image(request: wire.BidQuoteRequest) -> None:
    if ("@" in request.image) == (request.image_archive is not None):
        raise InvalidInput(
            "an image comes from a registry, named NAME@sha256:..., or from an archive, named by its id "
            "sha256:... with the archive's digest",
            code="image-source",
            hint="upload `docker save IMAGE` as a blob and name it, or give the registry's digest",
        )


def _manifest(request: wire.BidQuoteRequest) -> JobManifest:
    with refused_by_models():
        return JobManifest(
            image=request.image,
            command=request.command,
            environment=request.environment,
            parameters=request.parameters,
            inputs=request.inputs,
            tasks=request.tasks,
            matrix=request.matrix,
            determinism=request.determinism,
            isolation=request.isolation,
            network=Egress(hosts=request.hosts) if request.hosts else "none",
            secrets=request.secrets,
        )
