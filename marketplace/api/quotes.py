"""`POST /v1/quotes`: a price before any money moves."""

from __future__ import annotations

from fastapi import APIRouter

from marketplace.api.access import ServicesDep
from marketplace.api.shares import share_of_address
from prixfixe.protocol import wire

router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", dependencies=[share_of_address("quotes")])
def quote(services: ServicesDep, request: wire.AnyQuoteRequest) -> wire.AnyQuote:
    """A signed price for exactly this job, good for some minutes: a bundle's flat price, or, for tasks of any
    image, the most that a bid pays and what the asks that rest now say."""
    if isinstance(request, wire.BidQuoteRequest):
        return services.bid_quotes.quote(request)
    return services.quotes.quote(request)
