"""In which order workers and their asks changed, so that what a process keeps of them stays right cheaply."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WATCHED = (
    ("asks", "worker", ("insert", "update", "delete")),
    ("workers", "key", ("insert", "update")),
)


def upgrade() -> None:
    op.create_table(
        "worker_changes",
        sa.Column("worker", sa.String(length=42), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_worker_changes")),
    )
    op.create_index(op.f("ix_worker_changes_number"), "worker_changes", ["number"])
    if op.get_bind().dialect.name != "sqlite":
        return
    for table, column, changes in _WATCHED:
        for change in changes:
            worker = f"{'OLD' if change == 'delete' else 'NEW'}.{column}"
            op.execute(
                f"CREATE TRIGGER tr_{table}_{change}_numbered AFTER {change.upper()} ON {table} BEGIN"
                " INSERT INTO worker_changes (worker, number)"
                f" VALUES ({worker}, (SELECT coalesce(max(number), 0) + 1 FROM worker_changes))"
                " ON CONFLICT (worker) DO UPDATE SET number = excluded.number; END"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table, _, changes in _WATCHED:
            for change in changes:
                op.execute(f"DROP TRIGGER tr_{table}_{change}_numbered")
    op.drop_index(op.f("ix_worker_changes_number"), "worker_changes")
    op.drop_table("worker_changes")
