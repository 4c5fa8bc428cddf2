"""Deliveries: which are due, the call itself, and what follows from its answer.

A message is sent until its receiver answers with 2xx: what was sent when the service died is sent again, so a
receiver may see one twice and tells by `webhook-id`. Endpoints do not wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpcore
from sqlalchemy import delete, func, select, update

from marketplace.store.database import Store
from marketplace.store.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_messages
from marketplace.webhooks import signing
from marketplace.webhooks.destinations import CALL_SECONDS, CheckedNetwork, RefusedAddress

log = logging.getLogger(__name__)

# Seconds from one failed attempt to the next: eleven attempts in about 28 hours.
WAITS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200)
GIVE_UP_SECONDS: Final = 43_200  # without one success, when a message is given up: the endpoint is, too
KEPT_SECONDS: Final = 30 * 86_400
_AT_ONCE: Final = 8  # of one endpoint
_ENDPOINTS: Final = 64  # called at the same time
_FAILING: Final = 32  # of these, those whose last call failed: they may take their time
_LOOK_SECONDS: Final = 1.0  # for what became due while others are called
_RUN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery to be made. keys: secrets that sign it."""

    endpoint: str
    message: str
    url: str
    body: str
    keys: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """status: None when none came; error: why, or what was wrong with it."""

    status: int | None
    error: str

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """Calls endpoints. local: on a local chain, where they may be on this machine. trust: whose certificates
    count; the system's when not given."""

    def __init__(
        self,
        store: Store,
        *,
        local: bool,
        clock: Callable[[], float] = time.time,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._local = local
        self._clock = clock
        self._trust = trust

    def send_all(self, should_stop: Callable[[], bool]) -> float:
        """Make the deliveries that are due; seconds until the next is."""
        if self._due(frozenset()):
            asyncio.run(self._send(should_stop))
        with self._store.read() as connection:
            waiting = select(func.min(webhook_deliveries.c.next_at)).select_from(_OPEN)
            soonest = connection.execute(waiting.where(webhook_deliveries.c.state == "pending")).scalar_one()
        return 60.0 if soonest is None else min(max(soonest - self._clock(), 0.05), 60.0)

    def forget_old(self) -> int:
        """Messages older than a month are gone, and what is left of their deliveries; how many."""
        old = select(webhook_messages.c.id).where(
            webhook_messages.c.created_at < int(self._clock()) - KEPT_SECONDS
        )
        with self._store.write() as connection:
            connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.message.in_(old)))
            return connection.execute(delete(webhook_messages).where(webhook_messages.c.id.in_(old))).rowcount

    async def _send(self, should_stop: Callable[[], bool]) -> None:
        until = time.monotonic() + _RUN_SECONDS
        # A name whose server is silent keeps its thread longer than its call lasts: it takes nobody else's,
        # and is not waited for.
        lookups = ThreadPoolExecutor(_ENDPOINTS * _AT_ONCE, thread_name_prefix="webhook-lookup")
        # No proxy of the environment, no redirect, no cookie: what httpcore does not do by itself.
        pool = httpcore.AsyncConnectionPool(
            self._trust,
            max_connections=_ENDPOINTS * _AT_ONCE,
            max_keepalive_connections=_ENDPOINTS,
            network_backend=CheckedNetwork(local=self._local, lookups=lookups),
        )
        try:
            await self._send_by(pool, should_stop, until)
        finally:
            lookups.shutdown(wait=False, cancel_futures=True)

    async def _send_by(
        self, pool: httpcore.AsyncConnectionPool, should_stop: Callable[[], bool], until: float
    ) -> None:
        calls: dict[asyncio.Task[list[Answer]], list[Due]] = {}
        async with pool:
            while not should_stop():
                busy = frozenset(each[0].endpoint for each in calls.values())
                for some in self._due(busy) if time.monotonic() < until else ():
                    calls[asyncio.create_task(self._call_all(pool, some))] = some
                if not calls:
                    return
                done, _ = await asyncio.wait(
                    calls, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    self._record(list(zip(calls.pop(task), task.result(), strict=True)))
            for task in calls:  # it stops: they are made again
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def _due(self, busy: frozenset[str]) -> list[list[Due]]:
        """By endpoint, the oldest of those that are not being called."""
        now = int(self._clock())
        number = func.row_number().over(
            partition_by=webhook_deliveries.c.endpoint,
            order_by=(webhook_deliveries.c.next_at, webhook_deliveries.c.message),
        )
        columns = ("endpoint", "message", "attempts", "next_at")
        first = (
            select(*(webhook_deliveries.c[name] for name in columns), number.label("number"))
            .where(webhook_deliveries.c.state == "pending", webhook_deliveries.c.next_at <= now)
            .subquery()
        )
        query = (
            select(first, webhook_endpoints, webhook_messages.c.body)
            .join(webhook_endpoints, webhook_endpoints.c.id == first.c.endpoint)
            .join(webhook_messages, webhook_messages.c.id == first.c.message)
            .where(first.c.number <= _AT_ONCE, webhook_endpoints.c.state == "enabled")
            .order_by(first.c.next_at, first.c.message)
        )
        found: dict[str, list[Due]] = {}
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        failing = len(
            {row["endpoint"] for row in rows if row["failing_since"] is not None and row["endpoint"] in busy}
        )
        for row in rows:
            if row["endpoint"] not in found:
                if row["endpoint"] in busy or len(busy) + len(found) >= _ENDPOINTS:
                    continue
                if row["failing_since"] is not None and (failing := failing + 1) > _FAILING:
                    continue
            old = (row["old_secret"],) if (row["old_until"] or 0) > now else ()
            keys = (row["secret"], *old)
            found.setdefault(row["endpoint"], []).append(
                Due(row["endpoint"], row["message"], row["url"], row["body"], keys, row["attempts"])
            )
        return list(found.values())

    async def _call_all(self, pool: httpcore.AsyncConnectionPool, some: Sequence[Due]) -> list[Answer]:
        return list(await asyncio.gather(*(self._call(pool, each) for each in some)))

    async def _call(self, pool: httpcore.AsyncConnectionPool, due: Due) -> Answer:
        """One POST. Of the answer nothing but its status is read."""
        body = due.body.encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "prixfixe-webhooks/1",
            **signing.headers(due.message, int(self._clock()), body, due.keys),
        }
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                pool.stream("POST", due.url, headers=list(headers.items()), content=body) as response,
            ):
                status = response.status
        except TimeoutError:
            return Answer(None, f"no answer within {CALL_SECONDS:.0f} s")
        except RefusedAddress as error:
            return Answer(None, str(error))
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Answer(None, f"{type(error).__name__}: {error}"[:200])
        except Exception as error:  # a receiver's answer may not stop the others' deliveries
            log.warning("webhook %s to %s", due.message, due.endpoint, exc_info=True)
            return Answer(None, type(error).__name__)
        return Answer(status, "" if 200 <= status < 300 else f"it answered {status}")

    def _record(self, answers: Sequence[tuple[Due, Answer]]) -> None:
        """What each call came to. One that was asked for again in the meantime stays as it was asked for."""
        now = int(self._clock())
        endpoint = webhook_endpoints.c.id == answers[0][0].endpoint
        with self._store.write() as connection:
            row = connection.execute(select(webhook_endpoints).where(endpoint)).mappings().one_or_none()
            if row is None:
                return  # removed meanwhile
            changes: dict[str, Any] = {}
            for due, answer in answers:
                values = _after(due, answer, now)
                connection.execute(
                    update(webhook_deliveries)
                    .where(
                        webhook_deliveries.c.endpoint == due.endpoint,
                        webhook_deliveries.c.message == due.message,
                        webhook_deliveries.c.state == "pending",
                        webhook_deliveries.c.attempts == due.attempts,
                    )
                    .values(**values, tried_at=now, status=answer.status, error=answer.error)
                )
                if values["state"] == "failed":
                    since = row["failing_since"]
                    if answer.status == 410:
                        changes = {"state": "disabled", "reason": "it answered 410 (gone)"}
                    elif since is not None and since <= now - GIVE_UP_SECONDS:
                        changes = {"state": "disabled", "reason": f"no call went well; {answer.error}"[:200]}
            if any(answer.is_taken for _, answer in answers):
                changes = {"failing_since": None}
            elif row["failing_since"] is None:
                changes["failing_since"] = now
            connection.execute(update(webhook_endpoints).where(endpoint).values(changes or {"id": row["id"]}))
        if changes.get("state") == "disabled":
            log.warning("webhook %s is disabled: %s", row["id"], changes["reason"])


_OPEN: Final = webhook_deliveries.join(
    webhook_endpoints,
    (webhook_endpoints.c.id == webhook_deliveries.c.endpoint) & (webhook_endpoints.c.state == "enabled"),
)


def _after(due: Due, answer: Answer, now: int) -> dict[str, Any]:
    """State, attempts and the next one of a delivery after this answer."""
    attempts = due.attempts + 1
    if answer.is_taken:
        return {"state": "delivered", "attempts": attempts}
    if answer.status == 410 or attempts > len(WAITS):
        return {"state": "failed", "attempts": attempts}
    # Not all at the same moment again.
    wait = WAITS[due.attempts] * random.uniform(1.0, 1.1)
    return {"state": "pending", "attempts": attempts, "next_at": now + int(wait)}
