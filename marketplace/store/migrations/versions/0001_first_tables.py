"""The first tables: sessions, blobs, bundles, quotes, jobs, deals, workers, outbox, the chain's events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "chain_events",
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("transaction", sa.String(length=66), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("block", "log_index", name=op.f("pk_chain_events")),
    )
    op.create_index("ix_chain_events_name", "chain_events", ["name"], unique=False)
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    op.create_table(
        "idempotency",
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "nonces",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_nonces")),
    )
    op.create_table(
        "offers",
        sa.Column("offer_id", sa.String(length=66), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("offer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_offers")),
        sa.UniqueConstraint("bundle", "version", "tier", name=op.f("uq_offers_bundle_version_tier")),
    )
    op.create_table(
        "quotes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("customer", sa.String(length=42), nullable=False),
        sa.Column("quote", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_sessions")),
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("purpose", sa.String(length=160), nullable=False),
        sa.Column("call", sa.String(length=64), nullable=False),
        sa.Column("arguments", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("hash", sa.String(length=66), nullable=True),
        sa.Column("hashes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("block", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'confirmed', 'failed')", name=op.f("ck_transactions_state_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("purpose", name=op.f("uq_transactions_purpose")),
    )
    op.create_index("ix_transactions_state", "transactions", ["state", "id"], unique=False)
    op.create_table(
        "workers",
        sa.Column("key", sa.String(length=42), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("resources", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("cool_until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_workers")),
    )
    op.create_table(
        "asks",
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("ask", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["worker"], ["workers.key"], name=op.f("fk_asks_worker_workers")),
        sa.PrimaryKeyConstraint("worker", "product", name=op.f("pk_asks")),
    )
    op.create_index("ix_asks_product_price", "asks", ["product", "price"], unique=False)
    op.create_table(
        "blob_owners",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name=op.f("fk_blob_owners_sha256_blobs")),
        sa.PrimaryKeyConstraint("sha256", "address", name=op.f("pk_blob_owners")),
    )
    op.create_table(
        "bundles",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("definition", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("definition_digest", sa.String(length=64), nullable=False),
        sa.Column("image", sa.String(length=71), nullable=False),
        sa.Column("image_archive", sa.String(length=64), nullable=False),
        sa.Column("published_by", sa.String(length=42), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["image_archive"], ["blobs.sha256"], name=op.f("fk_bundles_image_archive_blobs")
        ),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_bundles")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("customer", sa.String(length=42), nullable=False),
        sa.Column("quote", sa.String(length=64), nullable=False),
        sa.Column("purchase", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("manifest", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("offer_id", sa.String(length=66), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=200), nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("reason", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("deliver_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (state IN ('queued', 'running'))", name=op.f("ck_jobs_ended_when_over")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'settled', 'refunded')", name=op.f("ck_jobs_state_known")
        ),
        sa.CheckConstraint("charged >= 0", name=op.f("ck_jobs_charged_positive")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.offer_id"], name=op.f("fk_jobs_offer_id_offers")),
        sa.ForeignKeyConstraint(["quote"], ["quotes.id"], name=op.f("fk_jobs_quote_quotes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("number", name=op.f("uq_jobs_number")),
    )
    op.create_index("ix_jobs_customer_number", "jobs", ["customer", "number"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("lot", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outputs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("signature", sa.String(length=132), nullable=True),
        sa.Column("reason", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('assigned', 'running', 'succeeded', 'failed', 'lost')",
            name=op.f("ck_attempts_state_known"),
        ),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_attempts_job_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("deal", "opening", "worker", name=op.f("uq_attempts_deal_opening_worker")),
    )
    op.create_index("ix_attempts_job", "attempts", ["job"], unique=False)
    op.create_index("ix_attempts_worker_state", "attempts", ["worker", "state"], unique=False)
    op.create_table(
        "deals",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("lot", sa.Integer(), nullable=False),
        sa.Column("deal", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("root", sa.String(length=66), nullable=True),
        sa.Column("done", sa.Integer(), nullable=True),
        sa.Column("signatures", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("paid", sa.BigInteger(), nullable=True),
        sa.Column("returned", sa.BigInteger(), nullable=True),
        sa.Column("opened", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("ended", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint("(ended IS NULL) = (state = 'open')", name=op.f("ck_deals_ended_when_over")),
        sa.CheckConstraint(
            "state IN ('open', 'settled', 'refused', 'expired')", name=op.f("ck_deals_state_known")
        ),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_deals_job_jobs")),
        sa.PrimaryKeyConstraint("id", "opening", name=op.f("pk_deals")),
    )
    op.create_index("ix_deals_job", "deals", ["job", "lot"], unique=False)
    op.create_index("ix_deals_state_deadline", "deals", ["state", "deadline"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_events_job_jobs")),
        sa.PrimaryKeyConstraint("job", "sequence", name=op.f("pk_job_events")),
    )
    op.create_table(
        "lots",
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("lot", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("waiting_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('free', 'matching', 'open', 'settled', 'ended')", name=op.f("ck_lots_state_known")
        ),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_lots_job_jobs")),
        sa.PrimaryKeyConstraint("job", "lot", name=op.f("pk_lots")),
    )
    op.create_index("ix_lots_state", "lots", ["state"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("lot", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outputs", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_tasks_state_known")
        ),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_tasks_job_jobs")),
        sa.PrimaryKeyConstraint("job", "position", name=op.f("pk_tasks")),
    )


def downgrade() -> None:
    op.drop_table("tasks")
    op.drop_index("ix_lots_state", table_name="lots")
    op.drop_table("lots")
    op.drop_table("job_events")
    op.drop_index("ix_deals_state_deadline", table_name="deals")
    op.drop_index("ix_deals_job", table_name="deals")
    op.drop_table("deals")
    op.drop_index("ix_attempts_worker_state", table_name="attempts")
    op.drop_index("ix_attempts_job", table_name="attempts")
    op.drop_table("attempts")
    op.drop_index("ix_jobs_customer_number", table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("bundles")
    op.drop_table("blob_owners")
    op.drop_index("ix_asks_product_price", table_name="asks")
    op.drop_table("asks")
    op.drop_table("workers")
    op.drop_index("ix_transactions_state", table_name="transactions")
    op.drop_table("transactions")
    op.drop_table("sessions")
    op.drop_table("quotes")
    op.drop_table("offers")
    op.drop_table("nonces")
    op.drop_table("idempotency")
    op.drop_table("cursor")
    op.drop_index("ix_chain_events_name", table_name="chain_events")
    op.drop_table("chain_events")
    op.drop_table("blobs")
