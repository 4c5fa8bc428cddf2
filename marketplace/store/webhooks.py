"""What an account's webhooks are to be told, written in the transaction in which it happens.

A message has the id of its news, so that the same news twice (a worker that says again where it is) is one
message; each endpoint that asked for its type gets a delivery. `marketplace.webhooks` sends them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, bindparam, select

from marketplace.store.database import notify
from marketplace.store.listed import among
from marketplace.store.tables import jobs
from marketplace.store.upsert import insert_missing
from marketplace.store.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_messages

TOPIC: Final = "webhooks"

# Made once: making a statement takes longer than running it.
_WATCHED: Final = (
    select(webhook_endpoints.c.id, webhook_endpoints.c.events, jobs.c.customer, jobs.c.id.label("job"))
    .join(jobs, jobs.c.customer == webhook_endpoints.c.account)
    .where(among(jobs.c.id, "jobs"))
)
_ANY: Final = select(webhook_endpoints.c.id).limit(1)
_OF: Final = select(webhook_endpoints.c.id, webhook_endpoints.c.events).where(
    webhook_endpoints.c.account == bindparam("of")
)


def jobs_told(connection: Connection, told: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Of a job's events (job, kind, data) those that say another state, to who wants to hear of them."""
    news = {}
    for job, kind, data in told:
        if kind == "end" or (kind == "state" and data["state"] in ("queued", "running")):
            news[job, data["state"]] = data
    if not news or connection.execute(_ANY).first() is None:
        return
    watched: dict[str, list[RowMapping]] = {}
    for row in connection.execute(_WATCHED, {"jobs": list({job for job, _ in news})}).mappings():
        watched.setdefault(row["job"], []).append(row)
    for (job, state), data in news.items():
        if job in watched:
            said = {"job": job, "state": state, "charged": data.get("charged"), "reason": data.get("reason")}
            endpoints = watched[job]
            _put(connection, endpoints[0]["customer"], f"job.{state}", said, endpoints, job)


def told(connection: Connection, account: str, kind: str, data: dict[str, Any], news: str) -> None:
    """Something else that happened to an account. news: what tells it from all other news of its type."""
    endpoints = connection.execute(_OF, {"of": account}).mappings().all()
    if endpoints:
        _put(connection, account, kind, data, endpoints, news)


def told_to(
    connection: Connection, endpoint: str, account: str, kind: str, data: dict[str, Any], news: str
) -> str:
    """Something that one endpoint hears, whatever it asked for; the message's id."""
    return _put(connection, account, kind, data, [{"id": endpoint, "events": None}], news)


def _put(
    connection: Connection,
    account: str,
    kind: str,
    data: dict[str, Any],
    endpoints: Sequence[RowMapping | dict[str, Any]],
    news: str,
) -> str:
    now = int(time.time())
    number = "msg_" + hashlib.sha256(f"{account} {kind} {news}".encode()).hexdigest()[:32]
    wanting = [each["id"] for each in endpoints if each["events"] is None or kind in each["events"]]
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = json.dumps({"type": kind, "timestamp": stamp, "data": data}, ensure_ascii=False)
    message = {"id": number, "account": account, "type": kind, "body": body, "created_at": now}
    insert_missing(connection, webhook_messages, [message])
    if wanting:
        insert_missing(connection, webhook_deliveries, [new_delivery(each, number) for each in wanting])
        notify(connection, TOPIC)
    return number


def new_delivery(endpoint: str, message: str) -> dict[str, Any]:
    """A row that is due at once, whatever clock is asked."""
    return {
        "endpoint": endpoint,
        "message": message,
        "state": "pending",
        "attempts": 0,
        "next_at": 0,
        "tried_at": None,
        "status": None,
        "error": "",
    }
