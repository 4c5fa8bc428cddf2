"""What changed about a worker lately, so that it can be told why it was not given a lot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_moments",
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("product", sa.String(length=66), nullable=True),
        sa.Column("ask", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('asked', 'silent', 'drained', 'back')", name=op.f("ck_worker_moments_kind_known")
        ),
        sa.CheckConstraint(
            "(ask IS NOT NULL) = (kind = 'asked')", name=op.f("ck_worker_moments_ask_when_asked")
        ),
        sa.ForeignKeyConstraint(["worker"], ["workers.key"], name=op.f("fk_worker_moments_worker_workers")),
        sa.PrimaryKeyConstraint("worker", "number", name=op.f("pk_worker_moments")),
    )


def downgrade() -> None:
    op.drop_table("worker_moments")
