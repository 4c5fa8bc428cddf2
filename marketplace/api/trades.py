"""`/v1/trades`, `/v1/index`, `/v1/reputation`: what the market has paid, and what that says of providers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from marketplace.api.access import ServicesDep
from prixfixe.protocol.fields import Address, Page
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.product import Product
from prixfixe.protocol.reputation import Reputation

router = APIRouter(tags=["market"])


@router.get("/trades")
def page(
    services: ServicesDep,
    product: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[Trade]:
    """What providers were paid for settled lots, newest first; of one product (name or code), or of all."""
    chosen = None if product is None else Product.read(product)
    items, following = services.trades.page(chosen, cursor, limit)
    return Page(items=items, next=following)


@router.get("/index")
def indexes(services: ServicesDep) -> Page[PriceIndex]:
    """The price index of every product."""
    return Page(items=services.trades.indexes())


@router.get("/index/{product:path}")
def index(services: ServicesDep, product: str) -> PriceIndex:
    """The price index of a product, by its name (`cpu-2x4/10m`) or its code (0x-hex)."""
    return services.trades.index(Product.read(product))


@router.get("/reputation")
def reputation(services: ServicesDep, provider: Address | None = None) -> Reputation:
    """What the deals of the last thirty days say of each provider, or of one; the best first."""
    return services.reputations.records(provider)
