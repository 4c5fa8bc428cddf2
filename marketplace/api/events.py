"""Server-sent events: a job's events from the store, then whatever is added, until the job ends.

Many may watch one process: those who look for the same at the same time share one look at the store, and the
more there are the longer each rests between two looks, so that events which come in between are sent
together. Who watches alone sees each at once. Whether they may is asked again with each heartbeat: a session
or key may end, and a member may leave, long before the job does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

from marketplace.services import CLOSING, Services
from prixfixe.protocol.wire import JobEvent

MEDIA_TYPE: Final = "text/event-stream"
# A comment this often keeps the connection open through proxies and shows a dead client.
HEARTBEAT_SECONDS: Final = 15.0
_REST_SECONDS: Final = 0.002  # of each, for every one who watches
_LONGEST_REST_SECONDS: Final = 1.0

# What there was to send, the number of its last event, and whether the job is over.
_Seen: TypeAlias = tuple[str, int, bool]


@dataclass(slots=True)
class _Watching:
    """Who watches in this process. looks: those under way, by what they look for, and the store's number when
    each began."""

    count: int = 0
    looks: dict[tuple[str, str, int], tuple[int, asyncio.Task[_Seen]]] = field(default_factory=dict)

    @property
    def rest(self) -> float:
        return min((self.count - 1) * _REST_SECONDS, _LONGEST_REST_SECONDS)


_watching: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watching] = WeakKeyDictionary()


async def follow(
    services: Services, job: str, customer: str, after: int, may_still: Callable[[], bool]
) -> AsyncIterator[str]:
    """The stream, from the event after number `after`; ends when the job has, or who asked may no longer."""
    loop = asyncio.get_running_loop()
    watching = _watching.setdefault(loop, _Watching())
    watching.count += 1
    due = loop.time() + HEARTBEAT_SECONDS
    try:
        yield "retry: 1000\n\n"
        topics = {f"job:{job}", CLOSING}
        while not services.closing.is_set():
            if loop.time() >= due:  # also where events come so fast that there is no pause
                if not await run_in_threadpool(may_still):
                    return
                due = loop.time() + HEARTBEAT_SECONDS
            mark = services.store.sequence(topics)
            text, after, over = await _look(watching, services, (job, customer, after), mark)
            if text:
                yield text
                if watching.rest and not over:
                    await asyncio.sleep(watching.rest)
            elif over:
                return
            elif not await services.store.wait_async(topics, max(due - loop.time(), 0), since=mark):
                yield ": still here\n\n"
    finally:
        watching.count -= 1


async def _look(watching: _Watching, services: Services, wanted: tuple[str, str, int], mark: int) -> _Seen:
    """What another one finds who looks for the same, unless it began before `mark`: it may miss what was told
    since."""
    found = watching.looks.get(wanted)
    if found is None or found[0] < mark:

        async def look() -> _Seen:
            return await run_in_threadpool(_read, services, *wanted)

        task = asyncio.create_task(look())
        watching.looks[wanted] = found = (mark, task)
        task.add_done_callback(lambda _: watching.looks.pop(wanted, None))
    return await asyncio.shield(found[1])  # one who leaves takes nobody's look away


def _read(services: Services, job: str, customer: str, after: int) -> _Seen:
    events, over = services.jobs.events(job, customer, after)
    return _written(events), events[-1].id if events else after, over


def _written(events: Iterable[JobEvent]) -> str:
    # JSON has no line break of its own, and control characters are escaped in it.
    return "".join(f"id: {each.id}\nevent: {each.kind}\ndata: {json.dumps(each.data)}\n\n" for each in events)
