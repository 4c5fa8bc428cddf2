"""Links by which whoever has one reads a job's files until a moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "share_links",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_share_links_job_jobs")),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_share_links")),
    )
    op.create_index("ix_share_links_job", "share_links", ["job"])
    op.create_index("ix_share_links_expires_at", "share_links", ["expires_at"])


def downgrade() -> None:
    op.drop_table("share_links")
