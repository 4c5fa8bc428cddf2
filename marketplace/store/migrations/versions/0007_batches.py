"""Batches of the auction, and the rules of products."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "product_rules",
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("least_seconds", sa.Float(), nullable=False),
        sa.Column("most_seconds", sa.Float(), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=42), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "0 < least_seconds AND least_seconds <= most_seconds",
            name=op.f("ck_product_rules_seconds_in_order"),
        ),
        sa.CheckConstraint(
            "0 <= low AND (high IS NULL OR low <= high)", name=op.f("ck_product_rules_collar_in_order")
        ),
        sa.PrimaryKeyConstraint("product", name=op.f("pk_product_rules")),
    )
    op.create_table(
        "batches",
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("bids", sa.Integer(), nullable=False),
        sa.Column("asks", sa.Integer(), nullable=False),
        sa.Column("set_aside", sa.Integer(), nullable=False),
        sa.Column("fills", sa.Integer(), nullable=False),
        sa.Column("cleared", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_batches")),
        sa.UniqueConstraint("position", name=op.f("uq_batches_position")),
        sa.UniqueConstraint("product", "number", name=op.f("uq_batches_product_number")),
    )


def downgrade() -> None:
    op.drop_table("batches")
    op.drop_table("product_rules")
