"""Buying a result once more, or a task whose answer is known: the service as a customer of its own market.

A re-run is a job like any other: quoted, signed by one of the operator's buying accounts, paid, matched. Its
manifest is that of the job which is checked, its nonce is random, and what only the service knows keeps it
from the providers that answered already, and admits one or three of the others, or all.
Nothing that a worker is given tells it from a customer's order.
A canary is bought in the same way, for one provider.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.blobs import grant
from marketplace.bundles import find
from marketplace.chain import ChainReader
from marketplace.orders import Orders, quote_of
from marketplace.placing import Placing
from marketplace.quotes import Quotes, wanted_for
from marketplace.resting import MarketTerms, resting_asks
from marketplace.store.canaries import Canary
from marketplace.store.database import Store
from marketplace.store.looks import unseen
from marketplace.store.tables import asks, deals, jobs, quotes
from prixfixe.errors import Conflict, InsufficientFunds
from prixfixe.keys import Signer, sign_typed
from prixfixe.market.rules import excluding, serves_when_idle
from prixfixe.market.verification import Among, admitted
from prixfixe.protocol import wire
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.typed_data import Domain, format_bytes32

_NONCE_BITS: Final = 64
_NEVER: Final = 2**40 - 1  # a time of the chain


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is bought, as `wire.QuoteRequest` says it."""

    bundle: str
    version: str
    parameters: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    units: int


class Checking:
    """Buys re-runs with the operator's buying accounts, each time another by chance."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        terms: MarketTerms,
        domain: Domain,
        quotes: Quotes,
        orders: Orders,
        buyers: Sequence[Signer],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: the service's own, seconds since the epoch."""
        self._store = store
        self._chain = chain
        self._terms = terms
        self._clock = clock
        self._domain = domain
        self._quotes = quotes
        self._orders = orders
        self._buyers = tuple(buyers)

    def buy(self, deal: str, opening: int, without: Collection[str], chosen: Among = "all") -> str:
        """The job that runs a deal's work again. without: providers that shall not get it. chosen: to whom of
        the others it is given, as `prixfixe.market.verification` says.

        Conflict when nobody else asks for its product, InsufficientFunds when no buyer can pay; what a quote
        or an order raises besides (a bundle that was retired, for example).
        """
        with self._store.read() as connection:
            checked = _job(connection, deal, opening)
            stored = connection.execute(
                select(quotes.c.quote).where(quotes.c.id == checked["quote"])
            ).scalar_one()
            sellers = select(asks.c.provider).where(asks.c.product == checked["product"])
            others = set(connection.execute(sellers).scalars()) - set(without)
        if not others:
            raise Conflict(
                "nobody else asks for this product now",
                code="nobody-else",
                hint="it is tried again while the result can be challenged",
                retryable=True,
            )
        quoted = quote_of(stored)
        assert isinstance(quoted, wire.Quote)  # what can be disputed was bought as a bundle
        manifest = quoted.manifest
        wish = _Wish(quoted.bundle, quoted.version, manifest.parameters, manifest.inputs, quoted.units)
        if chosen != "all":
            others = self._able(quoted.offer) & others or others
        with self._store.read() as connection:
            since = unseen(connection, others)
        return self._bought(wish, admitted(since, secrets.token_bytes(32), chosen), quoted.job)

    def _able(self, offer: Offer) -> set[str]:
        """Providers that could take a task of this offer now, or once they are idle, by the market's rules:
        not one that is silent, or asks more than the offer pays. Else those that are gone would wait to be
        looked at before all others."""
        with self._store.read() as connection:
            resting = resting_asks(connection, {offer.product})
        view = self._chain.look(accounts=resting.providers)
        conditions = self._terms.conditions(view.time)
        wanted = wanted_for(offer, 1, "", _NEVER)
        return {
            each.ask.provider
            for each in resting.offered(view, self._clock())
            if serves_when_idle(excluding(wanted, each, conditions))
        }

    def buy_canary(self, canary: Canary, provider: str) -> str:
        """The job with which a provider is given a canary. Conflict when it does not ask for its product now;
        else raises as `buy`."""
        with self._store.read() as connection:
            product = find(connection, canary.bundle, canary.version).definition.limits.product
            asking = select(asks.c.worker).where(
                asks.c.provider == provider, asks.c.product == format_bytes32(product.to_bytes())
            )
            there = connection.execute(asking).first() is not None
        if not there:
            raise Conflict(
                "its provider does not ask for this product now",
                code="not-asking",
                hint="it is tried again for a window",
                retryable=True,
            )
        wish = _Wish(canary.bundle, canary.version, canary.parameters, canary.inputs, canary.units)
        return self._bought(wish, (provider,), None)

    def _bought(self, wish: _Wish, providers: tuple[str, ...], job: str | None) -> str:
        """By the first buyer who can pay. job: what the bundle has to make of it; None: anything."""
        short: InsufficientFunds | None = None
        for buyer in secrets.SystemRandom().sample(self._buyers, len(self._buyers)):
            try:
                return self._buy(wish, buyer, providers, job)
            except InsufficientFunds as error:
                short = error
        assert short is not None  # there is a buyer
        raise short

    def _buy(self, wish: _Wish, buyer: Signer, providers: tuple[str, ...], job: str | None) -> str:
        with self._store.write() as connection:
            grant(connection, [file.sha256 for file in wish.inputs], buyer.address)
        quote = self._quotes.quote(
            wire.QuoteRequest(
                customer=buyer.address,
                bundle=wish.bundle,
                version=wish.version,
                parameters=dict(wish.parameters),
                inputs=wish.inputs,
                units=wish.units,
                replicas=1,
            )
        )
        if job is not None and quote.job != job:
            raise Conflict("the bundle makes another job of the same wish now", code="other-job")
        order = order_of(
            quote,
            self._domain.verifying_contract,
            expiry=quote.order_expiry,
            nonce=secrets.randbits(_NONCE_BITS),
        )
        signature = "0x" + sign_typed(buyer, order, self._domain).hex()
        request = wire.JobRequest(quote=quote.id, order=order, signature=signature)
        return self._orders.place(Placing(request, providers=providers)).job


def _job(connection: Connection, deal: str, opening: int) -> RowMapping:
    query = select(jobs.c.quote, jobs.c.product).join(deals, deals.c.job == jobs.c.id)
    return connection.execute(query.where(deals.c.id == deal, deals.c.opening == opening)).mappings().one()
