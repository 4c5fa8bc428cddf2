"""Taking an order: every check comes before anything is stored, and says what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from marketplace.allowances import Load, load_of, require_room
from marketplace.chain import AccountView, ChainReader, ChainView
from marketplace.ordered_files import Files
from marketplace.placing import Placed, Placing, Way, remember_key, require_same_key
from marketplace.replacing import make_way
from marketplace.retention import Keeping
from marketplace.settings import ServiceSettings
from marketplace.store.database import Raised, Store
from marketplace.store.listed import among
from marketplace.store.tables import bundles, jobs, quotes
from marketplace.store.transitions import OrderTerms, Placement, jobs_placed
from prixfixe.errors import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    PriceChanged,
    PrixfixeError,
    QuoteExpired,
    SignatureError,
)
from prixfixe.protocol import wire
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bid, Order
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import not_as_quoted
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32

# Made once: making a statement takes longer than running it.
_HERE: Final = select(jobs.c.id).where(among(jobs.c.id, "ids"))
_QUOTES: Final = select(quotes.c.id, quotes.c.quote).where(among(quotes.c.id, "ids"))
_ARCHIVE: Final = select(bundles.c.image_archive).where(
    bundles.c.id == bindparam("bundle"), bundles.c.version == bindparam("version")
)
MATCH_SECONDS = 10  # an offer that ends sooner may end before a worker is found


class Orders:
    """The door for signed orders."""

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings,
        chain: ChainReader,
        domain: Domain,
        grace: int,
        surety: Money,
        keeping: Keeping,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._chain = chain
        self._domain = domain
        self._grace = grace
        self._surety = surety
        self._keeping = keeping
        self._clock = clock

    def place(self, given: Placing, caller: str | None = None) -> Placed:
        """The job of an order. The same order is the same job, whenever it comes. caller: who signed in;
        needed to replace another order.

        SignatureError, NotFound (quote, replaced), InvalidInput (not as quoted), QuoteExpired, PriceChanged,
        Forbidden (another's to replace), Conflict (inputs, era, key, too many open, no longer to replace) or
        InsufficientFunds: then nothing was stored.
        """
        (answer,) = self.place_each([given], caller)
        if isinstance(answer, PrixfixeError):
            raise answer
        return answer

    def place_each(self, given: Sequence[Placing], caller: str | None = None) -> list[Placed | PrixfixeError]:
        """As `place` for several orders, each with an answer or an error of its own. They are read in one
        look at the store and one at the chain, and stored in one transaction."""
        ways = [Way(each) for each in given]
        for way in ways:
            way.go(partial(self._require_authority, caller))
        going = [way for way in ways if way.end is None]
        if going:
            with self._store.read() as connection:
                known = _known(connection, going)
                for way in going:
                    way.go(partial(self._look_up, connection, known))
            going = [way for way in going if way.end is None]
        if going:
            orders = [way.order for way in going]
            view = self._chain.look(
                accounts=tuple({order.customer for order in orders}),
                offers=tuple({order.bundle for order in orders if not isinstance(order, Bid)}),
            )
            for way in going:
                way.go(partial(self._require_now, view))
            self._store_each([way for way in going if way.end is None], view)
        return [way.told() for way in ways]

    def _store_each(self, ways: Sequence[Way], view: ChainView) -> None:
        """Their ends. Those that replace another order may have to be undone, and come alone, as those with
        limits of their own, which must see what was stored before them."""
        parts: list[list[Way]] = []
        for alone, run in groupby(ways, key=_comes_alone):
            together = list(run)
            parts += [[way] for way in together] if alone else [together]
        works = [partial(self._take, part, view) for part in parts]
        for part, taken in zip(parts, self._store.each_together(works), strict=True):
            if not isinstance(taken, Raised):
                for way, end in zip(part, taken, strict=True):
                    way.end = end
            elif isinstance(taken.error, PrixfixeError):
                for way in part:
                    way.end = taken.error
            elif len(part) == 1:
                raise taken.error
            else:  # by one of them: the others shall not suffer
                for way in part:
                    self._store_each([way], view)

    def _require_authority(self, caller: str | None, way: Way) -> None:
        """The customer's signature; and a session where the order ends another one, as for a cancel."""
        digest = way.order.digest(self._domain)
        self._require_signature(digest, way.given.request)
        way.job = format_bytes32(digest)
        if way.given.request.replaces is not None and caller != way.order.customer:
            raise Forbidden(
                f"{caller} is signed in, and only {way.order.customer} may replace an order of its own",
                hint="sign in with the key that signed both orders",
            )

    def _look_up(self, connection: Connection, known: _Known, way: Way) -> None:
        """Its quote and terms; the end of the way when it was here before."""
        request = way.given.request
        if way.job in known.jobs:
            require_same_key(connection, way)
            way.end = Placed(way.job, new=False)
            return
        if request.quote not in known.quotes:
            raise NotFound(
                f"there is no quote {request.quote[:64]!r}; nothing was charged",
                code="quote-unknown",
                hint="ask for a new quote",
            )
        quote, terms = known.quotes[request.quote]
        way.quote, way.terms = quote, terms
        require_as_quoted(request.order, quote, self._domain.verifying_contract)
        known.files.require(quote, request.order.customer)
        if way.given.providers is not None:
            way.terms = terms = replace(terms, providers=way.given.providers)
        if way.given.channel is not None:
            way.terms = replace(terms, channel=way.given.channel)
        if quote.expires_at < (now := int(self._clock())):
            raise QuoteExpired(
                f"the quote's time was over at {quote.expires_at}, and the service's clock says {now}; "
                "nothing was charged"
            )

    def _require_now(self, view: ChainView, way: Way) -> None:
        """What the chain says of it."""
        order, quote = way.order, way.quoted
        if isinstance(quote, wire.Quote):
            self._require_price_stands(quote, view.offers[parse_bytes32(quote.offer_id)], view.time)
        self._require_time(order, way.agreed, view)
        account = view.accounts[order.customer]
        if account.era != order.era:
            raise Conflict(
                f"the order is of era {order.era}, the account is in era {account.era}",
                code="era-changed",
                hint="ask for a new quote and sign it: orders of older eras cannot be paid",
            )

    def _take(
        self, ways: Sequence[Way], view: ChainView, connection: Connection
    ) -> list[Placed | PrixfixeError]:
        """Store those that may be; what becomes of each. One that replaces another comes alone, and what it
        raises undoes what it did."""
        here = _here(connection, [way.job for way in ways])
        files = Files.of(connection, [(way.quoted, way.order.customer) for way in ways])
        loads: dict[str, Load] = {}
        taken: list[Way] = []
        ends: list[Placed | PrixfixeError] = []
        for way in ways:
            if way.job in here:
                ends.append(Placed(way.job, new=False))
                continue
            try:
                self._require_room(connection, way, view, loads)
                files.require(way.quoted, way.order.customer)  # deleted since it was looked at
                if way.given.key is not None:
                    remember_key(connection, way, int(self._clock()))
            except PrixfixeError as error:
                if way.given.request.replaces is not None:
                    raise
                ends.append(error)
                continue
            here.add(way.job)
            loads[way.order.customer].add(way.order)
            taken.append(way)
            ends.append(Placed(way.job, new=True))
        jobs_placed(connection, [_placement(way) for way in taken])
        for way in taken:
            names = [file.sha256 for file in way.quoted.manifest.files]
            self._keeping.keep(connection, names, way.order.deliver_by, _offer_id(way.order))
        return ends

    def _require_room(
        self, connection: Connection, way: Way, view: ChainView, loads: dict[str, Load]
    ) -> None:
        """The account may order so much, and can pay it. loads: what is known of accounts already."""
        order, old = way.order, way.given.request.replaces
        if old is not None:
            make_way(connection, old, order, way.job)
        if order.customer not in loads:
            loads[order.customer] = load_of(connection, order.customer)
        load = loads[order.customer]
        require_room(load, self._settings, order)
        if way.given.within is not None:
            way.given.within(connection, order)
        self._require_balance(load.waiting, view.accounts[order.customer], order)

    def _require_signature(self, digest: bytes, request: wire.JobRequest) -> None:
        try:
            require_signer(digest, parse_signature(request.signature), request.order.customer)
        except SignatureError as error:
            error.values.setdefault("digest", format_bytes32(digest))
            if "expected" in error.values:
                error.hint = (
                    f"sign as {request.order.customer}, for chain {self._domain.chain_id} and contract "
                    f"{self._domain.verifying_contract}; a contract wallet (EIP-1271) cannot order here yet"
                )
            raise

    def _require_price_stands(self, quote: wire.Quote, until: int, now: int) -> None:
        """An offer is one price for ever, and a quote is honoured for as long as the contract sells at it:
        what is retired keeps its notice."""
        if until < now + MATCH_SECONDS:
            raise PriceChanged(
                f"bundle {quote.bundle} {quote.version} is no longer sold at {quote.total}; "
                "nothing was charged",
                quoted=str(quote.total.units),
            )

    def _require_time(self, order: Order, terms: OrderTerms, view: ChainView) -> None:
        """A run begun now and as long as it may be must end before the customer's deadline."""
        seconds = Product.from_bytes(terms.product).max_seconds
        if view.time > order.expiry:
            raise QuoteExpired(
                f"the order could be matched until {order.expiry}, and it is {view.time} on the chain; "
                "nothing was charged",
                code="too-late-to-deliver",
                hint="ask for a new quote; what was uploaded is kept",
            )
        if view.time + self._grace + seconds > order.deliver_by:
            raise QuoteExpired(
                f"a result by {order.deliver_by} can no longer be promised: it is {view.time}, and a run "
                f"may take {seconds} s; nothing was charged",
                code="too-late-to-deliver",
                hint="ask for a new quote; what was uploaded is kept",
            )

    def _require_balance(self, waiting: Money, account: AccountView, order: Order) -> None:
        # While earnings wait in a dispute window the contract keeps the surety back.
        kept = self._surety if account.held else Money(0)
        needed = order.total + waiting + kept
        if needed.units > account.free:
            short = Money(needed.units - account.free)
            also = f", {waiting} waits for orders before it" if waiting else ""
            also += f", {kept} is kept as surety" if kept else ""
            raise InsufficientFunds(
                f"the order costs {order.total} and the account holds {Money(account.free)}{also}: "
                f"{short} is missing; nothing was charged",
                hint=f"deposit at least {short} (`prixfixe account deposit {short.plain}`) and order again",
                needed=str(needed.units),
                balance=str(account.free),
                missing=str(short.units),
            )


def _comes_alone(way: Way) -> bool:
    return way.given.request.replaces is not None or way.given.within is not None


def require_as_quoted(order: Order, quote: wire.Quote | wire.BidQuote, contract: str) -> None:
    """InvalidInput unless the order is the quote's, field by field. contract: the market's address."""
    if differing := not_as_quoted(order, quote, contract):
        raise InvalidInput(
            f"the order is not the quote's: {'; '.join(differing)}",
            code="not-as-quoted",
            hint="sign exactly the quoted values, or ask for another quote",
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store says of orders that came together. jobs: those that were here before. quotes: by id,
    each with the terms that it gives its orders."""

    jobs: set[str]
    quotes: dict[str, tuple[wire.Quote | wire.BidQuote, OrderTerms]]
    files: Files


def _known(connection: Connection, ways: Sequence[Way]) -> _Known:
    ids = list({way.given.request.quote for way in ways})
    quoted = {row.id: quote_of(row.quote) for row in connection.execute(_QUOTES, {"ids": ids})}
    asked = {(way.given.request.quote, way.order.customer) for way in ways}
    return _Known(
        jobs=_here(connection, [way.job for way in ways]),
        quotes={name: (quote, _terms(connection, quote)) for name, quote in quoted.items()},
        files=Files.of(connection, [(quoted[name], customer) for name, customer in asked if name in quoted]),
    )


def _here(connection: Connection, wanted: Sequence[str]) -> set[str]:
    """Those of the jobs that were placed already."""
    return set(connection.execute(_HERE, {"ids": list(wanted)}).scalars())


def _placement(way: Way) -> Placement:
    return Placement(
        job=way.job,
        quote=way.quoted.id,
        order=way.order,
        signature=way.given.request.signature,
        manifest=way.quoted.manifest.model_dump(mode="json"),
        terms=way.agreed,
    )


def _offer_id(order: Order) -> str | None:
    return None if isinstance(order, Bid) else format_bytes32(order.bundle)


def quote_of(stored: Mapping[str, Any]) -> wire.Quote | wire.BidQuote:
    """A quote as it was stored."""
    return (wire.BidQuote if "product" in stored else wire.Quote).model_validate(stored)


def _terms(connection: Connection, quote: wire.Quote | wire.BidQuote) -> OrderTerms:
    if isinstance(quote, wire.BidQuote):
        return OrderTerms(
            kind=quote.kind,
            product=quote.product.to_bytes(),
            replicas=quote.replicas,
            image_archive=quote.image_archive,
            whole=quote.whole,
            providers=quote.providers,
        )
    of = {"bundle": quote.bundle, "version": quote.version}
    return OrderTerms(
        kind="bundle",
        product=quote.offer.product,
        replicas=quote.replicas,
        image_archive=connection.execute(_ARCHIVE, of).scalar_one(),
    )
