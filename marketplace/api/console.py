"""`GET /market/{product}`: a page for people."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from marketplace.api.access import ServicesDep
from marketplace.console.market import POLICY, page
from prixfixe.protocol.product import Product

router = APIRouter(include_in_schema=False)

_LEVELS: Final = 200
_TRADES: Final = 300


@router.get("/market/{product:path}")
def market(services: ServicesDep, product: str) -> HTMLResponse:
    """Depth, trades and price index of a product, drawn."""
    chosen = Product.read(product)
    trades, _ = services.trades.page(chosen, None, _TRADES)
    document = page(services.book.book(chosen, _LEVELS), services.trades.index(chosen), trades)
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(document, headers=headers)
