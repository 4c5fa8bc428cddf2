"""What a worker last said of its machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "benchmarks",
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["worker"], ["workers.key"], name=op.f("fk_benchmarks_worker_workers")),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_benchmarks")),
    )


def downgrade() -> None:
    op.drop_table("benchmarks")
