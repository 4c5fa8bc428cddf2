"""The database itself refuses a change of state that is no named transition."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The transitions as they were when this step was written.
_MOVES = {
    "jobs": {
        "queued": "refunded running",
        "refunded": "queued running",
        "running": "queued refunded settled",
        "settled": "running",
    },
    "lots": {
        "ended": "free open",
        "free": "ended matching open",
        "matching": "ended free open",
        "open": "ended free settled",
        "settled": "open",
    },
    "deals": {
        "disputed": "guilty settled",
        "expired": "open",
        "guilty": "disputed",
        "open": "expired refused settled",
        "refused": "open",
        "settled": "disputed open",
    },
    "cases": {
        "acquitted": "open",
        "guilty": "open",
        "lapsed": "open",
        "open": "acquitted guilty lapsed",
    },
    "tasks": {
        "failed": "queued running",
        "queued": "failed running succeeded",
        "running": "failed queued succeeded",
        "succeeded": "queued running",
    },
    "attempts": {
        "assigned": "committed failed lost running succeeded",
        "committed": "lost opened",
        "failed": "assigned",
        "lost": "assigned committed failed opened succeeded",
        "opened": "failed lost succeeded",
        "running": "assigned committed failed lost succeeded",
    },
    "rounds": {
        "agreed": "delivered",
        "committing": "opening",
        "opening": "agreed split",
    },
    "transactions": {
        "confirmed": "sent",
        "pending": "failed sent",
        "sent": "confirmed failed pending",
    },
}
_REFUSE = """CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE check_violation USING
    MESSAGE = 'no such transition of ' || TG_TABLE_NAME || '.state: ' || OLD.state || ' to ' || NEW.state;
END $$"""


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        op.execute(_REFUSE)
    for table, moves in _MOVES.items():
        pairs = ", ".join(
            f"'{source}>{target}'" for source, targets in moves.items() for target in targets.split()
        )
        refused = f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs})"
        what = (
            f"WHEN ({refused}) EXECUTE FUNCTION refuse_transition()"
            if on_postgresql
            else f"WHEN {refused} BEGIN SELECT RAISE(ABORT, 'no such transition of {table}.state'); END"
        )
        op.execute(f"CREATE TRIGGER tr_{table}_state BEFORE UPDATE OF state ON {table} FOR EACH ROW {what}")


def downgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for table in _MOVES:
        op.execute(f"DROP TRIGGER tr_{table}_state" + (f" ON {table}" if on_postgresql else ""))
    if on_postgresql:
        op.execute("DROP FUNCTION refuse_transition()")
