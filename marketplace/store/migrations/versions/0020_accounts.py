"""Managed accounts: people who sign in, keys, teams, and what is done for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("per_job", sa.BigInteger(), nullable=True),
        sa.Column("per_day", sa.BigInteger(), nullable=True),
        sa.Column("warn_below", sa.BigInteger(), nullable=False),
        sa.Column("withdraw_to", sa.String(length=42), nullable=True),
        sa.Column("next_withdraw_to", sa.String(length=42), nullable=True),
        sa.Column("next_withdraw_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(next_withdraw_to IS NULL) = (next_withdraw_at IS NULL)",
            name=op.f("ck_accounts_next_address_has_its_time"),
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_accounts")),
        sa.UniqueConstraint("address", name=op.f("uq_accounts_address")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("made_by", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.number"], name=op.f("fk_api_keys_account_accounts")),
        sa.ForeignKeyConstraint(["made_by"], ["people.id"], name=op.f("fk_api_keys_made_by_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_api_keys_token_digest")),
    )
    op.create_index("ix_api_keys_account", "api_keys", ["account"], unique=False)
    op.create_table(
        "invites",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("invited_by", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'member', 'viewer')", name=op.f("ck_invites_role_known")),
        sa.ForeignKeyConstraint(["account"], ["accounts.number"], name=op.f("fk_invites_account_accounts")),
        sa.ForeignKeyConstraint(["invited_by"], ["people.id"], name=op.f("fk_invites_invited_by_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_invites_token_digest")),
    )
    op.create_index("ix_invites_account", "invites", ["account"], unique=False)
    op.create_table(
        "managed_orders",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=66), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("ordered_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.number"], name=op.f("fk_managed_orders_account_accounts")
        ),
        sa.PrimaryKeyConstraint("account", "key", name=op.f("pk_managed_orders")),
    )
    op.create_table(
        "members",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'member', 'viewer')", name=op.f("ck_members_role_known")),
        sa.ForeignKeyConstraint(["account"], ["accounts.number"], name=op.f("fk_members_account_accounts")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_members_person_people")),
        sa.PrimaryKeyConstraint("account", "person", name=op.f("pk_members")),
    )
    op.create_index("ix_members_person", "members", ["person"], unique=False)
    op.create_table(
        "person_sessions",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.number"], name=op.f("fk_person_sessions_account_accounts")
        ),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_person_sessions_person_people")),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_person_sessions")),
    )
    op.create_index("ix_person_sessions_person", "person_sessions", ["person"], unique=False)
    op.create_table(
        "top_ups",
        sa.Column("invoice", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_top_ups_amount_positive")),
        sa.ForeignKeyConstraint(["account"], ["accounts.number"], name=op.f("fk_top_ups_account_accounts")),
        sa.PrimaryKeyConstraint("invoice", name=op.f("pk_top_ups")),
    )
    op.create_index("ix_top_ups_account", "top_ups", ["account"], unique=False)
    op.create_table(
        "withdrawals",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("to", sa.String(length=42), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.number"], name=op.f("fk_withdrawals_account_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawals")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_withdrawals_account_key")),
    )
    op.add_column("jobs", sa.Column("channel", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "channel")
    op.drop_table("withdrawals")
    op.drop_index("ix_top_ups_account", table_name="top_ups")
    op.drop_table("top_ups")
    op.drop_index("ix_person_sessions_person", table_name="person_sessions")
    op.drop_table("person_sessions")
    op.drop_index("ix_members_person", table_name="members")
    op.drop_table("members")
    op.drop_table("managed_orders")
    op.drop_index("ix_invites_account", table_name="invites")
    op.drop_table("invites")
    op.drop_index("ix_api_keys_account", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("people")
    op.drop_table("accounts")
