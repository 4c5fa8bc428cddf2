"""Taking an order: every check comes before anything is stored, and says what to do."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select

from marketplace.allowances import require_room
from marketplace.blobs import known_sizes, owned
from marketplace.chain import AccountView, ChainReader, ChainView
from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from marketplace.store.tables import bundles, idempotency, jobs, lots, quotes
from marketplace.store.transitions import OrderTerms, job_placed
from prixfixe.errors import (
    Conflict,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    PriceChanged,
    QuoteExpired,
    SignatureError,
)
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import canonical_json
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._chain = chain
        self._domain = domain
        self._grace = grace
        self._surety = surety
        self._clock = clock

    def place(self, request: wire.JobRequest, idempotency_key: str | None = None) -> tuple[str, bool]:
        """The job of an order and whether it is new. The same order is the same job, whenever it comes.

        SignatureError, NotFound (quote), InvalidInput (not as quoted), QuoteExpired, PriceChanged, Conflict
        (inputs, era, key, too many open) or InsufficientFunds: then nothing was stored.
        """
        order = request.order
        digest = order.digest(self._domain)
        self._require_signature(digest, request)
        job = format_bytes32(digest)
        with self._store.read() as connection:
            if _exists(connection, job):
                _require_same_key(connection, order.customer, idempotency_key, request)
                return job, False
            quote = _quote(connection, request.quote)
            require_as_quoted(order, quote, self._domain.verifying_contract)
            _require_inputs(connection, quote, order.customer)
            terms = _terms(connection, quote)
        if quote.expires_at < self._clock():
            raise QuoteExpired(f"the quote's time was over at {quote.expires_at}; nothing was charged")
        asked = () if isinstance(order, Bid) else (order.bundle,)
        view = self._chain.look(accounts=(order.customer,), offers=asked)
        if isinstance(quote, wire.Quote):
            self._require_price_stands(quote, view.offers[parse_bytes32(quote.offer_id)], view.time)
        self._require_time(order, terms, view)
        account = view.accounts[order.customer]
        if account.era != order.era:
            raise Conflict(
                f"the order is of era {order.era}, the account is in era {account.era}",
                code="era-changed",
                hint="ask for a new quote and sign it: orders of older eras cannot be paid",
            )
        manifest, now = quote.manifest.model_dump(mode="json"), int(self._clock())

        def take(connection: Connection) -> bool:
            if _exists(connection, job):
                return False
            require_room(connection, self._settings, order)
            self._require_balance(connection, account, order)
            if idempotency_key is not None:
                _remember_key(connection, order.customer, idempotency_key, request, job, now)
            job_placed(
                connection,
                job=job,
                quote=quote.id,
                order=order,
                signature=request.signature,
                manifest=manifest,
                terms=terms,
            )
            return True

        return job, self._store.together(take)

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
        if view.time > order.expiry or view.time + self._grace + seconds > order.deliver_by:
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


def _request_digest(request: wire.JobRequest) -> str:
    return hashlib.sha256(canonical_json(request.model_dump(mode="json"))).hexdigest()


def _require_same_key(
    connection: Connection, customer: str, key: str | None, request: wire.JobRequest
) -> None:
    """Conflict when the key was used for another order: the caller has mixed up two of its requests."""
    if key is None:
        return
    query = select(idempotency.c.request_digest).where(
        idempotency.c.address == customer, idempotency.c.key == key
    )
    known = connection.execute(query).scalar_one_or_none()
    if known is not None and known != _request_digest(request):
        raise Conflict(
            f"the idempotency key {key[:40]!r} was used for another order",
            code="idempotency-key-reused",
            hint="use a new key for a new order",
        )


def _remember_key(
    connection: Connection, customer: str, key: str, request: wire.JobRequest, job: str, now: int
) -> None:
    _require_same_key(connection, customer, key, request)
    row: dict[str, Any] = {
        "address": customer,
        "key": key,
        "request_digest": _request_digest(request),
        "answer": {"job": job},
        "created_at": now,
    }
    connection.execute(insert(idempotency).values(row))
