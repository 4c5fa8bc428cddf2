"""Orders signed for the customer: quoted, checked against the limits, signed here, and placed through the
door that takes everybody's.

What was signed is stored by its idempotency key before it is placed: a retry places the very same order,
which is the same job. An order's nonce comes from its quote, so that one quote is bought once, by whatever
key."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, insert, select

from marketplace.accounts.identity import Identity
from marketplace.accounts.limits import Spending
from marketplace.bid_quotes import BidQuotes
from marketplace.issued import refused_by_models
from marketplace.orders import Orders, quote_of
from marketplace.placing import Placed, Placing
from marketplace.quotes import Quotes
from marketplace.store.account_tables import accounts, managed_orders
from marketplace.store.database import Store
from marketplace.store.tables import jobs, quotes
from prixfixe.errors import Conflict, InvalidInput, NotFound, PriceChanged
from prixfixe.keys import sign_typed
from prixfixe.protocol import accounts as models
from prixfixe.protocol import wire
from prixfixe.protocol.orders import Order
from prixfixe.protocol.quotes import nonce_of, order_of
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.seeds import Seed

_REQUEST: TypeAdapter[wire.QuoteRequest | wire.BidQuoteRequest] = TypeAdapter(wire.AnyQuoteRequest)


class Ordering:
    """Buys for managed accounts."""

    def __init__(
        self,
        store: Store,
        domain: Domain,
        seed: Seed,
        quoted: Quotes,
        bid_quoted: BidQuotes,
        orders: Orders,
        spending: Spending,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._domain = domain
        self._seed = seed
        self._quotes = quoted
        self._bid_quotes = bid_quoted
        self._orders = orders
        self._spending = spending
        self._clock = clock

    def place(self, identity: Identity, order: models.ManagedOrder, key: str | None) -> Placed:
        """The job of an order; the same request with the same key is the same job, whenever it comes.

        key: needed with a `request`; a `quote` is a key of its own. Forbidden without the scope or beyond a
        limit, NotFound for a quote that was given to somebody else, PriceChanged above `most`, Conflict for a
        key that was used for something else; and all that `Orders.place` raises.
        """
        identity.require("order")
        key = self._key(order, key)
        digest = _digest(order)
        kept = self._kept(identity, key, digest)
        if kept is None:
            quote = self._quote(identity, order)
            if order.most is not None and quote.total > order.most:
                raise PriceChanged(
                    f"the order costs {quote.total}, more than {order.most}; nothing was charged",
                    code="above-most",
                    hint="order with a higher `most`, or none",
                    price=str(quote.total.units),
                )
            with self._store.read() as connection:
                # Before anything is signed; what counts is asked again when the order is stored.
                self._spending.require(connection, identity, quote.total)
            kept = self._sign(identity, quote, key, digest)
        within = partial(self._within, identity, key)
        return self._orders.place(Placing(kept, within=within, channel=self._channel(identity)))

    def _key(self, order: models.ManagedOrder, key: str | None) -> str:
        if (order.quote is None) == (order.request is None):
            raise InvalidInput("an order names a quote or holds a request for one", code="invalid-request")
        if key is not None:
            return f"key:{key}"
        if order.quote is None:
            raise InvalidInput(
                "an order with a request needs an Idempotency-Key",
                code="idempotency-key-needed",
                hint="send a new random one with each new order, and the same one with each retry",
            )
        return f"quote:{order.quote}"

    def _quote(self, identity: Identity, order: models.ManagedOrder) -> wire.Quote | wire.BidQuote:
        if order.quote is not None:
            query = select(quotes.c.quote).where(
                quotes.c.id == order.quote, quotes.c.customer == identity.address
            )
            with self._store.read() as connection:
                stored = connection.execute(query).scalar_one_or_none()
            if stored is None:
                raise NotFound(
                    "there is no such quote for this account; nothing was charged",
                    code="quote-unknown",
                    hint="ask for a new quote",
                )
            return quote_of(stored)
        assert order.request is not None  # one of both
        if order.request.get("customer", identity.address) != identity.address:
            raise InvalidInput("the request is of another customer", code="invalid-request")
        with refused_by_models():
            request = _REQUEST.validate_python({**order.request, "customer": identity.address})
        if isinstance(request, wire.BidQuoteRequest):
            return self._bid_quotes.quote(request)
        return self._quotes.quote(request)

    def _sign(
        self, identity: Identity, quote: wire.Quote | wire.BidQuote, key: str, digest: str
    ) -> wire.JobRequest:
        """Signed, and kept before anybody has it; or what another request with this key has just kept."""
        order = order_of(
            quote,
            self._domain.verifying_contract,
            expiry=quote.order_expiry,
            nonce=nonce_of(quote),
        )
        signature = sign_typed(self._seed.signer(identity.account), order, self._domain)
        request = wire.JobRequest(quote=quote.id, order=order, signature="0x" + signature.hex())
        with self._store.write() as connection:
            found = self._find(connection, identity, key, digest)
            if found is not None:
                return found
            connection.execute(
                insert(managed_orders).values(
                    account=identity.account,
                    key=key,
                    request_digest=digest,
                    job=format_bytes32(order.digest(self._domain)),
                    request=request.model_dump(mode="json"),
                    ordered_by=identity.name,
                    created_at=int(self._clock()),
                )
            )
        return request

    def _kept(self, identity: Identity, key: str, digest: str) -> wire.JobRequest | None:
        with self._store.read() as connection:
            found = self._find(connection, identity, key, digest)
        if found is None or not self._is_over(found):
            return found
        # It was never placed, and cannot be any more: whoever is about to store it finds that it is gone.
        with self._store.write() as connection:
            here = self._find(connection, identity, key, digest)
            if here is not None and here.quote == found.quote and not _is_placed(connection, self._job(here)):
                connection.execute(delete(managed_orders).where(*_at(identity, key)))
                return None
            return here

    def _is_over(self, request: wire.JobRequest) -> bool:
        query = select(quotes.c.expires_at).where(quotes.c.id == request.quote)
        with self._store.read() as connection:
            if _is_placed(connection, self._job(request)):
                return False
            expires_at = connection.execute(query).scalar_one_or_none()
        return expires_at is None or expires_at < int(self._clock())

    def _find(
        self, connection: Connection, identity: Identity, key: str, digest: str
    ) -> wire.JobRequest | None:
        row = connection.execute(
            select(managed_orders.c.request_digest, managed_orders.c.request).where(*_at(identity, key))
        ).one_or_none()
        if row is None:
            return None
        if row.request_digest != digest:
            raise Conflict(
                "the idempotency key was used for another order",
                code="idempotency-key-reused",
                hint="use a new key for a new order",
            )
        return wire.JobRequest.model_validate(row.request)

    def _within(self, identity: Identity, key: str, connection: Connection, order: Order) -> None:
        """In the transaction that stores the order: it is still the one of its key, and within the limits."""
        kept = select(managed_orders.c.job).where(*_at(identity, key))
        if connection.execute(kept).scalar_one_or_none() != format_bytes32(order.digest(self._domain)):
            raise Conflict("the order was replaced meanwhile", code="order-replaced", retryable=True)
        self._spending.require(connection, identity, order.total)

    def _channel(self, identity: Identity) -> str | None:
        query = select(accounts.c.channel).where(accounts.c.number == identity.account)
        with self._store.read() as connection:
            return connection.execute(query).scalar_one() or None

    def _job(self, request: wire.JobRequest) -> str:
        return format_bytes32(request.order.digest(self._domain))


def _at(identity: Identity, key: str) -> tuple[Any, Any]:
    return managed_orders.c.account == identity.account, managed_orders.c.key == key


def _is_placed(connection: Connection, job: str) -> bool:
    return connection.execute(select(jobs.c.id).where(jobs.c.id == job)).first() is not None


def _digest(order: models.ManagedOrder) -> str:
    # Not canonical JSON: a request may hold numbers that it has no form for, and is refused only later.
    text = json.dumps(order.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
