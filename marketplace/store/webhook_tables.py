"""Tables of webhooks: where customers are told of what happens, what they are told, and how far that is.

The conventions are those of `tables`. A secret is kept as it is, since every message is signed with it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from marketplace.store.metadata import JSON_OR_NULL, metadata, one_of

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", String(42), nullable=False),  # an address: managed, or a wallet's
    Column("url", String(2048), nullable=False),
    Column("description", String(200), nullable=False),
    Column("events", JSON_OR_NULL),  # types; NULL: all
    Column("secret", String(64), nullable=False),
    Column("old_secret", String(64)),  # which signs beside it
    Column("old_until", BigInteger),  # until this second
    Column("state", String(16), nullable=False),
    Column("reason", String(200), nullable=False),  # why it is disabled
    Column("failing_since", BigInteger),  # of the oldest attempt since one went well
    Column("created_at", BigInteger, nullable=False),
    one_of("state", "enabled", "disabled"),
    Index("ix_webhook_endpoints_account", "account"),
)

webhook_messages = Table(  # what happened, once for an account, until it is old
    "webhook_messages",
    metadata,
    Column("id", String(40), primary_key=True),  # the same for the same news: it is written once
    Column("account", String(42), nullable=False),
    Column("type", String(40), nullable=False),
    Column("body", Text, nullable=False),  # the bytes that are signed
    Column("created_at", BigInteger, nullable=False),
    Index("ix_webhook_messages_account", "account", "created_at"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("endpoint", String(32), ForeignKey("webhook_endpoints.id"), primary_key=True),
    Column("message", String(40), ForeignKey("webhook_messages.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),  # of a pending one
    Column("tried_at", BigInteger),
    Column("status", Integer),  # of the last answer
    Column("error", String(200), nullable=False),  # of the last attempt
    one_of("state", "pending", "delivered", "failed"),
    Index("ix_webhook_deliveries_due", "state", "next_at"),
)
