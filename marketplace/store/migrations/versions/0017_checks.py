"""Which results are run again, and what the re-runs said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "check_days",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_check_days")),
    )
    op.create_table(
        "findings",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_findings")),
    )
    op.create_index("ix_findings_provider", "findings", ["provider", "number"])
    op.create_index("ix_findings_deal", "findings", ["deal", "opening"])
    op.create_table(
        "checks",
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("gain", sa.BigInteger(), nullable=False),
        sa.Column("stake", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('spared', 'wanted', 'right', 'wrong', 'unclear')", name=op.f("ck_checks_state_known")
        ),
        sa.CheckConstraint("NOT drawn OR state != 'spared'", name=op.f("ck_checks_drawn_is_run")),
        sa.PrimaryKeyConstraint("deal", "opening", name=op.f("pk_checks")),
    )
    # The transitions as they were when this step was written.
    pairs = "'right>wanted', 'spared>wanted', 'wanted>right', 'wanted>unclear', 'wanted>wrong'"
    refused = f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs})"
    what = (
        f"WHEN ({refused}) EXECUTE FUNCTION refuse_transition()"
        if op.get_bind().dialect.name == "postgresql"
        else f"WHEN {refused} BEGIN SELECT RAISE(ABORT, 'no such transition of checks.state'); END"
    )
    op.execute(f"CREATE TRIGGER tr_checks_state BEFORE UPDATE OF state ON checks FOR EACH ROW {what}")
    op.create_index("ix_checks_state", "checks", ["state"])
    op.create_index("ix_checks_provider", "checks", ["provider", "time"])
    op.create_table(
        "reruns",
        sa.Column("deal", sa.String(length=66), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_reruns_job_jobs")),
        sa.PrimaryKeyConstraint("deal", "opening", "number", name=op.f("pk_reruns")),
        sa.UniqueConstraint("job", name=op.f("uq_reruns_job")),
    )


def downgrade() -> None:
    op.drop_table("reruns")
    op.drop_table("checks")
    op.drop_table("findings")
    op.drop_table("check_days")
