"""`/v1/book`, `/v1/orders`, `/v1/asks`: the order book."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from marketplace.api.access import Caller, Cursor, JobId, Limit, ServicesDep, written
from marketplace.api.events import HEARTBEAT_SECONDS, MEDIA_TYPE
from marketplace.api.shares import share_of_account, share_of_address
from marketplace.book import MOST_LEVELS, BookView
from marketplace.services import CLOSING, Services
from prixfixe.protocol.book import AskAnswers, AskPlacement, Book, Cancelled, OwnOrder
from prixfixe.protocol.fields import Page
from prixfixe.protocol.product import Product

router = APIRouter(tags=["market"])

_TOPICS: Final = ("lots", "asks", "batches", "chain")
_PAUSE_SECONDS: Final = 0.5  # between two looks at a book that changes all the time


@router.get("/book/{product:path}/events")
async def events(services: ServicesDep, product: str) -> Response:
    """Changes of the depth and new batches as they happen (server-sent events). The first tells the whole
    book."""
    stream = _follow(services, Product.read(product))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers=headers)


@router.get("/book/{product:path}")
def book(
    services: ServicesDep,
    product: str,
    levels: Annotated[int, Query(ge=1, le=MOST_LEVELS)] = 50,
) -> Book:
    """The live depth of a product (name or code), both sides, best prices first."""
    return services.book.book(Product.read(product), levels)


@router.get("/orders")
def own(services: ServicesDep, caller: Caller, cursor: Cursor = None, limit: Limit = 50) -> Page[OwnOrder]:
    """The caller's resting bids and asks, newest first."""
    items, following = services.book.own(caller, cursor, limit)
    return Page(items=items, next=following)


@router.delete("/orders/{order}", dependencies=[share_of_account("cancels")])
def cancel(services: ServicesDep, caller: Caller, order: JobId) -> Cancelled:
    """Take a resting order off the book, at once. Final it is on the chain only."""
    return services.book.cancel(order, caller)


@router.post("/asks", response_model=AskAnswers, dependencies=[share_of_address("asks")])
def place(services: ServicesDep, placement: AskPlacement, response: Response) -> Response:
    """Place one signed ask of a registered worker, or a hundred. Its signature is all the authority that is
    needed; each is answered on its own."""
    answers = AskAnswers(items=tuple(services.book.place(placement.asks)))
    return written(answers.model_dump_json(), response)


async def _follow(services: Services, product: Product) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    topics = {*_TOPICS, CLOSING}
    seen = BookView()
    while not services.closing.is_set():
        mark = services.store.sequence(topics)
        found = await run_in_threadpool(services.book.changes, product, seen)
        if found:
            yield "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in found)
            await asyncio.sleep(_PAUSE_SECONDS)
        elif not await services.store.wait_async(topics, HEARTBEAT_SECONDS, since=mark):
            yield ": still here\n\n"
