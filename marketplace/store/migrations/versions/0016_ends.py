"""Why lots and deals ended, what a customer took back, and how often a worker failed in a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Added and dropped in place: a copied table would lose the triggers that hold its states.
_NEW = (
    ("jobs", lambda: sa.Column("cancelled_at", sa.BigInteger(), nullable=True)),
    ("lots", lambda: sa.Column("reason", sa.JSON(none_as_null=True), nullable=True)),
    ("deals", lambda: sa.Column("reason", sa.JSON(none_as_null=True), nullable=True)),
    ("workers", lambda: sa.Column("failures", sa.Integer(), nullable=False, server_default="0")),
)


def upgrade() -> None:
    for table, column in _NEW:
        op.add_column(table, column())


def downgrade() -> None:
    for table, column in _NEW:
        op.drop_column(table, column().name)
