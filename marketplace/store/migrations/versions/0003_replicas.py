"""Replicas: offers by their number, and rounds of deals with several legs.

SQLite cannot change a CHECK or UNIQUE of a table, so there `offers` and `attempts` are made anew around
their rows. Jobs refer to offers: their references are checked again at the end of the transaction.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATES = "state IN ('assigned', 'running', 'succeeded', 'failed', 'lost')"
_STATES_NOW = "state IN ('assigned', 'running', 'committed', 'opened', 'succeeded', 'failed', 'lost')"
_CHECKS_NOW = {
    "ck_attempts_committed_first": "state NOT IN ('committed', 'opened') OR commitment IS NOT NULL",
    "ck_attempts_opened_is_signed": "state != 'opened' OR signature IS NOT NULL",
}


def upgrade() -> None:
    if _sqlite():
        _remake("offers", new=True)
        _remake("attempts", new=True)
    else:
        op.add_column("offers", sa.Column("replicas", sa.Integer(), nullable=False, server_default="1"))
        op.alter_column("offers", "replicas", server_default=None)
        op.drop_constraint("uq_offers_bundle_version_tier", "offers")
        op.create_unique_constraint(
            "uq_offers_bundle_version_tier_replicas", "offers", ["bundle", "version", "tier", "replicas"]
        )
        op.add_column("attempts", sa.Column("commitment", sa.String(length=66), nullable=True))
        op.drop_constraint("ck_attempts_state_known", "attempts")
        for name, check in {"ck_attempts_state_known": _STATES_NOW, **_CHECKS_NOW}.items():
            op.create_check_constraint(op.f(name), "attempts", check)
    op.create_table(
        "rounds",
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("root", sa.String(length=66), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("quorum_at", sa.Float(), nullable=True),
        sa.Column("agreed_at", sa.Float(), nullable=True),
        sa.CheckConstraint(
            "state IN ('committing', 'opening', 'agreed', 'delivered', 'split')",
            name=op.f("ck_rounds_state_known"),
        ),
        sa.CheckConstraint(
            "(root IS NULL) = (state IN ('committing', 'opening', 'split'))",
            name=op.f("ck_rounds_root_when_agreed"),
        ),
        sa.CheckConstraint(
            "(agreed_at IS NULL) = (root IS NULL)", name=op.f("ck_rounds_agreed_at_with_root")
        ),
        sa.PrimaryKeyConstraint("deal", "opening", name=op.f("pk_rounds")),
    )


def downgrade() -> None:
    op.drop_table("rounds")
    op.execute("UPDATE attempts SET state = 'lost' WHERE state IN ('committed', 'opened')")
    # A tier was one offer: the others keep their rows, which jobs name, under names of their own.
    op.execute("UPDATE offers SET tier = tier || ' x' || replicas WHERE replicas > 1")
    if _sqlite():
        _remake("offers", new=False)
        _remake("attempts", new=False)
        return
    op.drop_constraint("uq_offers_bundle_version_tier_replicas", "offers")
    op.drop_column("offers", "replicas")
    op.create_unique_constraint("uq_offers_bundle_version_tier", "offers", ["bundle", "version", "tier"])
    for name in ("ck_attempts_state_known", *_CHECKS_NOW):
        op.drop_constraint(name, "attempts")
    op.drop_column("attempts", "commitment")
    op.create_check_constraint(op.f("ck_attempts_state_known"), "attempts", _STATES)


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _remake(table: str, *, new: bool) -> None:
    """Drop the table and make it anew with its rows."""
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute(f"CREATE TABLE {table}_before AS SELECT * FROM {table}")
    op.drop_table(table)
    {"offers": _offers, "attempts": _attempts}[table](new)
    bind = op.get_bind()
    kept = [column["name"] for column in sa.inspect(bind).get_columns(f"{table}_before")]
    made = [column["name"] for column in sa.inspect(bind).get_columns(table)]
    into = ", ".join(name for name in made if name in kept or name == "replicas")
    chosen = ", ".join(name if name in kept else "1" for name in made if name in kept or name == "replicas")
    op.execute(f"INSERT INTO {table} ({into}) SELECT {chosen} FROM {table}_before")
    op.drop_table(f"{table}_before")


def _offers(new: bool) -> None:
    key = ("bundle", "version", "tier", *(("replicas",) if new else ()))
    op.create_table(
        "offers",
        sa.Column("offer_id", sa.String(length=66), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=64), nullable=False),
        *((sa.Column("replicas", sa.Integer(), nullable=False),) if new else ()),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("offer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_offers")),
        sa.UniqueConstraint(*key, name=op.f("uq_offers_" + "_".join(key))),
    )


def _attempts(new: bool) -> None:
    checks = {"ck_attempts_state_known": _STATES_NOW, **_CHECKS_NOW}
    if not new:
        checks = {"ck_attempts_state_known": _STATES}
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
        *((sa.Column("commitment", sa.String(length=66), nullable=True),) if new else ()),
        sa.Column("reason", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        *(sa.CheckConstraint(check, name=op.f(name)) for name, check in checks.items()),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_attempts_job_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("deal", "opening", "worker", name=op.f("uq_attempts_deal_opening_worker")),
    )
    op.create_index("ix_attempts_job", "attempts", ["job"], unique=False)
    op.create_index("ix_attempts_worker_state", "attempts", ["worker", "state"], unique=False)
