"""What people see of their sessions: each has a name of its own, which is no secret."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("person_sessions") as sessions:
        sessions.add_column(sa.Column("id", sa.String(length=32), nullable=True))
        sessions.add_column(sa.Column("browser", sa.String(length=64), nullable=True))
        sessions.add_column(sa.Column("used_at", sa.BigInteger(), nullable=True))
    # Those that are open stay open, and show no browser until the next one begins.
    op.execute(
        "UPDATE person_sessions SET id = substr(token_digest, 1, 32), browser = '', used_at = created_at"
    )
    with op.batch_alter_table("person_sessions") as sessions:
        sessions.alter_column("id", existing_type=sa.String(length=32), nullable=False)
        sessions.alter_column("browser", existing_type=sa.String(length=64), nullable=False)
        sessions.alter_column("used_at", existing_type=sa.BigInteger(), nullable=False)
        sessions.create_unique_constraint(op.f("uq_person_sessions_id"), ["id"])


def downgrade() -> None:
    with op.batch_alter_table("person_sessions") as sessions:
        sessions.drop_constraint(op.f("uq_person_sessions_id"), type_="unique")
        sessions.drop_column("used_at")
        sessions.drop_column("browser")
        sessions.drop_column("id")
