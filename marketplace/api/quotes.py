"""`POST /v1/quotes`: a price before any money moves."""

from __future__ import annotations

from fastapi import APIRouter, Response

from marketplace.api.access import ServicesDep, written
from marketplace.api.shares import share_of_address
from prixfixe.protocol import wire

router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", response_model=wire.AnyQuote, dependencies=[share_of_address("quotes")])
def quote(services: ServicesDep, request: wire.AnyQuoteRequest, response: Response) -> Response:
    """A signed price for exactly this job, good for some minutes: a bundle's flat price, or, for tasks of any
    image, the most that a bid pays and what the asks that rest now say."""
    if isinstance(request, wire.BidQuoteRequest):
        return written(services.bid_quotes.quote(request).model_dump_json(), response)
    return written(services.quotes.quote(request).model_dump_json(), response)
