"""Disputes: cases, the states of a deal that has one, and the fact that a challenge must name."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BEFORE = ("open", "settled", "refused", "expired")
_AFTER = ("open", "settled", "disputed", "guilty", "refused", "expired")


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("lot", sa.Integer(), nullable=False),
        sa.Column("challenger", sa.String(length=42), nullable=False),
        sa.Column("claim", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("bond", sa.BigInteger(), nullable=False),
        sa.Column("fees", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("fact", sa.String(length=29), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=True),
        sa.Column("returned", sa.BigInteger(), nullable=True),
        sa.Column("opened", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("ended", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'guilty', 'acquitted', 'lapsed')", name=op.f("ck_cases_state_known")
        ),
        sa.CheckConstraint("(ended IS NULL) = (state = 'open')", name=op.f("ck_cases_ended_when_over")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_cases_job_jobs")),
        sa.PrimaryKeyConstraint("deal", "number", name=op.f("pk_cases")),
    )
    op.create_index("ix_cases_state", "cases", ["state"])
    op.create_index("ix_cases_job", "cases", ["job"])
    with op.batch_alter_table("deals") as deals:
        deals.add_column(sa.Column("fact", sa.String(length=29), nullable=True))
        _know(deals, _AFTER)
    _fill_facts()


def downgrade() -> None:
    connection = op.get_bind()
    # What an older version cannot say, it sees as what the deal was before its case.
    connection.execute(sa.text("UPDATE deals SET state = 'settled' WHERE state IN ('disputed', 'guilty')"))
    with op.batch_alter_table("deals") as deals:
        _know(deals, _BEFORE)
        deals.drop_column("fact")
    op.drop_index("ix_cases_job", table_name="cases")
    op.drop_index("ix_cases_state", table_name="cases")
    op.drop_table("cases")


def _know(deals: BatchOperations, states: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{state}'" for state in states)
    name = op.f("ck_deals_state_known")
    deals.drop_constraint(name, type_="check")
    deals.create_check_constraint(name, f"state IN ({listed})")


def _fill_facts() -> None:
    """Facts of deals that were settled before, from the events that are stored."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT data FROM chain_events WHERE name = 'Settled'"))
    for (data,) in rows.all():
        event = json.loads(data) if isinstance(data, str) else data
        connection.execute(
            sa.text("UPDATE deals SET fact = :fact WHERE id = :deal AND state = 'settled'"),
            {"fact": str(event["fact"]), "deal": event["deal"]},
        )
