"""When the batch that gathers closes, so that anyone can see it and a restart does not put it off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "open_batches",
        sa.Column("product", sa.String(length=66), nullable=False),
        sa.Column("closes_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("product", name=op.f("pk_open_batches")),
    )


def downgrade() -> None:
    op.drop_table("open_batches")
