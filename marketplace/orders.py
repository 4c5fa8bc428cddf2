"""Taking an order: every check comes before anything is stored, and says what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select

from marketplace.allowances import require_room
from marketplace.blobs import known_sizes, owned
from marketplace.chain import AccountView, ChainReader, ChainView
from marketplace.placing import Placed, Placing, Way, remember_key, require_same_key
from marketplace.replacing import make_way
from marketplace.retention import Keeping
from marketplace.settings import ServiceSettings
from marketplace.store.database import Raised, Store
from marketplace.store.tables import bundles, jobs, lots, quotes
from marketplace.store.transitions import OrderTerms, job_placed
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

WAITING_LOTS = ("free", "matching")  # their money is still in the account
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
        with self._store.read() as connection:
            for way in ways:
                way.go(partial(self._look_up, connection))
        going = [way for way in ways if way.end is None]
        if going:
            orders = [way.order for way in going]
            view = self._chain.look(
                accounts=tuple({order.customer for order in orders}),
                offers=tuple({order.bundle for order in orders if not isinstance(order, Bid)}),
            )
            for way in going:
                way.go(partial(self._require_now, view))
            going = [way for way in going if way.end is None]
            works = [partial(self._take, way, view.accounts[way.order.customer]) for way in going]
            for way, taken in zip(going, self._store.each_together(works), strict=True):
                way.end = taken if isinstance(taken, Placed) else _ours(taken)
        return [way.told() for way in ways]

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

    def _look_up(self, connection: Connection, way: Way) -> None:
        """Its quote and terms; the end of the way when it was here before."""
        request = way.given.request
        if _exists(connection, way.job):
            require_same_key(connection, way)
            way.end = Placed(way.job, new=False)
            return
        way.quote = quote = _quote(connection, request.quote)
        require_as_quoted(request.order, quote, self._domain.verifying_contract)
        _require_inputs(connection, quote, request.order.customer)
        way.terms = _terms(connection, quote)
        if way.given.providers is not None:
            way.terms = replace(way.terms, providers=way.given.providers)
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

    def _take(self, way: Way, account: AccountView, connection: Connection) -> Placed:
        """Store it, in the place of another one where it says so."""
        order, request = way.order, way.given.request
        if _exists(connection, way.job):
            return Placed(way.job, new=False)
        if request.replaces is not None:
            make_way(connection, request.replaces, order, way.job)
        require_room(connection, self._settings, order)
        self._require_balance(connection, account, order)
        if way.given.key is not None:
            remember_key(connection, way, int(self._clock()))
        job_placed(
            connection,
            job=way.job,
            quote=way.quoted.id,
            order=order,
            signature=request.signature,
            manifest=way.quoted.manifest.model_dump(mode="json"),
            terms=way.agreed,
        )
        names = [file.sha256 for file in way.quoted.manifest.files]
        if len(known_sizes(connection, names)) < len(set(names)):
            _require_inputs(connection, way.quoted, order.customer)  # deleted since it was looked at
        offer_id = None if isinstance(order, Bid) else format_bytes32(order.bundle)
        self._keeping.keep(connection, names, order.deliver_by, offer_id)
        return Placed(way.job, new=True)

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

    def _require_balance(self, connection: Connection, account: AccountView, order: Order) -> None:
        waiting = waiting_money(connection, order.customer)
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


def require_as_quoted(order: Order, quote: wire.Quote | wire.BidQuote, contract: str) -> None:
    """InvalidInput unless the order is the quote's, field by field. contract: the market's address."""
    if differing := not_as_quoted(order, quote, contract):
        raise InvalidInput(
            f"the order is not the quote's: {'; '.join(differing)}",
            code="not-as-quoted",
            hint="sign exactly the quoted values, or ask for another quote",
        )


def waiting_money(connection: Connection, customer: str) -> Money:
    """What the customer's unmatched lots will cost: promised, and still in the account."""
    query = (
        select(func.coalesce(func.sum(lots.c["count"] * jobs.c.price), 0))
        .select_from(lots.join(jobs, jobs.c.id == lots.c.job))
        .where(
            jobs.c.customer == customer,
            jobs.c.state.in_(("queued", "running")),
            lots.c.state.in_(WAITING_LOTS),
        )
    )
    return Money(int(connection.execute(query).scalar_one()))


def _ours(raised: Raised) -> PrixfixeError:
    """What a work raised, if it is an answer; else it is raised again."""
    if isinstance(raised.error, PrixfixeError):
        return raised.error
    raise raised.error


def _exists(connection: Connection, job: str) -> bool:
    return connection.execute(select(jobs.c.id).where(jobs.c.id == job)).first() is not None


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
    archive = select(bundles.c.image_archive).where(
        bundles.c.id == quote.bundle, bundles.c.version == quote.version
    )
    return OrderTerms(
        kind="bundle",
        product=quote.offer.product,
        replicas=quote.replicas,
        image_archive=connection.execute(archive).scalar_one(),
    )


def _quote(connection: Connection, quote: str) -> wire.Quote | wire.BidQuote:
    stored = connection.execute(select(quotes.c.quote).where(quotes.c.id == quote)).scalar_one_or_none()
    if stored is None:
        raise NotFound(
            f"there is no quote {quote[:64]!r}; nothing was charged",
            code="quote-unknown",
            hint="ask for a new quote",
        )
    return quote_of(stored)


def _require_inputs(connection: Connection, quote: wire.Quote | wire.BidQuote, customer: str) -> None:
    """Everything that the job reads, its image's archive too, is here, and the customer has shown that it has
    the bytes."""
    names = {file.sha256: file.name for file in quote.manifest.files}
    if isinstance(quote, wire.BidQuote) and quote.image_archive is not None:
        names[quote.image_archive] = "the image's archive"
    sizes, own = known_sizes(connection, list(names)), owned(connection, list(names), customer)
    missing = [sha256 for sha256 in names if sha256 not in sizes or sha256 not in own]
    if missing:
        raise Conflict(
            f"not uploaded yet: {', '.join(names[sha256] for sha256 in missing)}; nothing was charged",
            code="inputs-missing",
            hint="upload each (PUT /v1/blobs/{sha256}) and send the same order again",
            retryable=True,
            missing=missing,
        )
    for file in quote.manifest.files:
        if sizes[file.sha256] != file.size:
            raise InvalidInput(
                f"input {file.name} has {sizes[file.sha256]} bytes, the quote says {file.size}",
                code="input-size",
                hint="ask for a quote with the file's true size",
                file=file.name,
            )
