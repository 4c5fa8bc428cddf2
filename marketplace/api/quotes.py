"""`POST /v1/quotes`: a price before any money moves."""

from __future__ import annotations

from fastapi import APIRouter

from marketplace.api.access import ServicesDep
from marketplace.api.shares import share_of_address
from prixfixe.protocol import wire

router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", dependencies=[share_of_address("quotes")])
def quote(services: ServicesDep, request: wire.QuoteRequest) -> wire.Quote:
    """A signed, flat price for exactly this job, good for some minutes."""
    return services.quotes.quote(request)
