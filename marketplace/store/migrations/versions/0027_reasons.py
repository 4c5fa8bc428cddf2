"""The database itself refuses what ends badly without a reason."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# The states that want one, as they were when this step was written. What ended before stays as it is.
_REASONED = {"lots": "'ended'", "deals": "'refused', 'expired'", "attempts": "'failed', 'lost'"}
_REFUSE = """CREATE FUNCTION refuse_unreasoned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE check_violation USING
    MESSAGE = 'no reason for ' || TG_TABLE_NAME || '.state: ' || OLD.state || ' to ' || NEW.state;
END $$"""


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        op.execute(_REFUSE)
    for table, bad in _REASONED.items():
        refused = f"OLD.state <> NEW.state AND NEW.state IN ({bad}) AND NEW.reason IS NULL"
        what = (
            f"WHEN ({refused}) EXECUTE FUNCTION refuse_unreasoned()"
            if on_postgresql
            else f"WHEN {refused} BEGIN SELECT RAISE(ABORT, 'no reason for {table}.state'); END"
        )
        op.execute(f"CREATE TRIGGER tr_{table}_reason BEFORE UPDATE OF state ON {table} FOR EACH ROW {what}")


def downgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for table in _REASONED:
        op.execute(f"DROP TRIGGER tr_{table}_reason" + (f" ON {table}" if on_postgresql else ""))
    if on_postgresql:
        op.execute("DROP FUNCTION refuse_unreasoned()")
