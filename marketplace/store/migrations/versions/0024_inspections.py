"""Files that people sent from a page, to be looked at in a cage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inspections",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=8), nullable=False),
        sa.Column("file", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("inspector", sa.String(length=42), nullable=True),
        sa.Column("taken_at", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint("step IN ('look', 'make')", name=op.f("ck_inspections_step_known")),
        sa.CheckConstraint(
            "(inspector IS NULL) = (taken_at IS NULL)", name=op.f("ck_inspections_taken_by_somebody")
        ),
        sa.CheckConstraint("answer IS NULL OR tries > 0", name=op.f("ck_inspections_answered_after_a_try")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inspections")),
    )
    op.create_index("ix_inspections_owner", "inspections", ["owner"])
    op.create_index("ix_inspections_expires_at", "inspections", ["expires_at"])


def downgrade() -> None:
    op.drop_table("inspections")
