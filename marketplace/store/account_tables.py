"""Tables of managed accounts: people, what they may do, and what was done for them.

The conventions are those of `tables`. No key and no password is here: an account's key is derived from the
operator's seed by its number, a password is its argon2 hash, and of a token only the SHA-256 is kept.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from marketplace.store.metadata import JSON_OR_NULL, metadata, one_of

ROLES = (
    "owner",  # all that there is
    "member",  # reads and orders
    "viewer",  # reads
)

people = Table(
    "people",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("email", String(254), unique=True, nullable=False),  # in lower case
    Column("password", String(255), nullable=False),  # argon2id, with its salt and cost
    Column("created_at", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, ...: its key is the N-th
    Column("address", String(42), unique=True, nullable=False),
    Column("name", String(100), nullable=False),
    Column("channel", String(64), nullable=False),  # by which it came; "" when it did not say
    Column("created_at", BigInteger, nullable=False),
    Column("per_job", BigInteger),  # most that one order may cost; NULL: whatever it holds
    Column("per_day", BigInteger),  # most that the orders of 24 hours may cost
    Column("warn_below", BigInteger, nullable=False),
    Column("withdraw_to", String(42)),  # the one address to which its money leaves
    Column("next_withdraw_to", String(42)),  # that which takes its place
    Column("next_withdraw_at", BigInteger),  # from this second of the chain's clock on
    Column("low_since", BigInteger),  # for who was told by a webhook
    CheckConstraint(
        "(next_withdraw_to IS NULL) = (next_withdraw_at IS NULL)", name="next_address_has_its_time"
    ),
)

members = Table(
    "members",
    metadata,
    Column("account", Integer, ForeignKey("accounts.number"), primary_key=True),
    Column("person", String(32), ForeignKey("people.id"), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    one_of("role", *ROLES),
    Index("ix_members_person", "person"),
)

invites = Table(  # gone when they are used, taken back or over
    "invites",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("token_digest", String(64), unique=True, nullable=False),
    Column("account", Integer, ForeignKey("accounts.number"), nullable=False),
    Column("role", String(16), nullable=False),
    Column("email", String(254), nullable=False),  # whom it is for: nobody else can use it
    Column("invited_by", String(32), ForeignKey("people.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    one_of("role", *ROLES),
    Index("ix_invites_account", "account"),
)

person_sessions = Table(  # of a browser: one person at one of its accounts
    "person_sessions",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("person", String(32), ForeignKey("people.id"), nullable=False),
    Column("account", Integer, ForeignKey("accounts.number"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("id", String(32), unique=True, nullable=False),  # by which its person ends it; no secret
    Column("browser", String(64), nullable=False),  # `Firefox, Linux`, one of a few such names; or ""
    Column("used_at", BigInteger, nullable=False),  # to the minute
    Index("ix_person_sessions_person", "person"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("token_digest", String(64), unique=True, nullable=False),
    Column("account", Integer, ForeignKey("accounts.number"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("scopes", JSON_OR_NULL, nullable=False),
    Column("made_by", String(32), ForeignKey("people.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),  # to the minute
    Column("revoked_at", BigInteger),
    Index("ix_api_keys_account", "account"),
)

managed_orders = Table(  # what was signed for an account, by its idempotency key, before it was placed
    "managed_orders",
    metadata,
    Column("account", Integer, ForeignKey("accounts.number"), primary_key=True),
    Column("key", String(160), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("job", String(66), nullable=False),  # the order's digest; placed when `jobs` has it
    Column("request", JSON_OR_NULL, nullable=False),  # wire.JobRequest
    Column("ordered_by", String(64), nullable=False),  # person:<id> or key:<id>
    Column("created_at", BigInteger, nullable=False),
)

top_ups = Table(  # money that the operator received and deposits; an invoice once
    "top_ups",
    metadata,
    Column("invoice", String(64), primary_key=True),
    Column("account", Integer, ForeignKey("accounts.number"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("note", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("amount > 0", name="amount_positive"),
    Index("ix_top_ups_account", "account"),
)

withdrawals = Table(  # signed for the owner, and on their way or gone
    "withdrawals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", Integer, ForeignKey("accounts.number"), nullable=False),
    Column("key", String(128), nullable=False),  # its idempotency key
    Column("to", String(42), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("account", "key"),
)
