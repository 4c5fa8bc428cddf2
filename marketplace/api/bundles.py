"""`/v1/bundles`: the catalogue."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from marketplace.api.access import Caller, Cursor, Limit, ServicesDep
from prixfixe.protocol import wire
from prixfixe.protocol.desk import RetireRequest
from prixfixe.protocol.fields import Page

router = APIRouter(prefix="/bundles", tags=["bundles"])

Version = Annotated[str | None, Query(max_length=32)]


@router.get("")
def listings(services: ServicesDep, cursor: Cursor = None, limit: Limit = 50) -> Page[wire.BundleListing]:
    """All published versions, the newest of each bundle first."""
    items, following = services.bundles.page(cursor, limit)
    return Page(items=items, next=following)


@router.get("/{bundle}")
def listing(services: ServicesDep, bundle: str, version: Version = None) -> wire.BundleListing:
    """One version; the newest that is sold when none is named."""
    return services.bundles.listing(bundle, version)


@router.post("", status_code=201)
def publish(services: ServicesDep, caller: Caller, publication: wire.BundlePublication) -> wire.BundleListing:
    """List a definition whose offers are on chain. For the contract's pricing role."""
    return services.bundles.publish(caller, publication)


@router.post("/{bundle}/retire")
def retire(
    services: ServicesDep,
    caller: Caller,
    bundle: str,
    version: Version = None,
    request: RetireRequest | None = None,
) -> wire.BundleListing:
    """Quote it no more. For the contract's pricing role."""
    return services.bundles.retire(caller, bundle, version, "" if request is None else request.note)
