"""Tables of the service, and the state machines that live in them.

Conventions: addresses EIP-55; ids and hashes of the chain are 0x-hex; digests (SHA-256) plain hex; money is
an integer of the token's smallest unit (64 bits hold every balance the contract can hold); times are
integer seconds: `*_at` on the service's clock, `deadline`, `expiry`, `deliver_by` and `until` on the
chain's. JSON columns hold the canonical forms of `prixfixe.protocol`, and NULL for nothing. Every state
column of a state machine has a CHECK and a trigger, both made from `marketplace.store.states`, where every
transition is named with who makes it.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    false,
    text,
)

from marketplace.store import account_tables as account_tables
from marketplace.store import inspection_tables as inspection_tables
from marketplace.store import share_tables as share_tables
from marketplace.store import states
from marketplace.store import webhook_tables as webhook_tables
from marketplace.store.metadata import JSON_OR_NULL as _JSON
from marketplace.store.metadata import metadata as metadata
from marketplace.store.metadata import one_of as _states

# SQLite compares bytes, PostgreSQL as the database's language does.
_BYTES_160 = String(160).with_variant(String(160, collation="C"), "postgresql")

JOB_KINDS = (
    "bundle",  # a purchase: the best live asks at the published price
    "flat",  # a bid that takes the best live asks at once
    "auction",  # a bid that waits for the next batch
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_digest", String(64), primary_key=True),  # SHA-256 of the token, which is never stored
    Column("address", String(42), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

nonces = Table(
    "nonces",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

kept_files = Table(  # until when a file is kept for those who named it, by the chain's clock
    "kept_files",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("until", BigInteger, nullable=False),
)

DELETION_KINDS = ("file", "log")
deletions = Table(  # what was deleted by policy, and when: a digest, or an attempt and its task
    "deletions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", _BYTES_160, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    _states("kind", *DELETION_KINDS),
)

blob_owners = Table(  # who may read a blob because it put it there; jobs and assignments give further rights
    "blob_owners",
    metadata,
    Column("sha256", String(64), ForeignKey("blobs.sha256"), primary_key=True),
    Column("address", String(42), primary_key=True),
)

bundles = Table(
    "bundles",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("version", String(32), primary_key=True),
    Column("definition", _JSON, nullable=False),
    Column("definition_digest", String(64), nullable=False),
    Column("image", String(71), nullable=False),
    Column("image_archive", String(64), ForeignKey("blobs.sha256"), nullable=False),
    Column("published_by", String(42), nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
)

offers = Table(  # one a tier and number of replicas: what the chain knows
    "offers",
    metadata,
    Column("offer_id", String(66), primary_key=True),
    Column("bundle", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("tier", String(64), nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("position", Integer, nullable=False),  # order of tiers and replicas, smallest tier first
    Column("offer", _JSON, nullable=False),
    Column("product", String(66), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("up_to", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),  # mirrored from Published and Retired
    UniqueConstraint("bundle", "version", "tier", "replicas"),
)

price_notes = Table(  # what the pricing desk did, in its order; never changed
    "price_notes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("bundle", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("act", String(16), nullable=False),
    Column("by", String(42), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("inputs", _JSON),
    Column("override", Text, nullable=False),
    _states("act", "published", "retired"),
    Index("ix_price_notes_bundle", "bundle"),
)

quotes = Table(
    "quotes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("customer", String(42), nullable=False),
    Column("quote", _JSON, nullable=False),  # wire.Quote
    Column("expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(66), primary_key=True),  # the order's EIP-712 digest
    Column("number", Integer, unique=True, nullable=False),  # 1, 2, 3: newest last, cursor of the pages
    Column("customer", String(42), nullable=False),
    Column("quote", String(64), ForeignKey("quotes.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("order", _JSON, nullable=False),  # Purchase or Bid
    Column("signature", String(132), nullable=False),
    Column("manifest", _JSON, nullable=False),
    Column("image", String(340), nullable=False),
    Column("image_archive", String(64), ForeignKey("blobs.sha256")),  # NULL: from its registry
    Column("offer_id", String(66), ForeignKey("offers.offer_id")),  # of a purchase
    Column("product", String(66), nullable=False),
    Column("price", BigInteger, nullable=False),  # per task, all replicas: the most
    Column("replicas", Integer, nullable=False),  # legs of each deal
    Column("whole", Boolean, nullable=False, default=False),  # an auction fills all lots at once, or none
    Column("providers", _JSON),  # whom the customer admits; NULL: anyone
    Column("state", String(16), nullable=False),
    Column("stage", String(200), nullable=False, default=""),
    Column("progress", Float),
    Column("reason", _JSON),  # wire.Reason, once ended without success
    Column("charged", BigInteger, nullable=False, default=0),
    Column("cancelled_at", BigInteger),  # its customer took back whatever no worker had started then
    Column("forgotten_at", BigInteger),  # its customer had its files and logs deleted
    Column("expiry", BigInteger, nullable=False),  # chain clock
    Column("deliver_by", BigInteger, nullable=False),  # chain clock
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("channel", String(64)),  # by which the customer of a managed account came; NULL: no such account
    _states("kind", *JOB_KINDS),
    _states("state", *states.JOB.states),
    CheckConstraint("(offer_id IS NOT NULL) = (kind = 'bundle')", name="purchase_of_an_offer"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('queued', 'running'))", name="ended_when_over"),
    CheckConstraint("charged >= 0", name="charged_positive"),
    Index("ix_jobs_customer_number", "customer", "number"),
    Index("ix_jobs_product_state", "product", "state"),
    Index("ix_jobs_image", "image", "number"),
)

lots = Table(
    "lots",
    metadata,
    Column("job", String(66), ForeignKey("jobs.id"), primary_key=True),
    Column("lot", Integer, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False, default=0),  # deals opened so far
    Column("not_before", Float, nullable=False, default=0.0),  # service clock: back-off after a failed match
    # Of the tasks of its present deal: how far they are together, each 0..1, and how many are over.
    Column("progress", Float, nullable=False, default=0.0, server_default="0"),
    Column("over", Integer, nullable=False, default=0, server_default="0"),
    Column("waiting_reason", Text),  # why nothing matched, in words
    Column("reason", _JSON),  # wire.Reason, once ended
    _states("state", *states.LOT.states),
    Index("ix_lots_state", "state"),
)

deals = Table(
    "deals",
    metadata,
    Column("id", String(66), primary_key=True),
    # The same lot matched again with the same legs has the same id (it holds no time): `opening` tells them
    # apart.
    Column("opening", Integer, primary_key=True),
    Column("job", String(66), ForeignKey("jobs.id"), nullable=False),
    Column("lot", Integer, nullable=False),
    Column("deal", _JSON, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("root", String(66)),
    Column("done", Integer),
    Column("signatures", _JSON),  # one a leg, "0x" for who did not sign
    Column("paid", BigInteger),
    Column("returned", BigInteger),
    # What the contract remembers of the settlement, packed, as digits; a case that ends changes it.
    Column("fact", String(29)),
    Column("reason", _JSON),  # wire.Reason, once refused or expired
    Column("opened", _JSON, nullable=False),  # receipt.TransactionReference
    Column("ended", _JSON),
    _states("state", *states.DEAL.states),
    CheckConstraint("(ended IS NULL) = (state = 'open')", name="ended_when_over"),
    Index("ix_deals_job", "job", "lot"),
    Index("ix_deals_state_deadline", "state", "deadline"),
)

cases = Table(  # challenges of settled deals, in the chain's order; at most one of a deal is open
    "cases",
    metadata,
    Column("deal", String(66), primary_key=True),
    Column("number", Integer, primary_key=True),  # 1, 2, ...
    Column("opening", Integer, nullable=False),
    Column("job", String(66), ForeignKey("jobs.id"), nullable=False),
    Column("lot", Integer, nullable=False),
    Column("challenger", String(42), nullable=False),
    Column("claim", _JSON, nullable=False),  # disputes.Claim
    Column("until", BigInteger, nullable=False),  # chain clock: last second of a judgement
    Column("bond", BigInteger, nullable=False),
    Column("fees", _JSON, nullable=False),  # what each signing leg gave towards the arbiter's fee
    Column("fact", String(29), nullable=False),  # of the deal when it was challenged
    Column("state", String(16), nullable=False),
    Column("fee", BigInteger),  # what the arbiter got
    Column("returned", BigInteger),  # what the customer got back; of a guilty one
    Column("opened", _JSON, nullable=False),  # receipt.TransactionReference
    Column("ended", _JSON),
    _states("state", *states.CASE.states),
    CheckConstraint("(ended IS NULL) = (state = 'open')", name="ended_when_over"),
    Index("ix_cases_state", "state"),
    Index("ix_cases_job", "job"),
)

rounds = Table(  # of a deal with several legs: how they come to one answer without copying
    "rounds",
    metadata,
    Column("deal", String(66), primary_key=True),
    Column("opening", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("root", String(66)),  # agreed
    Column("done", Integer),  # with it
    Column("created_at", Float, nullable=False),
    Column("quorum_at", Float),  # when so many had committed as must agree
    Column("agreed_at", Float),
    _states("state", *states.ROUND.states),
    CheckConstraint(
        "(root IS NULL) = (state IN ('committing', 'opening', 'split'))", name="root_when_agreed"
    ),
    CheckConstraint("(agreed_at IS NULL) = (root IS NULL)", name="agreed_at_with_root"),
)

TRADE_KINDS = ("bundle", "flat", "auction")
trades = Table(  # paid legs of settled lots, in the chain's order
    "trades",
    metadata,
    Column("block", BigInteger, primary_key=True),  # of `Settled`
    Column("log_index", Integer, primary_key=True),
    Column("leg", Integer, primary_key=True),
    Column("time", BigInteger, nullable=False),  # of the block
    Column("deal", String(66), nullable=False),
    Column("opening", Integer, nullable=False),
    Column("product", String(66), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("price", BigInteger, nullable=False),  # of one task, to this leg
    Column("tasks", Integer, nullable=False),
    Column("provider", String(42), nullable=False),
    Column("worker", String(42), nullable=False),  # the leg's key
    Column("customer", String(42), nullable=False),
    Column("bundle", String(66)),  # offer's id; of a bundle
    Column("batch", String(66)),  # hash of the published batch; of an auction
    _states("kind", *TRADE_KINDS),
    Index("ix_trades_product_time", "product", "time"),
    Index("ix_trades_worker_time", "worker", "time"),
    Index("ix_trades_deal", "deal", "opening"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("job", String(66), ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # the task's index in the job
    Column("lot", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", Integer),  # as in the leaf
    Column("outputs", _JSON),  # OutputManifest of the attempt that counted
    Column("files", Integer, nullable=False, default=0, server_default="0"),  # in outputs
    Column("progress", Float, nullable=False, default=0.0, server_default="0"),  # 0..1, while its lot is open
    Column(
        "over", Boolean, nullable=False, default=False, server_default=false()
    ),  # its worker says so; its lot may still run
    _states("state", *states.TASK.states),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("deal", String(66), nullable=False),
    Column("opening", Integer, nullable=False),
    Column("job", String(66), ForeignKey("jobs.id"), nullable=False),
    Column("lot", Integer, nullable=False),
    Column("worker", String(42), nullable=False),  # the leg's key
    Column("provider", String(42), nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", Integer),  # of the first task that failed; 0 when none did
    Column("seconds", Float),  # that its tasks ran, together
    Column("tasks", _JSON),  # reports.TaskReport of each task of the lot, in its order
    Column("result", _JSON),
    Column("signature", String(132)),
    Column("commitment", String(66)),  # of one of several replicas: the salted hash of its root
    Column("reason", _JSON),
    Column("cage", _JSON),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    _states("state", *states.ATTEMPT.states),
    CheckConstraint("state NOT IN ('committed', 'opened') OR commitment IS NOT NULL", name="committed_first"),
    CheckConstraint("state != 'opened' OR signature IS NOT NULL", name="opened_is_signed"),
    UniqueConstraint("deal", "opening", "worker"),
    Index("ix_attempts_worker_state", "worker", "state"),
    Index("ix_attempts_job", "job"),
)

task_logs = Table(  # how much an attempt's task has said so far
    "task_logs",
    metadata,
    Column("attempt", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("task", Integer, primary_key=True),  # index in the job
    Column("bytes", BigInteger, nullable=False),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job", String(66), ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("data", _JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("key", String(42), primary_key=True),
    Column("provider", String(42), nullable=False),
    Column("name", String(64), nullable=False),
    Column("resources", _JSON, nullable=False),
    Column("version", String(32), nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("heartbeat_at", Float, nullable=False),
    Column("draining", Boolean, nullable=False, default=False),
    Column("cool_until", Float, nullable=False, default=0.0),  # no new deal before: it just failed one
    Column("cached", _JSON),  # digests of images and inputs that it says it has; NULL: it has not said
    Column("failures", Integer, nullable=False, default=0, server_default="0"),  # by its own fault, in a row
)

vetted_providers = Table(  # whom the operator vouches for: customers may ask for none but them
    "vetted_providers",
    metadata,
    Column("provider", String(42), primary_key=True),
    Column("note", Text, nullable=False),  # why
    Column("at", BigInteger, nullable=False),
)

sealing_keys = Table(  # to whom secrets of a worker's jobs are sealed, signed by its key
    "sealing_keys",
    metadata,
    Column("worker", String(42), ForeignKey("workers.key"), primary_key=True),
    Column("signed", _JSON, nullable=False),
)

sealed_secrets = Table(  # what only the worker of the attempt can open; gone minutes after it is over
    "sealed_secrets",
    metadata,
    Column("attempt", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("given_at", BigInteger, nullable=False),
)

benchmarks = Table(  # what a worker last said of its machine
    "benchmarks",
    metadata,
    Column("worker", String(42), ForeignKey("workers.key"), primary_key=True),
    Column("at", BigInteger, nullable=False),  # by the worker's clock
    Column("signed", _JSON, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

asks = Table(  # resting asks; one a (worker, product): the newest replaces
    "asks",
    metadata,
    Column("worker", String(42), ForeignKey("workers.key"), primary_key=True),
    Column("product", String(66), primary_key=True),
    Column("provider", String(42), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    Column("ask", _JSON, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("placed_at", BigInteger, nullable=False),
    Index("ix_asks_product_price", "product", "price"),
)

worker_changes = Table(  # the order in which workers and their asks last changed; written by triggers
    "worker_changes",
    metadata,
    Column("worker", String(42), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
)
for _table, _key, _changes in (
    ("asks", "worker", ("insert", "update", "delete")),
    ("workers", "key", ("insert", "update")),
):
    for _change in _changes:
        _row = "OLD" if _change == "delete" else "NEW"
        _trigger = DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER tr_{_table}_{_change}_numbered AFTER {_change.upper()} ON {_table} BEGIN"
            " INSERT INTO worker_changes (worker, number)"
            f" VALUES ({_row}.{_key}, (SELECT coalesce(max(number), 0) + 1 FROM worker_changes))"
            " ON CONFLICT (worker) DO UPDATE SET number = excluded.number; END"
        )
        event.listen(metadata, "after_create", _trigger.execute_if(dialect="sqlite"))
for _statement in (
    """CREATE FUNCTION number_worker_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed varchar;
BEGIN
  IF TG_TABLE_NAME = 'workers' THEN changed := NEW.key;
  ELSIF TG_OP = 'DELETE' THEN changed := OLD.worker;
  ELSE changed := NEW.worker;
  END IF;
  INSERT INTO worker_changes (worker, number)
  VALUES (changed, (SELECT coalesce(max(number), 0) + 1 FROM worker_changes))
  ON CONFLICT (worker) DO UPDATE SET number = excluded.number;
  RETURN NULL;
END $$""",
    "CREATE TRIGGER tr_asks_numbered AFTER INSERT OR UPDATE OR DELETE ON asks"
    " FOR EACH ROW EXECUTE FUNCTION number_worker_change()",
    "CREATE TRIGGER tr_workers_numbered AFTER INSERT OR UPDATE ON workers"
    " FOR EACH ROW EXECUTE FUNCTION number_worker_change()",
):
    _trigger = DDL(_statement)  # type: ignore[no-untyped-call]
    event.listen(metadata, "after_create", _trigger.execute_if(dialect="postgresql"))

product_rules = Table(  # how the auction of a product runs, where it differs from the default
    "product_rules",
    metadata,
    Column("product", String(66), primary_key=True),
    Column("least_seconds", Float, nullable=False),  # a batch stays open at least, at most
    Column("most_seconds", Float, nullable=False),
    Column("low", BigInteger, nullable=False),  # no batch clears below: the reserve price
    Column("high", BigInteger),  # nor above; NULL: at any price
    Column("note", Text, nullable=False),  # why
    Column("changed_by", String(42), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    CheckConstraint("0 < least_seconds AND least_seconds <= most_seconds", name="seconds_in_order"),
    CheckConstraint("0 <= low AND (high IS NULL OR low <= high)", name="collar_in_order"),
)

batches = Table(  # of the auction; the publication is the blob of the same digest
    "batches",
    metadata,
    Column("digest", String(66), primary_key=True),
    Column("position", Integer, unique=True, nullable=False),  # 1, 2, 3: newest last, cursor of the pages
    Column("product", String(66), nullable=False),
    Column("number", Integer, nullable=False),  # of its product: 1, 2, 3
    Column("block", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),  # chain clock
    Column("price", BigInteger, nullable=False),
    Column("bids", Integer, nullable=False),
    Column("asks", Integer, nullable=False),
    Column("set_aside", Integer, nullable=False),
    Column("fills", Integer, nullable=False),
    Column("cleared", _JSON),  # receipt.TransactionReference, once the chain has it
    UniqueConstraint("product", "number"),
)

open_batches = Table(  # products of which a batch gathers; one that closes or has no bid left goes
    "open_batches",
    metadata,
    Column("product", String(66), primary_key=True),
    Column("closes_at", Float, nullable=False),  # service clock
)

MOMENT_KINDS = (
    "asked",  # from `at` on it asked these terms for a task of `product`
    "silent",  # from `at` on nothing was heard of it
    "drained",  # from `at` on it took no work
    "back",  # from `at` on it was heard and took work
)
worker_moments = Table(  # what changed about a worker, the newest of each: why it was not given a lot then
    "worker_moments",
    metadata,
    Column("worker", String(42), ForeignKey("workers.key"), primary_key=True),
    Column("number", Integer, primary_key=True),  # 1, 2, ... in the order in which they were written
    Column("at", Float, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("product", String(66)),
    Column("ask", _JSON),
    _states("kind", *MOMENT_KINDS),
    CheckConstraint("(ask IS NOT NULL) = (kind = 'asked')", name="ask_when_asked"),
)

_CLEARS = text("call = 'clear'")
transactions = Table(  # the outbox
    "transactions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # e.g. match:<job>:<lot>:<try>; the same wish once. In the order of bytes: wishes are found by range.
    Column("purpose", _BYTES_160, unique=True, nullable=False),
    Column("call", String(64), nullable=False),
    Column("arguments", _JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("nonce", BigInteger),
    Column("hash", String(66)),
    # every hash ever sent for it: a replaced one may win
    Column("hashes", _JSON, nullable=False, default=list),
    Column("sends", Integer, nullable=False, default=0),
    Column("gas_used", BigInteger),
    Column("block", BigInteger),
    Column("error", _JSON),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    _states("state", *states.TRANSACTION.states),
    Index("ix_transactions_state", "state", "id"),
    # There are few, and each look of the matcher and the auctioneer asks for the newest.
    Index("ix_transactions_clears", "id", sqlite_where=_CLEARS, postgresql_where=_CLEARS),
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("block", BigInteger, nullable=False),
    Column("hash", String(66), nullable=False),
)

chain_events = Table(
    "chain_events",
    metadata,
    Column("block", BigInteger, primary_key=True),
    Column("log_index", Integer, primary_key=True),
    Column("block_hash", String(66), nullable=False),
    Column("transaction", String(66), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("name", String(32), nullable=False),
    Column("data", _JSON, nullable=False),
    Index("ix_chain_events_name", "name"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("address", String(42), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("answer", _JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

check_days = Table(  # the secrets that decide which results of a day are run again
    "check_days",
    metadata,
    Column("day", Integer, primary_key=True),  # of the chain's clock, since 1970
    Column("secret", String(64), nullable=False),
    Column("commitment", String(64), nullable=False),  # SHA-256 of the secret: told before the day
)

checks = Table(  # of each result that could be checked: how it was drawn, and what became of it
    "checks",
    metadata,
    Column("deal", String(66), primary_key=True),
    Column("opening", Integer, primary_key=True),
    Column("provider", String(42), nullable=False),
    Column("time", BigInteger, nullable=False),  # of its settlement, chain clock
    Column("day", Integer, nullable=False),
    # What the draw was made with: see prixfixe.market.verification.
    Column("gain", BigInteger, nullable=False),
    Column("stake", BigInteger, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("rate", Integer, nullable=False),
    Column("drawn", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("why", Text),  # why it is unclear, or waits
    Column("canary", Integer),  # what its provider is given to run instead; None: it is run again elsewhere
    _states("state", *states.CHECK.states),
    CheckConstraint("NOT drawn OR state != 'spared'", name="drawn_is_run"),
    Index("ix_checks_state", "state"),
    Index("ix_checks_provider", "provider", "time"),
)

canaries = Table(  # tasks of a bundle version whose answer the operator knows; never told to anybody
    "canaries",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, ...
    Column("bundle", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("parameters", _JSON, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("expected", _JSON, nullable=False),  # SHA-256 by the output file's path
    Column("note", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),  # not used any more
    Index("ix_canaries_bundle", "bundle", "version"),
)

canary_files = Table(  # what a canary's task reads, in order; kept while the canary is used
    "canary_files",
    metadata,
    Column("canary", Integer, ForeignKey("canaries.number"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String(128), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("ix_canary_files_sha256", "sha256"),
)

reruns = Table(  # what the service bought to check a result, in order
    "reruns",
    metadata,
    Column("deal", String(66), primary_key=True),
    Column("opening", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),  # 1, 2, ...
    Column("job", String(66), ForeignKey("jobs.id"), unique=True, nullable=False),
)

findings = Table(  # what checks said of results, in the order in which they said it; never changed
    "findings",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, ...
    Column("deal", String(66), nullable=False),
    Column("opening", Integer, nullable=False),
    Column("provider", String(42), nullable=False),
    Column("right", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),  # chain clock
    Index("ix_findings_provider", "provider", "number"),
    Index("ix_findings_deal", "deal", "opening"),
)

# A state moves by the transitions of `states` only, and says why where it must, whoever asks for it.
for _dialect, _functions in (("sqlite", ()), ("postgresql", states.REFUSE)):
    for _statement in (
        *_functions,
        *(one for each in states.MACHINES for one in states.refusals(each, _dialect)),
    ):
        _trigger = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(metadata, "after_create", _trigger.execute_if(dialect=_dialect))
