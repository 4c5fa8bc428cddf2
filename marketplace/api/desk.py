"""`/v1/pricing`: for the contract's pricing role."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from marketplace.api.access import Caller, Cursor, ServicesDep
from prixfixe.protocol.desk import DeskInputs, Exposure, PriceNote
from prixfixe.protocol.fields import Page
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import MOST_REPLICAS

router = APIRouter(prefix="/pricing", tags=["pricing"])

BundleName = Annotated[str | None, Query(max_length=64)]


@router.get("/inputs")
def inputs(
    services: ServicesDep,
    caller: Caller,
    product: Annotated[str, Query(max_length=100)],
    replicas: Annotated[int, Query(ge=1, le=MOST_REPLICAS)] = 1,
    bundle: BundleName = None,
) -> DeskInputs:
    """What a price rests on, and what stops a new one of this bundle."""
    return services.desk.inputs(caller, Product.read(product), replicas, bundle)


@router.get("/history")
def history(
    services: ServicesDep,
    caller: Caller,
    bundle: BundleName = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[PriceNote]:
    """Publications and retirements, newest first: who, why, on which inputs."""
    items, following = services.desk.history(caller, bundle, cursor, limit)
    return Page(items=items, next=following)


@router.get("/exposure")
def exposure(services: ServicesDep, caller: Caller) -> Exposure:
    """What running deals cost above their price, by offer."""
    return services.desk.exposure(caller)
