"""Prices, asked of the service: what was paid, and what the pricing desk needs."""

from __future__ import annotations

from urllib.parse import quote as url_quote

from prixfixe.client.calls import Operation, Request
from prixfixe.client.conversation import Conversation, items_of, parsed
from prixfixe.protocol.desk import DeskInputs, Exposure, PriceNote
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.product import Product
from prixfixe.protocol.reputation import Reputation

_PAGE = 500


class Prices(Conversation):
    """The tape and the index are for anyone, without a session; the desk is for the pricing role."""

    def trades(
        self, product: Product | str | None = None, limit: int | None = None
    ) -> Operation[tuple[Trade, ...]]:
        """What providers were paid for settled lots, newest first; of one product, or of all. limit: at most
        so many; all of them when None."""
        query = {"limit": str(min(limit or _PAGE, _PAGE))}
        if product is not None:
            query["product"] = product_name(product)
        return (yield from self.every(Trade, "/v1/trades", query, limit=limit, anyone=True))

    def index(self, product: Product | str) -> Operation[PriceIndex]:
        """The price index of a product, such as `cpu-2x4/10m`."""
        path = f"/v1/index/{url_quote(product_name(product))}"
        return (yield from self.ask(PriceIndex, Request("GET", path)))

    def indexes(self) -> Operation[tuple[PriceIndex, ...]]:
        """The price index of every product."""
        answer = yield from self.send(Request("GET", "/v1/index"))
        return tuple(parsed(PriceIndex, item) for item in items_of(answer.json()))

    def reputation(self, provider: str | None = None) -> Operation[Reputation]:
        """What the deals of the last thirty days say of a provider, or of all, the best first."""
        query = {} if provider is None else {"provider": provider}
        return (yield from self.ask(Reputation, Request("GET", "/v1/reputation", query=query)))

    # ------------------------------------------------------------------------------------- the pricing desk

    def desk_inputs(
        self, product: Product | str, replicas: int = 1, bundle: str | None = None
    ) -> Operation[DeskInputs]:
        """What a price rests on, and what stops a new version of the bundle. For the pricing role."""
        query = {"product": product_name(product), "replicas": str(replicas)}
        if bundle is not None:
            query["bundle"] = bundle
        return (yield from self.ask_signed_in(DeskInputs, Request("GET", "/v1/pricing/inputs", query=query)))

    def price_history(self, bundle: str | None, limit: int) -> Operation[tuple[PriceNote, ...]]:
        """The desk's acts, newest first. For the pricing role."""
        query = {"limit": str(min(limit, _PAGE))} | ({} if bundle is None else {"bundle": bundle})
        return (yield from self.every(PriceNote, "/v1/pricing/history", query, limit=limit))

    def exposure(self) -> Operation[Exposure]:
        """Every offer that lives or has deals that run. For the pricing role."""
        return (yield from self.ask_signed_in(Exposure, Request("GET", "/v1/pricing/exposure")))


def product_name(product: Product | str) -> str:
    """A product as it is named in an address."""
    return Product.read(product).name if isinstance(product, str) else product.name
