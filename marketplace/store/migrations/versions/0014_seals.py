"""To whom a job's secrets are sealed, and what was sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sealing_keys",
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("signed", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["worker"], ["workers.key"], name=op.f("fk_sealing_keys_worker_workers")),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_sealing_keys")),
    )
    op.create_table(
        "sealed_secrets",
        sa.Column("attempt", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"], ["attempts.id"], name=op.f("fk_sealed_secrets_attempt_attempts")
        ),
        sa.PrimaryKeyConstraint("attempt", name=op.f("pk_sealed_secrets")),
    )


def downgrade() -> None:
    op.drop_table("sealed_secrets")
    op.drop_table("sealing_keys")
