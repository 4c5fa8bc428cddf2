"""Tasks whose answer the operator knows, and which results they check."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checks", sa.Column("canary", sa.Integer(), nullable=True))
    op.create_table(
        "canaries",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_canaries")),
    )
    op.create_index("ix_canaries_bundle", "canaries", ["bundle", "version"])
    op.create_table(
        "canary_files",
        sa.Column("canary", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["canary"], ["canaries.number"], name=op.f("fk_canary_files_canary_canaries")
        ),
        sa.PrimaryKeyConstraint("canary", "position", name=op.f("pk_canary_files")),
    )
    op.create_index("ix_canary_files_sha256", "canary_files", ["sha256"])


def downgrade() -> None:
    op.drop_table("canary_files")
    op.drop_table("canaries")
    # What a canary checked looks like a re-run to the step before, which would challenge it.
    op.execute(
        "DELETE FROM findings WHERE deal IN (SELECT d.id FROM deals d JOIN reruns r ON r.job = d.job"
        " JOIN checks c ON c.deal = r.deal AND c.opening = r.opening WHERE c.canary IS NOT NULL)"
    )
    checks = sa.table("checks", sa.column("canary"))
    op.execute(checks.delete().where(checks.c.canary.is_not(None)))
    op.drop_column("checks", "canary")
