"""Bids are jobs: an order is a purchase or a bid, and a job says itself what it costs and what it runs.

What a job took from its offer (product, price, replicas, the image's blob) is copied into it, since a bid has
no offer. SQLite cannot change a CHECK or a NOT NULL of a table, so there `jobs` is made anew around its rows;
everything that refers to it is checked again at the end of the transaction.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('bundle', 'flat', 'auction')"
_STATES = "state IN ('queued', 'running', 'settled', 'refunded')"
_OF_AN_OFFER = "(offer_id IS NOT NULL) = (kind = 'bundle')"
_ENDED = "(ended_at IS NULL) = (state IN ('queued', 'running'))"
_FROM_THE_OFFER = """
UPDATE jobs SET
  kind = 'bundle',
  product = (SELECT product FROM offers WHERE offers.offer_id = jobs.offer_id),
  price = (SELECT price FROM offers WHERE offers.offer_id = jobs.offer_id),
  replicas = (SELECT replicas FROM offers WHERE offers.offer_id = jobs.offer_id),
  whole = false,
  image = COALESCE((
    SELECT bundles.image FROM offers
    JOIN bundles ON bundles.id = offers.bundle AND bundles.version = offers.version
    WHERE offers.offer_id = jobs.offer_id
  ), ''),
  image_archive = (
    SELECT bundles.image_archive FROM offers
    JOIN bundles ON bundles.id = offers.bundle AND bundles.version = offers.version
    WHERE offers.offer_id = jobs.offer_id
  )
"""
# Added empty, filled from the offers, and only then not to be empty.
_NEW: dict[str, sa.types.TypeEngine[Any]] = {
    "kind": sa.String(16),
    "image": sa.String(340),
    "product": sa.String(66),
    "price": sa.BigInteger(),
    "replicas": sa.Integer(),
    "whole": sa.Boolean(),
}


def upgrade() -> None:
    op.execute('ALTER TABLE jobs RENAME COLUMN purchase TO "order"')
    for name, type_ in (*_NEW.items(), ("image_archive", sa.String(64)), ("providers", _json())):
        op.add_column("jobs", sa.Column(name, type_, nullable=True))
    op.execute(_FROM_THE_OFFER)
    if _sqlite():
        _remake(new=True)
    else:
        for name in _NEW:
            op.alter_column("jobs", name, nullable=False)
        op.alter_column("jobs", "offer_id", nullable=True)
        op.create_check_constraint(op.f("ck_jobs_kind_known"), "jobs", _KINDS)
        op.create_check_constraint(op.f("ck_jobs_purchase_of_an_offer"), "jobs", _OF_AN_OFFER)
        op.create_foreign_key(
            op.f("fk_jobs_image_archive_blobs"), "jobs", "blobs", ["image_archive"], ["sha256"]
        )
        op.create_index("ix_jobs_product_state", "jobs", ["product", "state"])
        op.create_index("ix_jobs_image", "jobs", ["image", "number"])


def downgrade() -> None:
    # What has no offer was unknown then; its deals are on the chain all the same.
    bids = "(SELECT id FROM jobs WHERE kind != 'bundle')"
    for table in ("cases", "attempts", "tasks", "job_events", "deals", "lots"):
        op.execute(f"DELETE FROM {table} WHERE job IN {bids}")
    op.execute("DELETE FROM jobs WHERE kind != 'bundle'")
    op.execute('ALTER TABLE jobs RENAME COLUMN "order" TO purchase')
    if _sqlite():
        _remake(new=False)
        return
    op.drop_index("ix_jobs_product_state", "jobs")
    op.drop_index("ix_jobs_image", "jobs")
    for name in ("ck_jobs_kind_known", "ck_jobs_purchase_of_an_offer", "fk_jobs_image_archive_blobs"):
        op.drop_constraint(op.f(name), "jobs")
    op.alter_column("jobs", "offer_id", nullable=False)
    for name in (*_NEW, "image_archive", "providers"):
        op.drop_column("jobs", name)


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _json() -> sa.JSON:
    return sa.JSON(none_as_null=True)


def _remake(*, new: bool) -> None:
    """Drop the table and make it anew with its rows."""
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TABLE jobs_before AS SELECT * FROM jobs")
    op.drop_table("jobs")
    _jobs(new)
    made = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("jobs")]
    names = ", ".join(f'"{name}"' for name in made)
    op.execute(f"INSERT INTO jobs ({names}) SELECT {names} FROM jobs_before")
    op.drop_table("jobs_before")


def _jobs(new: bool) -> None:
    added: tuple[sa.schema.SchemaItem, ...] = (
        *(sa.Column(name, type_, nullable=False) for name, type_ in _NEW.items()),
        sa.Column("image_archive", sa.String(64), nullable=True),
        sa.Column("providers", _json(), nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_jobs_kind_known")),
        sa.CheckConstraint(_OF_AN_OFFER, name=op.f("ck_jobs_purchase_of_an_offer")),
        sa.ForeignKeyConstraint(
            ["image_archive"], ["blobs.sha256"], name=op.f("fk_jobs_image_archive_blobs")
        ),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(66), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("customer", sa.String(42), nullable=False),
        sa.Column("quote", sa.String(64), nullable=False),
        sa.Column("order" if new else "purchase", _json(), nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("manifest", _json(), nullable=False),
        sa.Column("offer_id", sa.String(66), nullable=new),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(200), nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("reason", _json(), nullable=True),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("deliver_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        *(added if new else ()),
        sa.CheckConstraint(_STATES, name=op.f("ck_jobs_state_known")),
        sa.CheckConstraint(_ENDED, name=op.f("ck_jobs_ended_when_over")),
        sa.CheckConstraint("charged >= 0", name=op.f("ck_jobs_charged_positive")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.offer_id"], name=op.f("fk_jobs_offer_id_offers")),
        sa.ForeignKeyConstraint(["quote"], ["quotes.id"], name=op.f("fk_jobs_quote_quotes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("number", name=op.f("uq_jobs_number")),
    )
    op.create_index("ix_jobs_customer_number", "jobs", ["customer", "number"], unique=False)
    if new:
        op.create_index("ix_jobs_product_state", "jobs", ["product", "state"], unique=False)
        op.create_index("ix_jobs_image", "jobs", ["image", "number"], unique=False)
