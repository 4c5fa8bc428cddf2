"""The batches that are on their way to the chain are found without the other transactions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    clears = sa.text("call = 'clear'")
    op.create_index(
        "ix_transactions_clears", "transactions", ["id"], sqlite_where=clears, postgresql_where=clears
    )


def downgrade() -> None:
    op.drop_index("ix_transactions_clears", "transactions")
