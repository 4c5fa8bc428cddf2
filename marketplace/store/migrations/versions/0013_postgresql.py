"""On PostgreSQL too: workers' changes are numbered, and the outbox's wishes are in the order of bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NUMBER = """CREATE FUNCTION number_worker_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed varchar;
BEGIN
  IF TG_TABLE_NAME = 'workers' THEN changed := NEW.key;
  ELSIF TG_OP = 'DELETE' THEN changed := OLD.worker;
  ELSE changed := NEW.worker;
  END IF;
  INSERT INTO worker_changes (worker, number)
  VALUES (changed, (SELECT coalesce(max(number), 0) + 1 FROM worker_changes))
  ON CONFLICT (worker) DO UPDATE SET number = excluded.number;
  RETURN NULL;
END $$"""
_WATCHED = {"asks": "INSERT OR UPDATE OR DELETE", "workers": "INSERT OR UPDATE"}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.alter_column("transactions", "purpose", type_=sa.String(160, collation="C"))
    op.execute(_NUMBER)
    for table, changes in _WATCHED.items():
        op.execute(
            f"CREATE TRIGGER tr_{table}_numbered AFTER {changes} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION number_worker_change()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in _WATCHED:
        op.execute(f"DROP TRIGGER tr_{table}_numbered ON {table}")
    op.execute("DROP FUNCTION number_worker_change()")
    op.alter_column("transactions", "purpose", type_=sa.String(160))
