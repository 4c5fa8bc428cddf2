"""Long polls: an answer that is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fastapi import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from marketplace.services import CLOSING, Services

_T = TypeVar("_T")


async def found_in_time(
    services: Services, topic: str, wait: float, look: Callable[[], _T], is_enough: Callable[[_T], bool]
) -> _T:
    """What `look` finds once that is enough, looked for anew with each notification of `topic`; what it finds
    then, after `wait` seconds or when the service closes."""
    until = time.monotonic() + min(wait, services.settings.max_wait_seconds)
    topics = {topic, CLOSING}
    while True:
        mark = services.store.sequence(topics)
        found = await run_in_threadpool(look)
        left = until - time.monotonic()
        if is_enough(found) or left <= 0 or services.closing.is_set():
            return found
        await services.store.wait_async(topics, left, since=mark)


async def waited(
    services: Services, topic: str, wait: float, look: Callable[[], BaseModel | None]
) -> Response:
    """As `found_in_time`, for something; 204 when there was nothing."""
    found = await found_in_time(services, topic, wait, look, lambda found: found is not None)
    if found is None:
        return Response(status_code=204)
    return Response(found.model_dump_json(), media_type="application/json")
