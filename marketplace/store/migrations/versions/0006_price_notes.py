"""The pricing desk's history: who published or retired what, why, and on which inputs.

The note of a publication moves from its bundle to the history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "price_notes",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=42), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("inputs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("override", sa.Text(), nullable=False),
        sa.CheckConstraint("act IN ('published', 'retired')", name=op.f("ck_price_notes_act_known")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_price_notes")),
    )
    op.create_index("ix_price_notes_bundle", "price_notes", ["bundle"], unique=False)
    op.execute(
        'INSERT INTO price_notes (number, bundle, version, act, "by", at, note, override)'
        " SELECT row_number() OVER (ORDER BY published_at, id, version), id, version, 'published',"
        " published_by, published_at, note, '' FROM bundles"
    )
    op.drop_column("bundles", "note")


def downgrade() -> None:
    op.add_column("bundles", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.execute(
        "UPDATE bundles SET note = coalesce((SELECT note FROM price_notes WHERE bundle = bundles.id"
        " AND price_notes.version = bundles.version AND act = 'published' ORDER BY number DESC LIMIT 1), '')"
    )
    op.drop_table("price_notes")
