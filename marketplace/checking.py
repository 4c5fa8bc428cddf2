"""Buying a result once more: the service as a customer of its own market.

A re-run is a job like any other: quoted, signed by one of the operator's buying accounts, paid, matched. Its
manifest is that of the job which is checked, its nonce is random, and what only the service knows keeps it
from the providers that answered already. Nothing that a worker is given tells it from a customer's order.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import RowMapping

from marketplace.blobs import grant
from marketplace.orders import Orders, quote_of
from marketplace.placing import Placing
from marketplace.quotes import Quotes
from marketplace.store.database import Store
from marketplace.store.tables import asks, deals, jobs, quotes
from prixfixe.errors import Conflict, InsufficientFunds
from prixfixe.keys import Signer, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.typed_data import Domain

_NONCE_BITS: Final = 64


class Checking:
    """Buys re-runs with the operator's buying accounts, each time another by chance."""

    def __init__(
        self, store: Store, domain: Domain, quotes: Quotes, orders: Orders, buyers: Sequence[Signer]
    ) -> None:
        self._store = store
        self._domain = domain
        self._quotes = quotes
        self._orders = orders
        self._buyers = tuple(buyers)

    def buy(self, deal: str, opening: int, without: Collection[str]) -> str:
        """The job that runs a deal's work again. without: providers that shall not get it.

        Conflict when nobody else asks for its product, InsufficientFunds when no buyer can pay; what a quote
        or an order raises besides (a bundle that was retired, for example).
        """
        with self._store.read() as connection:
            checked = _job(connection, deal, opening)
            stored = connection.execute(
                select(quotes.c.quote).where(quotes.c.id == checked["quote"])
            ).scalar_one()
            sellers = select(asks.c.provider).where(asks.c.product == checked["product"])
            others = sorted(set(connection.execute(sellers).scalars()) - set(without))
        if not others:
            raise Conflict(
                "nobody else asks for this product now",
                code="nobody-else",
                hint="it is tried again while the result can be challenged",
                retryable=True,
            )
        quoted = quote_of(stored)
        assert isinstance(quoted, wire.Quote)  # what can be disputed was bought as a bundle
        short: InsufficientFunds | None = None
        for buyer in secrets.SystemRandom().sample(self._buyers, len(self._buyers)):
            try:
                return self._buy(quoted, buyer, tuple(others))
            except InsufficientFunds as error:
                short = error
        assert short is not None  # there is a buyer
        raise short

    def _buy(self, quoted: wire.Quote, buyer: Signer, providers: tuple[str, ...]) -> str:
        manifest = quoted.manifest
        with self._store.write() as connection:
            grant(connection, [file.sha256 for file in manifest.files], buyer.address)
        quote = self._quotes.quote(
            wire.QuoteRequest(
                customer=buyer.address,
                bundle=quoted.bundle,
                version=quoted.version,
                parameters=manifest.parameters,
                inputs=manifest.inputs,
                units=quoted.units,
                replicas=1,
            )
        )
        if quote.job != quoted.job:
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
