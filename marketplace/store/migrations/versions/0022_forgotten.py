"""Jobs whose files and logs their customers had deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("forgotten_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "forgotten_at")
