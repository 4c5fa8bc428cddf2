"""Server-sent events: a job's events from the store, then whatever is added, until the job ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool

from marketplace.services import CLOSING, Services
from prixfixe.protocol.wire import JobEvent

MEDIA_TYPE: Final = "text/event-stream"
# A comment this often keeps the connection open through proxies and shows a dead client.
HEARTBEAT_SECONDS: Final = 15.0


async def follow(services: Services, job: str, customer: str, after: int) -> AsyncIterator[str]:
    """The stream, from the event after number `after`; ends when the job has."""
    yield "retry: 1000\n\n"
    topics = {f"job:{job}", CLOSING}
    while not services.closing.is_set():
        mark = services.store.sequence(topics)
        events, over = await run_in_threadpool(services.jobs.events, job, customer, after)
        if events:
            after = events[-1].id
            yield "".join(map(_written, events))
        elif over:
            return
        elif not await services.store.wait_async(topics, HEARTBEAT_SECONDS, since=mark):
            yield ": still here\n\n"


def _written(event: JobEvent) -> str:
    # JSON has no line break of its own, and control characters are escaped in it.
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
