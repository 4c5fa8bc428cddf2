"""Long polls: an answer that is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from marketplace.services import CLOSING, Services


async def waited(
    services: Services, topic: str, wait: float, look: Callable[[], BaseModel | None]
) -> Response:
    """What `look` finds, looked for anew with each notification of `topic`; 204 when that is nothing for
    `wait` seconds."""
    until = time.monotonic() + min(wait, services.settings.max_wait_seconds)
    topics = {topic, CLOSING}
    while True:
        mark = services.store.sequence(topics)
        found = await run_in_threadpool(look)
        if found is not None:
            return Response(found.model_dump_json(), media_type="application/json")
        left = until - time.monotonic()
        if left <= 0 or services.closing.is_set():
            return Response(status_code=204)
        await services.store.wait_async(topics, left, since=mark)
