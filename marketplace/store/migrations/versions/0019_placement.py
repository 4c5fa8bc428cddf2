"""What workers have at hand, and the providers that the operator vouches for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("cached", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "vetted_providers",
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_vetted_providers")),
    )


def downgrade() -> None:
    op.drop_table("vetted_providers")
    op.drop_column("workers", "cached")
