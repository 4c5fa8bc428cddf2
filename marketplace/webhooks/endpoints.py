"""Endpoints of an account: where they are, their secrets, what they were told, and telling it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import new_id
from marketplace.paging import moment
from marketplace.store.database import Store, notify
from marketplace.store.upsert import insert_missing, parts
from marketplace.store.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_messages
from marketplace.store.webhooks import TOPIC, new_delivery, told_to
from marketplace.webhooks.destinations import require_url
from marketplace.webhooks.signing import new_secret
from prixfixe.errors import Conflict, InvalidInput, NotFound
from prixfixe.protocol import webhooks as wire

MOST_ENDPOINTS: Final = 10
MOST_REPLAYED: Final = 10_000
OVERLAP_SECONDS: Final = 86_400


class Endpoints:
    """Webhooks of managed accounts and of wallets' addresses alike. local: on a local chain, where a webhook
    may go to this machine."""

    def __init__(self, store: Store, *, local: bool, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._local = local
        self._clock = clock

    def add(self, account: str, request: wire.EndpointRequest) -> wire.NewEndpoint:
        """A new endpoint, with the secret that signs what it is told."""
        require_url(request.url, local=self._local)
        row = {
            "id": new_id(),
            "account": account,
            "url": request.url,
            "description": request.description,
            "events": _chosen(request.events),
            "secret": new_secret(),
            "old_secret": None,
            "old_until": None,
            "state": "enabled",
            "reason": "",
            "failing_since": None,
            "created_at": int(self._clock()),
        }
        with self._store.write() as connection:
            if len(_rows(connection, account)) >= MOST_ENDPOINTS:
                raise Conflict(
                    f"the account has {MOST_ENDPOINTS} webhooks",
                    code="too-many-webhooks",
                    hint="remove one that is not used",
                )
            connection.execute(insert(webhook_endpoints).values(row))
            made = _row(connection, account, str(row["id"]))
        return wire.NewEndpoint(secret=str(row["secret"]), endpoint=self._shown(made))

    def listed(self, account: str) -> tuple[wire.Endpoint, ...]:
        """Newest first."""
        with self._store.read() as connection:
            return tuple(map(self._shown, _rows(connection, account)))

    def get(self, account: str, endpoint: str) -> wire.Endpoint:
        """One; NotFound for another account's."""
        with self._store.read() as connection:
            return self._shown(_row(connection, account, endpoint))

    def change(self, account: str, endpoint: str, wish: wire.EndpointChange) -> wire.Endpoint:
        """Another URL, other events; disabled, or enabled again, with all that waits going out."""
        if wish.url is not None:
            require_url(wish.url, local=self._local)
        given = wish.model_fields_set
        values: dict[str, Any] = {}
        if wish.url is not None:
            values["url"] = wish.url
        if wish.description is not None:
            values["description"] = wish.description
        if "events" in given:
            values["events"] = _chosen(wish.events)
        if wish.enabled is not None:
            values |= {"state": "enabled" if wish.enabled else "disabled", "failing_since": None}
            values["reason"] = "" if wish.enabled else "by its owner"
        with self._store.write() as connection:
            _row(connection, account, endpoint)
            if values:
                connection.execute(
                    update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint).values(values)
                )
                notify(connection, TOPIC)
            return self._shown(_row(connection, account, endpoint))

    def remove(self, account: str, endpoint: str) -> None:
        """It is told nothing any more; what waits for it is dropped."""
        with self._store.write() as connection:
            _row(connection, account, endpoint)
            connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.endpoint == endpoint))
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint))

    def rotate(self, account: str, endpoint: str) -> wire.NewEndpoint:
        """Another secret. For a day the one before signs beside it."""
        secret, now = new_secret(), int(self._clock())
        with self._store.write() as connection:
            row = _row(connection, account, endpoint)
            connection.execute(
                update(webhook_endpoints)
                .where(webhook_endpoints.c.id == endpoint)
                .values(secret=secret, old_secret=row["secret"], old_until=now + OVERLAP_SECONDS)
            )
            changed = _row(connection, account, endpoint)
        return wire.NewEndpoint(secret=secret, endpoint=self._shown(changed))

    def test(self, account: str, endpoint: str) -> wire.Delivery:
        """A message that says only that it is a test, also to an endpoint that did not ask for its type."""
        with self._store.write() as connection:
            _require_enabled(_row(connection, account, endpoint))
            data = {"endpoint": endpoint}
            number = told_to(connection, endpoint, account, "webhook.test", data, new_id())
            return _delivery(connection, endpoint, number)

    def deliveries(
        self, account: str, endpoint: str, cursor: str | None, limit: int
    ) -> tuple[tuple[wire.Delivery, ...], str | None]:
        """What it was told and is to be told, newest first, and where the next page begins."""
        query = _DELIVERIES.where(webhook_deliveries.c.endpoint == endpoint).limit(limit + 1)
        if cursor is not None:
            at, number = moment(cursor)
            made, name = webhook_messages.c.created_at, webhook_messages.c.id
            query = query.where((made < at) | ((made == at) & (name < number)))
        with self._store.read() as connection:
            _row(connection, account, endpoint)
            rows = connection.execute(query).mappings().all()
        shown = tuple(map(_shown_delivery, rows[:limit]))
        if len(rows) <= limit:
            return shown, None
        return shown, f"{shown[-1].created_at}-{shown[-1].message}"

    def replay(self, account: str, endpoint: str, wish: wire.ReplayRequest) -> wire.Replayed:
        """Send again what was sent, or what was told before the endpoint was there. InvalidInput unless it is
        either one message or a time; NotFound for a message that is not the account's or is too old."""
        if (wish.message is None) == (wish.since is None):
            raise InvalidInput("say either which message, or since when", code="bad-replay")
        query = select(webhook_messages.c.id).where(webhook_messages.c.account == account)
        if wish.message is not None:
            query = query.where(webhook_messages.c.id == wish.message)
        else:
            query = query.where(webhook_messages.c.created_at >= wish.since)
        with self._store.write() as connection:
            row = _require_enabled(_row(connection, account, endpoint))
            if wish.since is not None and row["events"] is not None:
                query = query.where(webhook_messages.c.type.in_(row["events"]))
            found = connection.execute(query.limit(MOST_REPLAYED + 1)).scalars().all()
            if wish.message is not None and not found:
                raise NotFound("there is no such message", hint="messages are kept for thirty days")
            if len(found) > MOST_REPLAYED:
                raise InvalidInput(f"more than {MOST_REPLAYED} messages", hint="replay from a later time")
            for some in parts(found):
                insert_missing(
                    connection, webhook_deliveries, [new_delivery(endpoint, each) for each in some]
                )
                again = (webhook_deliveries.c.endpoint == endpoint, webhook_deliveries.c.message.in_(some))
                connection.execute(
                    update(webhook_deliveries).where(*again).values(state="pending", attempts=0, next_at=0)
                )
            if found:
                notify(connection, TOPIC)
        return wire.Replayed(count=len(found))

    def _shown(self, row: RowMapping) -> wire.Endpoint:
        old = row["old_until"]
        return wire.Endpoint(
            id=row["id"],
            account=row["account"],
            url=row["url"],
            description=row["description"],
            events=None if row["events"] is None else tuple(row["events"]),
            state=row["state"],
            reason=row["reason"],
            failing_since=row["failing_since"],
            old_secret_until=old if old is not None and old > self._clock() else None,
            created_at=row["created_at"],
        )


_DELIVERIES: Final = (
    select(webhook_deliveries, webhook_messages.c.type, webhook_messages.c.created_at)
    .join(webhook_messages, webhook_messages.c.id == webhook_deliveries.c.message)
    .order_by(webhook_messages.c.created_at.desc(), webhook_messages.c.id.desc())
)


def _chosen(events: tuple[str, ...] | None) -> list[str] | None:
    return None if events is None else sorted(set(events))


def _require_enabled(row: RowMapping) -> RowMapping:
    if row["state"] != "enabled":
        raise Conflict(
            f"the webhook is disabled: {row['reason']}",
            code="webhook-disabled",
            hint="enable it first (PATCH with enabled: true)",
        )
    return row


def _rows(connection: Connection, account: str) -> list[RowMapping]:
    query = select(webhook_endpoints).where(webhook_endpoints.c.account == account)
    order = (webhook_endpoints.c.created_at.desc(), webhook_endpoints.c.id)
    return list(connection.execute(query.order_by(*order)).mappings().all())


def _row(connection: Connection, account: str, endpoint: str) -> RowMapping:
    query = select(webhook_endpoints).where(
        webhook_endpoints.c.account == account, webhook_endpoints.c.id == endpoint
    )
    row: RowMapping | None = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("there is no such webhook", hint="see `prixfixe webhooks list`")
    return row


def _delivery(connection: Connection, endpoint: str, message: str) -> wire.Delivery:
    query = _DELIVERIES.where(
        webhook_deliveries.c.endpoint == endpoint, webhook_deliveries.c.message == message
    )
    return _shown_delivery(connection.execute(query).mappings().one())


def _shown_delivery(row: RowMapping) -> wire.Delivery:
    return wire.Delivery(
        message=row["message"],
        type=row["type"],
        created_at=row["created_at"],
        state=row["state"],
        attempts=row["attempts"],
        next_at=max(row["next_at"], row["created_at"]) if row["state"] == "pending" else None,
        tried_at=row["tried_at"],
        status=row["status"],
        error=row["error"],
    )
