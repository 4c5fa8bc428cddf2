"""Until when files are kept, and what was deleted. What is there already is kept for ninety days more."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_DAYS = 90


def upgrade() -> None:
    kept = op.create_table(
        "kept_files",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_kept_files")),
    )
    name = sa.String(length=160).with_variant(sa.String(length=160, collation="C"), "postgresql")
    op.create_table(
        "deletions",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('file', 'log')", name=op.f("ck_deletions_kind_known")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_deletions")),
    )
    blobs = sa.table("blobs", sa.column("sha256"))
    until = sa.literal(int(time.time()) + _DAYS * 86_400, sa.BigInteger())
    op.execute(kept.insert().from_select(["sha256", "until"], sa.select(blobs.c.sha256, until)))


def downgrade() -> None:
    op.drop_table("deletions")
    op.drop_table("kept_files")
