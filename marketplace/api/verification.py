"""`/v1/verification`: which results the operator had run again, and how anyone draws them anew."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from marketplace.api.access import ServicesDep
from prixfixe.protocol.fields import Page
from prixfixe.protocol.verification import Draw, Verification

router = APIRouter(prefix="/verification", tags=["market"])


@router.get("")
def summary(services: ServicesDep) -> Verification:
    """Rates, counts, and each day's commitment, with its secret once it is told."""
    return services.verified.summary()


@router.get("/{day}")
def draws(
    services: ServicesDep,
    day: Annotated[int, Path(ge=0, le=10**7)],
    cursor: Annotated[str | None, Query(max_length=66)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[Draw]:
    """Every draw of a day, and what became of it; 404 until its secret is told."""
    items, following = services.verified.draws(day, cursor, limit)
    return Page(items=items, next=following)
