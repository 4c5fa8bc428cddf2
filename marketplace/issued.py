"""Quotes that were given: signed by the operator, and kept until they are accepted or long over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, delete, insert, select

from marketplace.store.database import Store
from marketplace.store.tables import jobs, quotes
from marketplace.trades import Trades
from prixfixe.errors import InvalidInput
from prixfixe.keys import Signer
from prixfixe.protocol import wire
from prixfixe.protocol.product import Product
from prixfixe.protocol.quotes import quote_digest
from prixfixe.protocol.typed_data import Domain

UNSIGNED: Final = "0x" + "00" * 65
_KEPT_SECONDS: Final = 86_400  # an expired quote that nobody accepted, for questions
_PURGE_SECONDS: Final = 3600.0
_INSERT: Final = insert(quotes)  # made once: making a statement takes as long as running it

_Q = TypeVar("_Q", wire.Quote, wire.BidQuote)


@contextmanager
def refused_by_models() -> Iterator[None]:
    """InvalidInput for what a model of the protocol does not take, naming the field."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"{place}: {first['msg']}", code="invalid-request", hint="see the API's description"
        ) from error


class IssuedQuotes:
    """Signs quotes and remembers them."""

    def __init__(
        self, store: Store, domain: Domain, signer: Signer, trades: Trades, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._domain = domain
        self._signer = signer
        self._trades = trades
        self._clock = clock
        self._purged = 0.0

    def index(self, product: Product, now: int) -> wire.QuotedIndex:
        """What a quote repeats of the product's price index at the chain's time `now`."""
        found = self._trades.recent(product, now)
        return wire.QuotedIndex(status=found.status, p50=found.p50)

    def issue(self, unsigned: _Q) -> _Q:
        """The quote with its signature; an order may accept it from now on."""
        signature = self._signer.sign_digest(quote_digest(unsigned, self._domain))
        quote = unsigned.model_copy(update={"signature": "0x" + signature.hex()})
        now = self._clock()
        row = {
            "id": quote.id,
            "customer": quote.customer,
            "quote": quote.model_dump(mode="json"),
            "expires_at": quote.expires_at,
            "created_at": int(now),
        }
        purge = now - self._purged > _PURGE_SECONDS

        def keep(connection: Connection) -> None:
            if purge:
                accepted = select(jobs.c.quote)
                connection.execute(
                    delete(quotes).where(
                        quotes.c.expires_at < int(now) - _KEPT_SECONDS, quotes.c.id.not_in(accepted)
                    )
                )
            connection.execute(_INSERT, row)

        # Nothing was bought yet: after a power cut its customer may have to ask again.
        self._store.together(keep, flush=False)
        if purge:
            self._purged = now
        return quote
