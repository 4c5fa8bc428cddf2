"""Lots of many tasks: what each task of an attempt came to, how far it is, and a log of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True)
# JSON in both databases, from columns that hold text, numbers and JSON.
_TASKS = {
    "sqlite": "json_array(json_object('status', status, 'exit_code', exit_code, 'seconds', seconds,"
    " 'outputs', json(outputs), 'reason', json(reason)))",
    "postgresql": "json_build_array(json_build_object('status', status, 'exit_code', exit_code,"
    " 'seconds', seconds, 'outputs', outputs, 'reason', reason))",
}
_FIRST = {
    "sqlite": "exit_code = json_extract(tasks, '$[0].exit_code'),"
    " outputs = json_extract(tasks, '$[0].outputs')",
    "postgresql": "exit_code = (tasks->0->>'exit_code')::int, outputs = tasks->0->'outputs'",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("lots", sa.Column("progress", sa.Float(), nullable=False, server_default="0"))
    op.add_column("lots", sa.Column("over", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("files", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("progress", sa.Float(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("over", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("rounds", sa.Column("done", sa.Integer(), nullable=True))
    op.execute("UPDATE rounds SET done = 1 WHERE root IS NOT NULL")
    length = "json_array_length"
    files = f"{length}(outputs, '$.files')" if dialect == "sqlite" else f"{length}(outputs->'files')"
    op.execute(f"UPDATE tasks SET files = {files} WHERE outputs IS NOT NULL")
    op.create_table(
        "task_logs",
        sa.Column("attempt", sa.String(length=64), nullable=False),
        sa.Column("task", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name=op.f("fk_task_logs_attempt_attempts")),
        sa.PrimaryKeyConstraint("attempt", "task", name=op.f("pk_task_logs")),
    )
    op.execute("INSERT INTO task_logs SELECT id, 0, log_bytes FROM attempts WHERE log_bytes > 0")
    op.add_column("attempts", sa.Column("tasks", _JSON, nullable=True))
    op.execute(f"UPDATE attempts SET tasks = {_TASKS[dialect]} WHERE outputs IS NOT NULL")
    for name in ("exit_code", "outputs", "log_bytes"):
        op.drop_column("attempts", name)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("attempts", sa.Column("exit_code", sa.Integer(), nullable=True))
    op.add_column("attempts", sa.Column("outputs", _JSON, nullable=True))
    op.add_column("attempts", sa.Column("log_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(f"UPDATE attempts SET {_FIRST[dialect]} WHERE tasks IS NOT NULL")
    op.execute(
        "UPDATE attempts SET log_bytes = (SELECT coalesce(max(bytes), 0) FROM task_logs"
        " WHERE attempt = attempts.id AND task = 0)"
    )
    op.drop_column("attempts", "tasks")
    op.drop_table("task_logs")
    op.drop_column("rounds", "done")
    for name in ("over", "progress", "files"):
        op.drop_column("tasks", name)
    for name in ("over", "progress"):
        op.drop_column("lots", name)
