"""`/v1/batches`, `/v1/products`: published batches, and the terms of products."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from marketplace.api.access import Caller, JobId, Limit, ServicesDep
from marketplace.api.files import file_response
from prixfixe.protocol.book import BatchSummary, ProductListing, TermsChange
from prixfixe.protocol.fields import Page
from prixfixe.protocol.product import Product

router = APIRouter(tags=["market"])


@router.get("/batches")
def page(
    services: ServicesDep,
    product: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
    number: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    limit: Limit = 50,
) -> Page[BatchSummary]:
    """Batches, newest first; of one product (name or code), or of all; or those with a number."""
    chosen = None if product is None else Product.read(product)
    items, following = services.batches.page(chosen, number, cursor, limit)
    return Page(items=items, next=following)


@router.get("/batches/{digest}")
def publication(services: ServicesDep, digest: JobId, request: Request) -> Response:
    """The publication of a batch: every order, exclusion, price and fill, in canonical JSON whose SHA-256 is
    the digest that the contract emitted."""
    blob = services.batches.publication(digest)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    return file_response(request, blob, "application/json", headers)


@router.get("/products")
def products(services: ServicesDep) -> Page[ProductListing]:
    """Every product of the market, with the terms of its auction."""
    return Page(items=services.batches.products())


@router.put("/products/{product:path}/terms")
def change(services: ServicesDep, caller: Caller, product: str, change: TermsChange) -> ProductListing:
    """Other terms for the auction of a product, from its next batch on. For the contract's pricing role."""
    return services.batches.change(caller, Product.read(product), change)
